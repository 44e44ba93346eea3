"""The software bill of materials of an image, as CycloneDX 1.6 JSON.

Deterministic: the serial number follows from the content, the time stamp is the image's.
Packages come from mkosi's manifest (what is installed), digests from the lock, crates from Cargo.lock.

I/O: reads Cargo.lock.
"""

from __future__ import annotations

import hashlib
import json
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from errors import Failure
from lockfile import Lock


def document(stem: str, manifest: dict[str, Any], lock: Lock, cargo_lock: Path, epoch: int) -> dict[str, Any]:
    """The bill of materials of image `stem`.

    Raises Failure if an installed package is not the locked one.
    """
    components = [*_packages(manifest, lock), *_crates(cargo_lock)]
    content = json.dumps([stem, components], sort_keys=True).encode()
    serial = uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=4)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "component": {"type": "operating-system", "name": stem, "bom-ref": stem},
        },
        "components": components,
    }


def _packages(manifest: dict[str, Any], lock: Lock) -> list[dict[str, Any]]:
    locked = {(p.name, p.version): p for p in lock.packages}
    found = []
    for entry in manifest["packages"]:
        package = locked.get((entry["name"], entry["version"]))
        if package is None:
            raise Failure(f"the image holds {entry['name']} {entry['version']}, which packages.lock does not name")
        purl = f"pkg:deb/debian/{package.name}@{quote(package.version, safe='')}?arch={package.arch}&distro=trixie"
        found.append({
            "type": "library", "name": package.name, "version": package.version, "purl": purl, "bom-ref": purl,
            "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        })  # fmt: skip
    return sorted(found, key=lambda c: c["purl"])


def _crates(cargo_lock: Path) -> list[dict[str, Any]]:
    """All locked crates; a superset of those in the agent, which also has the tests' dependencies."""
    found = []
    for package in tomllib.loads(cargo_lock.read_text())["package"]:
        purl = f"pkg:cargo/{package['name']}@{quote(package['version'], safe='')}"
        component: dict[str, Any] = {
            "type": "library", "name": package["name"], "version": package["version"], "purl": purl, "bom-ref": purl,
        }  # fmt: skip
        if "checksum" in package:
            component["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
        found.append(component)
    return sorted(found, key=lambda c: c["purl"])
