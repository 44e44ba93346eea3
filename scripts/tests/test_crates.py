"""Locked crates: only checksummed registry crates, laid out so that cargo checks them once more."""

from __future__ import annotations

import gzip
import hashlib
import json
import stat
import tarfile
import tomllib
from pathlib import Path

import pytest
from conftest import entry, tar

import crates
import fetch
from errors import Failure

DIGEST = "ab" * 32
ONE = [crates.WORKSPACE]
# The manifests that the made-up registry was asked with.
ASKED: list[str] = []
ROOT = Path(__file__).resolve().parents[2]


def cargo_lock(folder: Path, fields: str) -> Path:
    file = folder / "Cargo.lock"
    member = '[[package]]\nname = "ours"\nversion = "0.1.0"\n'
    file.write_text(f'version = 4\n{member}[[package]]\nname = "serde"\nversion = "1.0.1"\n{fields}\n')
    return file


def test_registry_crates_are_read_and_members_of_the_workspace_are_not(tmp_path: Path) -> None:
    cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST}"')
    assert crates.locked(tmp_path, ONE) == {"serde-1.0.1": DIGEST}


def test_the_committed_locks_are_accepted() -> None:
    alone, both = crates.locked(ROOT, ONE), crates.locked(ROOT)
    assert alone and alone.items() < both.items()


def test_the_fuzz_targets_are_built_from_the_workspaces_versions() -> None:
    def versions(lock: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for package in tomllib.loads((ROOT / lock).read_text())["package"]:
            found.setdefault(package["name"], set()).add(package["version"])
        return found

    ours = versions(crates.WORKSPACE)
    # What is fuzzed is what ships; `make lock-fuzz` mends it.
    fuzzed = versions(crates.FUZZ)
    assert {name: have for name, have in fuzzed.items() if name in ours and not have <= ours[name]} == {}


def test_both_locks_crates_are_one_set(tmp_path: Path) -> None:
    registry = f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST}"'
    cargo_lock(tmp_path, registry)
    (tmp_path / "fuzz").mkdir()
    other = cargo_lock(tmp_path / "fuzz", registry)
    other.write_text(other.read_text() + f'[[package]]\nname = "libfuzzer"\nversion = "0.4.1"\n{registry}\n')
    assert crates.locked(tmp_path) == {"serde-1.0.1": DIGEST, "libfuzzer-0.4.1": DIGEST}


def test_a_crate_with_another_checksum_in_the_other_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fuzz").mkdir()
    for folder, digest in ((tmp_path, DIGEST), (tmp_path / "fuzz", "cd" * 32)):
        cargo_lock(folder, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    with pytest.raises(Failure, match="serde-1.0.1 has checksum cd.*another lock has ab"):
        crates.locked(tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        'source = "git+https://example.org/serde#0123"',
        f'source = "git+https://example.org/serde#0123"\nchecksum = "{DIGEST}"',
        f'source = "registry+https://example.org/index"\nchecksum = "{DIGEST}"',
        f'source = "{crates.REGISTRY}"',
        f'source = "{crates.REGISTRY}"\nchecksum = ""',
        f'source = "{crates.REGISTRY}"\nchecksum = "../../{DIGEST}"',
        f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST.upper()}"',
    ],
)
def test_a_crate_without_checksum_or_from_elsewhere_is_refused(tmp_path: Path, fields: str) -> None:
    with pytest.raises(Failure, match="serde-1.0.1 is not a checksummed registry crate") as failure:
        cargo_lock(tmp_path, fields)
        crates.locked(tmp_path, ONE)
    assert str(tmp_path / "Cargo.lock") in str(failure.value)


def test_a_lock_with_conflict_marks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is not TOML"):
        cargo_lock(tmp_path, "<<<<<<< ours")
        crates.locked(tmp_path, ONE)


