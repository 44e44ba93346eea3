"""The lock: every Debian package that may touch a byte of the tools or of an image.

`packages.lock` is JSON with one package a line, so that a diff names what moved. Its SHA-256 digests
are the root of trust of a build: where a file comes from does not matter, its digest does.

Leaves out: how the lock is resolved (`resolve`), where the files come from (`fetch`).
I/O: reads packages.lock and mkosi.conf files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from errors import Failure

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Package:
    """One locked .deb. `path` is relative to the archive's root, `suite` says which archive."""

    name: str
    version: str
    arch: str
    sha256: str
    size: int
    path: str
    suite: str
    sets: tuple[str, ...]

    @property
    def archive(self) -> str:
        """The archive's conventional directory: debian or debian-security."""
        return "debian-security" if self.suite.endswith("-security") else "debian"

    @property
    def label(self) -> str:
        return f"{self.name} {self.version} ({self.arch})"


@dataclasses.dataclass(frozen=True)
class Lock:
    """All locked packages, and when they were resolved (UTC, YYYYMMDDTHHMMSSZ)."""

    resolved: str
    releases: dict[str, str]
    packages: tuple[Package, ...]

    def of(self, *sets: str) -> tuple[Package, ...]:
        return tuple(p for p in self.packages if set(sets) & set(p.sets))

    def digest(self, *sets: str) -> str:
        """A name for "exactly these packages", to key caches with."""
        chosen = self.of(*sets) if sets else self.packages
        return hashlib.sha256("\n".join(p.sha256 for p in chosen).encode()).hexdigest()


def read(path: Path) -> Lock:
    """Reads and checks a lock.

    Raises Failure, naming file and entry, for anything that is not exactly the expected shape.
    """
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise Failure(f"{path} is missing", "`make lock` writes it") from None
    except ValueError as error:
        raise Failure(f"{path} is not JSON: {error}", f"restore it with git: git checkout -- {path.name}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        given = document.get("format") if isinstance(document, dict) else None
        raise Failure(f"{path}: format {given!r}, expected {FORMAT}")
    for field, kind in (("resolved", str), ("releases", dict), ("packages", list)):
        if not isinstance(document.get(field), kind):
            raise Failure(f"{path}: {field!r} is missing or malformed")
    packages: list[Package] = []
    seen: dict[tuple[str, str], str] = {}
    for entry in document["packages"]:
        package = _package(path, entry)
        if not re.fullmatch(r"[0-9a-f]{64}", package.sha256):
            raise Failure(f"{path}: {package.label}: sha256 is missing or malformed: {package.sha256!r}")
        if not re.fullmatch(r"pool/[A-Za-z0-9+._~%/-]+\.deb", package.path) or ".." in package.path:
            raise Failure(f"{path}: {package.label}: unexpected path {package.path!r}")
        key = (package.name, package.arch)
        if key in seen:
            raise Failure(f"{path}: {package.name} is locked twice: {seen[key]} and {package.version}")
        seen[key] = package.version
        packages.append(package)
    return Lock(document["resolved"], document["releases"], tuple(packages))


def _package(path: Path, entry: Any) -> Package:
    """One entry, with the right fields of the right types; names are such that they can be file names."""
    label = f"{path}: entry {entry.get('name') if isinstance(entry, dict) else entry!r}"
    try:
        package = Package(**{**entry, "sets": tuple(entry.get("sets", ()))})
    except (TypeError, AttributeError) as error:
        raise Failure(f"{label}: {error}") from error
    texts = (package.name, package.version, package.arch, package.sha256, package.path, package.suite, *package.sets)
    if not all(isinstance(text, str) for text in texts) or not package.sets:
        raise Failure(f"{label}: a field is missing or not text, or it is in no set")
    if type(package.size) is not int or package.size <= 0:
        raise Failure(f"{label}: size is {package.size!r}")
    for text in (package.name, package.version, package.arch):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9+.~:-]*", text):
            raise Failure(f"{label}: unexpected name, version or architecture {text!r}")
    return package


def write(path: Path, lock: Lock) -> None:
    """Writes `lock` in its canonical form: header, then one package a line, sorted."""
    header = {"format": FORMAT, "resolved": lock.resolved, "releases": dict(sorted(lock.releases.items()))}
    ordered = sorted(lock.packages, key=lambda p: (p.name, p.arch))
    lines = ",\n".join(json.dumps({**dataclasses.asdict(p), "sets": sorted(p.sets)}) for p in ordered)
    staged = path.with_suffix(".lock.new")
    staged.write_text(json.dumps(header)[:-1] + ', "packages": [\n' + lines + "\n]}\n")
    staged.replace(path)


def requested(root: Path) -> dict[str, list[str]]:
    """Which packages each set asks for: the tools by their list, the images by their mkosi.conf.

    The mkosi.conf files are the one place that says what is in an image; reading them here keeps
    the lock from having an opinion of its own.
    """
    listed = (root / "scripts/hermetic/tools.packages").read_text().splitlines()
    tools = [line.split("#")[0].strip() for line in listed]
    base = _packages_of(root / "meta-base/mkosi.conf")
    return {
        "tools": [name for name in tools if name],
        "initrd": _packages_of(root / "meta-base/mkosi.images/initrd/mkosi.conf"),
        "base": base,
        "buildernet": base + _packages_of(root / "meta-buildernet/mkosi.conf"),
    }


def _packages_of(conf: Path) -> list[str]:
    # As mkosi reads it: comments anywhere, blank lines do not end a list, commas separate too.
    names: list[str] = []
    inside = False
    for line in conf.read_text().splitlines():
        line = line.partition("#")[0]
        if not line.strip():
            continue
        if not line[0].isspace():
            inside = line.startswith("Packages=")
            line = line.partition("=")[2]
        if inside:
            names += [name.strip() for name in line.split(",") if name.strip()]
    if not names:
        raise Failure(f"{conf} asks for no packages", "its [Content] section needs Packages=")
    return names
