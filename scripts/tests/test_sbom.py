"""The software bill of materials."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

import sbom
from errors import Failure
from lockfile import Lock, Package

EPOCH = 1_767_225_600
INSTALLED = {"packages": [
    {"type": "deb", "name": "hello", "version": "1:2.10-3+b1", "architecture": "amd64"},
    {"type": "deb", "name": "adduser", "version": "3~1", "architecture": "all"},
]}  # fmt: skip
CARGO_LOCK = f"""version = 4
[[package]]
name = "wasi"
version = "0.11.1+preview1"
source = "registry"
checksum = "{"12" * 32}"
[[package]]
name = "cvm-agent"
version = "0.1.0"
"""


def lock() -> Lock:
    packages = (("hello", "1:2.10-3+b1", "amd64"), ("adduser", "3~1", "all"), ("unused", "1", "all"))
    return Lock("20260101T000000Z", {}, tuple(
        Package(name, version, arch, f"{number:064x}", 1, f"pool/{name}.deb", "trixie", ("base",))
        for number, (name, version, arch) in enumerate(packages)
    ))  # fmt: skip


@pytest.fixture
def cargo_lock(tmp_path: Path) -> Path:
    (tmp_path / "Cargo.lock").write_text(CARGO_LOCK)
    return tmp_path / "Cargo.lock"


def made(cargo_lock: Path, manifest: dict[str, Any] = INSTALLED, epoch: int = EPOCH) -> dict[str, Any]:
    return sbom.document("base-1", manifest, lock(), cargo_lock, epoch)


def test_the_document_has_the_shape_of_cyclonedx_1_6(cargo_lock: Path) -> None:
    document = made(cargo_lock)
    assert set(document) == {"bomFormat", "specVersion", "serialNumber", "version", "metadata", "components"}
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    # The schema's own pattern.
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    assert uuid.UUID(document["serialNumber"]).variant == uuid.RFC_4122
    assert document["metadata"]["timestamp"] == "2026-01-01T00:00:00Z"
    for component in [*document["components"], document["metadata"]["component"]]:
        assert component["type"] in {"library", "operating-system"}
        assert component["name"] and component["bom-ref"]
        for found in component.get("hashes", []):
            assert found["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", found["content"])
    references = [component["bom-ref"] for component in document["components"]]
    assert len(set(references)) == len(references)


def test_package_urls_are_encoded_and_digests_are_the_locks(cargo_lock: Path) -> None:
    found = {component["name"]: component for component in made(cargo_lock)["components"]}
    assert sorted(found) == ["adduser", "cvm-agent", "hello", "wasi"]
    assert found["hello"]["purl"] == "pkg:deb/debian/hello@1%3A2.10-3%2Bb1?arch=amd64&distro=trixie"
    assert found["hello"]["hashes"][0]["content"] == f"{0:064x}"
    assert found["adduser"]["purl"] == "pkg:deb/debian/adduser@3~1?arch=all&distro=trixie"
    assert found["wasi"]["purl"] == "pkg:cargo/wasi@0.11.1%2Bpreview1"
    assert found["wasi"]["hashes"][0]["content"] == "12" * 32
    assert "hashes" not in found["cvm-agent"]


def test_the_document_is_the_same_each_time_and_in_any_order(cargo_lock: Path) -> None:
    turned = {"packages": INSTALLED["packages"][::-1]}
    assert json.dumps(made(cargo_lock)) == json.dumps(made(cargo_lock, turned))


def test_the_serial_number_follows_the_content_not_the_time(cargo_lock: Path) -> None:
    less = {"packages": INSTALLED["packages"][:1]}
    assert made(cargo_lock)["serialNumber"] == made(cargo_lock, epoch=0)["serialNumber"]
    assert made(cargo_lock)["serialNumber"] != made(cargo_lock, less)["serialNumber"]


@pytest.mark.parametrize(("name", "version"), [("intruder", "1"), ("hello", "1:2.10-4")])
def test_an_installed_package_that_is_not_locked_is_refused(cargo_lock: Path, name: str, version: str) -> None:
    manifest = {"packages": [*INSTALLED["packages"], {"name": name, "version": version}]}
    with pytest.raises(Failure, match=f"{name} {version}, which packages.lock does not name"):
        made(cargo_lock, manifest)
