"""Brings every crate of our Cargo.lock files, by checksum, into the cache, and lays it out for cargo.

The registry is asked by the locked cargo itself (which knows it); what comes is checked against
the lock before it is kept. Cargo then builds offline from the laid-out directory and checks each
file once more.

I/O: cache; network only while a crate is missing.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import enter
import fetch
import prune
from errors import Failure
from progress import Step, run_logged

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


# The workspace, which is all that images are built from, and the fuzz targets beside it.
WORKSPACE = "Cargo.lock"
FUZZ = "fuzz/Cargo.lock"
LOCKS = (WORKSPACE, FUZZ)


def locked(root: Path, locks: Sequence[str] = LOCKS) -> dict[str, str]:
    """`name-version` to SHA-256 of every registry crate that `locks` below `root` name.

    Raises Failure for a crate that is not from the registry, has no checksum, or has two.
    """
    found: dict[str, str] = {}
    for lock in locks:
        for label, digest in _locked(root / lock).items():
            if found.setdefault(label, digest) != digest:
                raise Failure(f"{root / lock}: {label} has checksum {digest}, another lock has {found[label]}")
    return found


def _locked(cargo_lock: Path) -> dict[str, str]:
    found = {}
    try:
        document = tomllib.loads(cargo_lock.read_text())
    except ValueError as error:
        raise Failure(f"{cargo_lock} is not TOML: {error}", "restore it with git") from error
    for package in document.get("package", []):
        if "source" not in package:
            continue
        label = f"{package['name']}-{package['version']}"
        if package["source"] != REGISTRY or not re.fullmatch(r"[0-9a-f]{64}", package.get("checksum", "")):
            raise Failure(f"{cargo_lock}: {label} is not a checksummed registry crate: {package['source']}")
        found[label] = package["checksum"]
    return found


def fetch_all(root: Path, cache: Path, tools: Path, locks: Sequence[str] = LOCKS) -> dict[str, str]:
    """Makes sure that the cache holds every locked crate, intact; returns them as `locked` does."""
    crates = locked(root, locks)
    missing = {label for label, digest in crates.items() if not fetch.is_intact(fetch.blob(cache, digest), digest)}
    if not missing:
        return crates
    with Step(f"fetch {len(missing)} crates") as step, tempfile.TemporaryDirectory(dir=cache) as scratch:
        log = cache / "logs/cargo-fetch.log"
        source = _manifests(root, Path(scratch), locks)
        for lock in locks:
            # Each lock is asked only for what it alone has: a stale one is in the way of its own use only.
            if missing.isdisjoint(locked(root, [lock])):
                continue
            command = enter.command(
                tools,
                ["cargo", "fetch", "--locked", "--manifest-path", str((source / lock).with_suffix(".toml"))],
                binds=[Path(scratch)],
                network=True,
                environment={"CARGO_HOME": f"{scratch}/cargo", "CARGO_HTTP_CAINFO": enter.CA_BUNDLE},
            )
            advice = "check the network; `make pool-import POOL=FILE` brings the crates of a release"
            if lock == FUZZ:
                advice += "\n        if the lock needs an update: `make lock-fuzz`"
            run_logged(step, command, log, advice)
            for file in Path(scratch).glob("cargo/registry/cache/*/*.crate"):
                label = file.name.removesuffix(".crate")
                if label in missing:
                    try:
                        fetch.store(cache, crates[label], file.read_bytes())
                    except ValueError as error:
                        raise Failure(f"crate {label}: {error}, {lock} has {crates[label]}") from error
                    missing.discard(label)
        if missing:
            raise Failure(f"the registry did not give: {', '.join(sorted(missing))}", log=log)
    return crates


def _manifests(root: Path, scratch: Path, locks: Sequence[str]) -> Path:
    """Just enough of the packages for `cargo fetch`: manifests, and empty targets."""
    source = scratch / "source"
    source.mkdir()
    shutil.copyfile(root / "Cargo.toml", source / "Cargo.toml")
    members = tomllib.loads((root / "Cargo.toml").read_text())["workspace"]["members"]
    beside = [str(Path(lock).parent) for lock in locks if lock != WORKSPACE]
    for member in [*members, *beside]:
        (source / member / "src").mkdir(parents=True)
        shutil.copyfile(root / member / "Cargo.toml", source / member / "Cargo.toml")
        for name in ("lib.rs", "main.rs"):
            if (root / member / "src" / name).exists():
                (source / member / "src" / name).touch()
        for declared in ("tests", "benches", "examples"):
            if (root / member / declared).is_dir():
                shutil.copytree(root / member / declared, source / member / declared)
    for lock in locks:
        shutil.copyfile(root / lock, source / lock)
    return source


def vendor(crates: dict[str, str], cache: Path) -> Path:
    """Lays the crates out as a cargo directory source; a complete one is kept and reused."""
    key = hashlib.sha256("\n".join(f"{k} {v}" for k, v in sorted(crates.items())).encode()).hexdigest()
    place = cache / "vendor" / key[:16]
    if place.is_dir():
        prune.used(place)
        return place
    staged = place.with_name(f"{place.name}.{os.getpid()}.part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    with Step(f"unpack {len(crates)} crates"):
        for label, digest in crates.items():
            _unpack(label, digest, fetch.blob(cache, digest), staged)
    fetch.settle(staged, place)
    prune.used(place)
    prune.prune(place.parent)
    return place


def offline_home(vendor_place: Path) -> Path:
    """A cargo home whose configuration names `vendor_place` as the only source of crates."""
    home = vendor_place.with_name(f"{vendor_place.name}.home")
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "vendored"\n'
        f'[source.vendored]\ndirectory = "{vendor_place}"\n[net]\noffline = true\n'
    )
    return home


def _unpack(label: str, digest: str, archive: Path, place: Path) -> None:
    sums = {}
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes()), mode="r:gz") as tar:
        for member in tar:
            parts = Path(member.name).parts
            if parts[:1] != (label,) or ".." in parts or not (member.isfile() or member.isdir()):
                raise Failure(f"crate {label}: unexpected member {member.name!r}")
            target = place / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            content = tar.extractfile(member)
            assert content is not None
            data = content.read()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
            sums[str(Path(*parts[1:]))] = hashlib.sha256(data).hexdigest()
    (place / label / ".cargo-checksum.json").write_text(json.dumps({"files": sums, "package": digest}))
