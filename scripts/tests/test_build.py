"""Around mkosi: when an earlier build may be reused, and what a release names."""

from __future__ import annotations

import hashlib
import os
import json
from pathlib import Path

import pytest

import build
import fetch
import lockfile
import repo
from conftest import a_deb, entry
from errors import Failure


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "base.raw").write_bytes(b"image")
    known = {"key": "a", "files": {"base.raw": hashlib.sha256(b"image").hexdigest()}}
    (tmp_path / "state.json").write_text(json.dumps(known))
    return tmp_path / "state.json"


def test_a_build_of_the_same_sources_is_reused(state: Path, tmp_path: Path) -> None:
    assert build._up_to_date(state, "a", tmp_path) == [tmp_path / "base.raw"]


@pytest.mark.parametrize("change", ["key", "content", "missing file", "no state", "half a state"])
def test_a_build_is_not_reused_after_a_change_of(state: Path, tmp_path: Path, change: str) -> None:
    if change == "content":
        (tmp_path / "base.raw").write_bytes(b"Image")
    elif change == "missing file":
        (tmp_path / "base.raw").unlink()
    elif change == "no state":
        state.unlink()
    elif change == "half a state":
        state.write_bytes(state.read_bytes()[:20])
    assert build._up_to_date(state, "b" if change == "key" else "a", tmp_path) == []


def test_sums_are_in_the_form_that_sha256sum_takes(tmp_path: Path) -> None:
    for name in ("base-1.raw", "base-1-azure-tdx.vhd", "base-10.raw", "buildernet-1.raw", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("base", "buildernet"):
        (tmp_path / f".{name}.state.json").write_text('{"key": "same", "files": {}}')
    digest = hashlib.sha256(b"x").hexdigest()
    assert build.checksums(tmp_path, "1").read_text() == (
        f"{digest}  base-1-azure-tdx.vhd\n{digest}  base-1.raw\n{digest}  buildernet-1.raw\n"
    )


def test_sums_leave_out_what_is_never_released(tmp_path: Path) -> None:
    for name in ("buildernet", *build.PROFILES):
        (tmp_path / f"{name}-1-azure-tdx.vhd").write_bytes(b"x")
        (tmp_path / f".{name}.state.json").write_text('{"key": "same", "files": {}}')
    listed = build.checksums(tmp_path, "1").read_text()
    assert "buildernet-1-azure-tdx.vhd" in listed and "sim" not in listed


def test_a_profile_is_of_an_image_and_has_files() -> None:
    root = Path(__file__).resolve().parents[2]
    for image, profile in build.PROFILES.values():
        assert image in build.IMAGES
        # mkosi passes over a profile that it does not find.
        assert (root / "meta-base/mkosi.profiles" / profile / "mkosi.extra").is_dir()


def test_sums_leave_out_an_image_of_other_sources(tmp_path: Path) -> None:
    for age, name in ((2, "base"), (1, "buildernet")):
        (tmp_path / f"{name}-1.raw").write_bytes(b"x")
        state = tmp_path / f".{name}.state.json"
        state.write_text(f'{{"key": "{name}", "files": {{}}}}')
        os.utime(state, (1_000_000_000 - age, 1_000_000_000 - age))
    listed = build.checksums(tmp_path, "1").read_text()
    assert "buildernet-1.raw" in listed and "base-1.raw" not in listed


def test_two_builds_at_once_from_one_checkout_are_refused(tmp_path: Path) -> None:
    with build._workplace(tmp_path, tmp_path / "cache", "base", False) as base:
        # Of either image: they share the stage and what is compiled from it.
        for name in ("base", "buildernet"):
            with pytest.raises(Failure, match="another build runs"):
                with build._workplace(tmp_path, tmp_path / "cache", name, False):
                    pass
        with build._workplace(tmp_path / "other", tmp_path / "cache", "base", False) as other:
            assert (other.parent / "source").is_dir() and other.parent != base.parent


def test_the_local_repository_holds_exactly_the_locked_packages(tmp_path: Path) -> None:
    content = a_deb(entry("usr/a", b"x"), control=b"Package: hello\nVersion: 1:2\nArchitecture: all\n")
    digest = hashlib.sha256(content).hexdigest()
    fetch.store(tmp_path, digest, content)
    locked = lockfile.Package("hello", "1:2", "all", digest, len(content), "pool/h.deb", "trixie", ("base",))
    tool = lockfile.Package("tool", "1", "all", "0" * 64, 1, "pool/t.deb", "trixie", ("tools",))
    place = repo.ensure(lockfile.Lock("20260101T000000Z", {}, (locked, tool)), tmp_path)
    assert [path.name for path in (place / "pool").iterdir()] == ["hello_1%3a2_all.deb"]
    listing = (place / f"dists/{repo.RELEASE}/main/binary-amd64/Packages").read_bytes()
    assert listing.decode() == (
        "Package: hello\nVersion: 1:2\nArchitecture: all\n"
        f"Filename: pool/hello_1%3a2_all.deb\nSize: {len(content)}\nSHA256: {digest}\n"
    )
    release = (place / f"dists/{repo.RELEASE}/Release").read_text()
    assert f" {hashlib.sha256(listing).hexdigest()} {len(listing)} main/binary-amd64/Packages\n" in release