def a_crate(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return gzip.compress(tar(*members))


def unpacked(tmp_path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    archive = tmp_path / "serde.crate"
    archive.write_bytes(a_crate(*members))
    place = tmp_path / "vendor"
    place.mkdir()
    crates._unpack("serde-1.0.1", DIGEST, archive, place)
    return place / "serde-1.0.1"


def test_cargos_checksums_name_every_file(tmp_path: Path) -> None:
    files = {"Cargo.toml": b"[package]", "src/lib.rs": b"", "build.sh": b"#!/bin/sh"}
    place = unpacked(
        tmp_path, entry("serde-1.0.1/", type=tarfile.DIRTYPE),
        *(entry(f"serde-1.0.1/{name}", content, mode=0o700 if name == "build.sh" else 0o600)
          for name, content in files.items()),
    )  # fmt: skip
    sums = json.loads((place / ".cargo-checksum.json").read_text())
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert sums == {"package": DIGEST, "files": expected}
    assert {name: (place / name).read_bytes() for name in files} == files
    assert stat.S_IMODE((place / "build.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((place / "src/lib.rs").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "member",
    [
        entry("escaped", b"x"), entry("serde-1.0.2/a", b"x"), entry("serde-1.0.1/../escaped", b"x"),
        entry("../serde-1.0.1/escaped", b"x"), entry("/serde-1.0.1/escaped", b"x"),
        entry("serde-1.0.1/a", type=tarfile.SYMTYPE, linkname="../../escaped"),
        entry("serde-1.0.1/a", type=tarfile.LNKTYPE, linkname="serde-1.0.1/b"),
        entry("serde-1.0.1/a", type=tarfile.FIFOTYPE),
    ],
)  # fmt: skip
def test_a_member_outside_or_of_another_kind_is_refused(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    with pytest.raises(Failure, match=r"crate serde-1\.0\.1: unexpected member"):
        unpacked(tmp_path, member)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["serde.crate", "vendor"]


def test_vendoring_is_done_once_and_named_by_the_crates(tmp_path: Path) -> None:
    content = a_crate(entry("serde-1.0.1/Cargo.toml", b"[package]"))
    digest = hashlib.sha256(content).hexdigest()
    fetch.store(tmp_path, digest, content)
    made = crates.vendor({"serde-1.0.1": digest}, tmp_path)
    assert (made / "serde-1.0.1/Cargo.toml").read_bytes() == b"[package]"
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    fetch.blob(tmp_path, digest).unlink()
    assert crates.vendor({"serde-1.0.1": digest}, tmp_path) == made


def test_the_offline_configuration_knows_only_the_vendored_crates(tmp_path: Path) -> None:
    place = tmp_path / "vendor"
    config = tomllib.loads((crates.offline_home(place) / "config.toml").read_text())
    assert config == {
        "source": {"crates-io": {"replace-with": "vendored"}, "vendored": {"directory": str(place)}},
        "net": {"offline": True},
    }


def test_crates_that_are_cached_need_no_cargo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"a crate"
    digest = hashlib.sha256(content).hexdigest()
    fetch.store(tmp_path, digest, content)
    monkeypatch.setattr(crates, "run_logged", lambda *_: pytest.fail("asked the network"))
    cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    assert crates.fetch_all(tmp_path, tmp_path, tmp_path / "tools", ONE) == {"serde-1.0.1": digest}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the made-up registry gives: file name to content."""
    given: dict[str, bytes] = {}
    ASKED.clear()
    (tmp_path / "Cargo.toml").write_text("[workspace]\nmembers = []\n")

    def asked(_: object, command: list[str], *__: object) -> None:
        manifest = Path(command[-1])
        ASKED.append(str(manifest).partition("source/")[1] + str(manifest).rpartition("source/")[2])
        scratch = next(folder.parent for folder in manifest.parents if folder.name == "source")
        # As cargo wants it: the manifest and the lock beside each other.
        assert manifest.is_file() and manifest.with_suffix(".lock").is_file()
        place = scratch / "cargo/registry/cache/index"
        place.mkdir(parents=True, exist_ok=True)
        for name, content in given.items():
            (place / name).write_bytes(content)

    monkeypatch.setattr(crates.enter, "command", lambda tools, arguments, **_: list(arguments))
    monkeypatch.setattr(crates, "run_logged", asked)
    return given


def test_missing_crates_come_from_the_registry(tmp_path: Path, registry: dict[str, bytes]) -> None:
    digest = hashlib.sha256(b"a crate").hexdigest()
    cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    registry["serde-1.0.1.crate"] = b"a crate"
    crates.fetch_all(tmp_path, tmp_path, tmp_path / "tools", ONE)
    assert fetch.blob(tmp_path, digest).read_bytes() == b"a crate"


def test_missing_crates_of_each_lock_come_from_the_registry(tmp_path: Path, registry: dict[str, bytes]) -> None:
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz/Cargo.toml").write_text("[workspace]\n")
    for folder, content in ((tmp_path, b"a crate"), (tmp_path / "fuzz", b"another")):
        digest = hashlib.sha256(content).hexdigest()
        file = cargo_lock(folder, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
        file.write_text(file.read_text().replace("serde", folder.name))
        registry[f"{folder.name}-1.0.1.crate"] = content
    found = crates.fetch_all(tmp_path, tmp_path, tmp_path / "tools")
    assert len(found) == 2
    assert sorted(fetch.blob(tmp_path, digest).read_bytes() for digest in found.values()) == [b"a crate", b"another"]


def test_a_lock_whose_crates_are_all_there_is_not_asked(tmp_path: Path, registry: dict[str, bytes]) -> None:
    digest = hashlib.sha256(b"a crate").hexdigest()
    cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz/Cargo.toml").write_text("[workspace]\n")
    (tmp_path / "fuzz/Cargo.lock").write_text("version = 4\n")
    registry["serde-1.0.1.crate"] = b"a crate"
    crates.fetch_all(tmp_path, tmp_path, tmp_path / "tools")
    # Cargo would refuse a lock that is behind its manifest, whatever was asked for.
    assert ASKED == ["source/Cargo.toml"]


@pytest.mark.parametrize(("given", "said"), [({"serde-1.0.1.crate": b"another"}, "has sha256"), ({}, "did not give")])
def test_a_crate_that_is_not_what_is_locked_is_refused_by_name(
    tmp_path: Path, registry: dict[str, bytes], given: dict[str, bytes], said: str
) -> None:
    cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST}"')
    registry.update(given)
    with pytest.raises(Failure, match=said) as failure:
        crates.fetch_all(tmp_path, tmp_path, tmp_path / "tools", ONE)
    assert "serde-1.0.1" in str(failure.value)
    assert not fetch.blob(tmp_path, DIGEST).exists()
