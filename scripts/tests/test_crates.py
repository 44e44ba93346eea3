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


def cargo_lock(folder: Path, fields: str) -> Path:
    file = folder / "Cargo.lock"
    member = '[[package]]\nname = "ours"\nversion = "0.1.0"\n'
    file.write_text(f'version = 4\n{member}[[package]]\nname = "serde"\nversion = "1.0.1"\n{fields}\n')
    return file


def test_registry_crates_are_read_and_members_of_the_workspace_are_not(tmp_path: Path) -> None:
    file = cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST}"')
    assert crates.locked(file) == {"serde-1.0.1": DIGEST}


def test_the_committed_lock_is_accepted() -> None:
    assert len(crates.locked(Path(__file__).resolve().parents[2] / "Cargo.lock")) > 0


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
        crates.locked(cargo_lock(tmp_path, fields))
    assert str(tmp_path / "Cargo.lock") in str(failure.value)


def test_a_lock_with_conflict_marks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="is not TOML"):
        crates.locked(cargo_lock(tmp_path, "<<<<<<< ours"))


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
    file = cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    assert crates.fetch_all(file, tmp_path, tmp_path / "tools") == {"serde-1.0.1": digest}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the made-up registry gives: file name to content."""
    given: dict[str, bytes] = {}
    (tmp_path / "Cargo.toml").write_text("[workspace]\nmembers = []\n")

    def asked(_: object, command: list[str], *__: object) -> None:
        place = Path(command[-1]).parent.parent / "cargo/registry/cache/index"
        place.mkdir(parents=True)
        for name, content in given.items():
            (place / name).write_bytes(content)

    monkeypatch.setattr(crates.enter, "command", lambda tools, arguments, **_: list(arguments))
    monkeypatch.setattr(crates, "run_logged", asked)
    return given


def test_missing_crates_come_from_the_registry(tmp_path: Path, registry: dict[str, bytes]) -> None:
    digest = hashlib.sha256(b"a crate").hexdigest()
    file = cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{digest}"')
    registry["serde-1.0.1.crate"] = b"a crate"
    crates.fetch_all(file, tmp_path, tmp_path / "tools")
    assert fetch.blob(tmp_path, digest).read_bytes() == b"a crate"


@pytest.mark.parametrize(("given", "said"), [({"serde-1.0.1.crate": b"another"}, "has sha256"), ({}, "did not give")])
def test_a_crate_that_is_not_what_is_locked_is_refused_by_name(
    tmp_path: Path, registry: dict[str, bytes], given: dict[str, bytes], said: str
) -> None:
    file = cargo_lock(tmp_path, f'source = "{crates.REGISTRY}"\nchecksum = "{DIGEST}"')
    registry.update(given)
    with pytest.raises(Failure, match=said) as failure:
        crates.fetch_all(file, tmp_path, tmp_path / "tools")
    assert "serde-1.0.1" in str(failure.value)
    assert not fetch.blob(tmp_path, DIGEST).exists()
