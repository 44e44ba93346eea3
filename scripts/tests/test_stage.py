"""The stage: what a build sees of a checkout, and when it must see something new."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import stage
from errors import Failure

LONG_AGO = 1_000_000_000


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "checkout"
    for name, content in {
        "Cargo.toml": "[workspace]", "agent/src/main.rs": "fn main() {}", "meta-base/mkosi.conf": "[Content]",
        "meta-base/mkosi.build": "#!/bin/sh", "cvmctl/src/main.rs": "fn main() {}", "scripts/cargo-locked": "#!/bin/sh",
        "scripts/hermetic/build.py": "no", "README.md": "no", "agent-notes/x": "no", "target/debug/x": "no",
        "agent/target/x": "no", "measurements/src/lib.rs": "", "measurements/published/base.json": "no",
        "docs/a.md": "no",
    }.items():  # fmt: skip
        put(root / name, content)
    (root / "meta-base/mkosi.build").chmod(0o755)
    (root / "meta-base/mkosi.images").mkdir()
    put(root / "meta-base/mkosi.images/initrd/mkosi.conf", "[Content]")
    (root / "mkosi.images").symlink_to("meta-base/mkosi.images")
    (root / "meta-base/dangling").symlink_to("nowhere")
    return root


@pytest.fixture
def place(tmp_path: Path, checkout: Path) -> Path:
    stage.stage(checkout, tmp_path / "stage")
    return tmp_path / "stage"


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def names(place: Path) -> list[str]:
    return sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_symlink() or p.is_file())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def age(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_only_what_a_build_may_see_is_staged(place: Path) -> None:
    assert names(place) == [
        "Cargo.toml", "agent/src/main.rs", "cvmctl/src/main.rs", "measurements/src/lib.rs", "meta-base/dangling",
        "meta-base/mkosi.build", "meta-base/mkosi.conf", "meta-base/mkosi.images/initrd/mkosi.conf", "mkosi.images",
        "scripts/cargo-locked",
    ]  # fmt: skip
    assert os.readlink(place / "mkosi.images") == "meta-base/mkosi.images"
    assert os.readlink(place / "meta-base/dangling") == "nowhere"


def test_modes_are_the_same_whatever_the_checkouts_and_the_umask(checkout: Path, tmp_path: Path, umask: None) -> None:
    for folder, _, files in os.walk(checkout):
        os.chmod(folder, 0o700)
        for path in (Path(folder) / name for name in files):
            if not path.is_symlink():
                path.chmod(0o700 if path.name == "mkosi.build" else 0o600)
    (checkout / "agent/src/main.rs").chmod(0o666)
    place = tmp_path / "stage"
    stage.stage(checkout, place)
    assert mode(place / "meta-base/mkosi.build") == 0o755
    assert {mode(place / name) for name in ("Cargo.toml", "agent/src/main.rs", "meta-base/mkosi.conf")} == {0o644}
    assert {mode(p) for p in place.rglob("*") if p.is_dir() and not p.is_symlink()} == {0o755}


def test_an_unchanged_file_keeps_its_time_stamp(checkout: Path, place: Path) -> None:
    file = place / "agent/src/main.rs"
    age(file)
    os.utime(checkout / "agent/src/main.rs")
    stage.stage(checkout, place)
    assert file.stat().st_mtime == LONG_AGO


def test_a_changed_file_is_newer_even_if_the_checkouts_is_older(checkout: Path, place: Path) -> None:
    file = place / "agent/src/main.rs"
    before = file.stat().st_mtime_ns
    put(checkout / "agent/src/main.rs", "fn main( ) {}")
    age(checkout / "agent/src/main.rs")
    stage.stage(checkout, place)
    assert file.stat().st_mtime_ns > before
    assert file.read_text() == "fn main( ) {}"


def test_content_decides_where_size_and_time_are_the_same(checkout: Path, place: Path) -> None:
    source, file = checkout / "agent/src/main.rs", place / "agent/src/main.rs"
    put(source, "fn main() ;;")
    age(source, file)
    stage.stage(checkout, place)
    assert file.read_text() == "fn main() ;;"
    assert file.stat().st_mtime > LONG_AGO


def test_a_mode_that_changed_is_followed(checkout: Path, place: Path) -> None:
    (checkout / "meta-base/mkosi.build").chmod(0o644)
    stage.stage(checkout, place)
    assert mode(place / "meta-base/mkosi.build") == 0o644


def test_removed_files_links_and_directories_vanish(checkout: Path, place: Path) -> None:
    (checkout / "meta-base/dangling").unlink()
    (checkout / "meta-base/mkosi.conf").unlink()
    (checkout / "agent/src/main.rs").unlink()
    (checkout / "agent/src").rmdir()
    put(place / "left/over", "from another version")
    stage.stage(checkout, place)
    assert names(place) == [
        "Cargo.toml", "cvmctl/src/main.rs", "measurements/src/lib.rs", "meta-base/mkosi.build",
        "meta-base/mkosi.images/initrd/mkosi.conf", "mkosi.images", "scripts/cargo-locked",
    ]  # fmt: skip
    assert not (place / "agent").exists()
    assert not (place / "left").exists()


def test_empty_directories_which_a_clone_has_not_are_left_out(checkout: Path, place: Path) -> None:
    (checkout / "meta-base/mkosi.extra/etc/empty").mkdir(parents=True)
    put(checkout / "meta-base/scripts/__pycache__/x.pyc", "left out, so its parent is empty")
    stage.stage(checkout, place)
    assert not (place / "meta-base/mkosi.extra").exists()
    assert not (place / "meta-base/scripts").exists()


KINDS = ("file", "directory", "link", "link to a directory")


def make(path: Path, kind: str) -> None:
    if kind == "file":
        put(path, "a file")
    elif kind == "directory":
        put(path / "inner/a", "in a directory")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("../agent" if kind == "link to a directory" else "nowhere")


@pytest.mark.parametrize("before", KINDS)
@pytest.mark.parametrize("after", KINDS)
def test_a_name_may_change_its_type(tmp_path: Path, checkout: Path, before: str, after: str) -> None:
    place, fresh = tmp_path / "stage", tmp_path / "fresh"
    make(checkout / "meta-base/x", before)
    stage.stage(checkout, place)
    (checkout / "meta-base/x").rename(tmp_path / "gone")
    make(checkout / "meta-base/x", after)
    stage.stage(checkout, place)
    stage.stage(checkout, fresh)
    assert names(place) == names(fresh)
    assert stage.digest(place) == stage.digest(fresh)
    assert (place / "agent/src/main.rs").read_text() == "fn main() {}"


def test_a_directory_that_cannot_be_read_stops_the_build(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "src":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        stage.stage(checkout, tmp_path / "stage")


def test_the_digest_is_that_of_a_fresh_stage(checkout: Path, place: Path, tmp_path: Path) -> None:
    stage.stage(checkout, tmp_path / "elsewhere")
    assert stage.digest(tmp_path / "elsewhere") == stage.digest(place)


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "new file", "file for a link"])
def test_the_digest_changes_with(checkout: Path, place: Path, change: str) -> None:
    before = stage.digest(place)
    file = checkout / "meta-base/mkosi.conf"
    if change == "content":
        file.write_text("[content]")
    elif change == "mode":
        file.chmod(0o755)
    elif change == "name":
        file.rename(file.with_name("mkosi.cone"))
    elif change == "new file":
        put(file.with_name("new"), "")
    else:
        (checkout / "meta-base/dangling").unlink()
        if change == "link":
            (checkout / "meta-base/dangling").symlink_to("elsewhere")
        else:
            put(checkout / "meta-base/dangling", "nowhere")
    stage.stage(checkout, place)
    assert stage.digest(place) != before


def test_the_digest_does_not_change_with_time_stamps(place: Path) -> None:
    before = stage.digest(place)
    age(*(p for p in place.rglob("*") if not p.is_symlink()))
    assert stage.digest(place) == before


@pytest.mark.parametrize("folder", stage.NOT_IN_IMAGE)
def test_the_digest_does_not_change_with_what_is_in_no_image(checkout: Path, place: Path, folder: str) -> None:
    before = stage.digest(place)
    put(checkout / folder / "new.rs", "fn new() {}")
    stage.stage(checkout, place)
    assert stage.digest(place) == before
    # And put there by hand, in case the stage left it out.
    put(place / folder / "new.rs", "fn new() {}")
    assert stage.digest(place) == before


@pytest.mark.parametrize("code", ["stage.py", "enter.sh"])
def test_the_digest_changes_with_the_builds_own_code(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    own = tmp_path / "hermetic"
    put(own / code, "one")
    monkeypatch.setattr(stage, "__file__", str(own / "stage.py"))
    before = stage.digest(place)
    put(own / code, "another")
    assert stage.digest(place) != before


def test_a_file_system_without_modes_is_refused(checkout: Path, tmp_path: Path) -> None:
    (checkout / "Cargo.toml").chmod(0o755)
    with pytest.raises(Failure, match="another image"):
        stage.stage(checkout, tmp_path / "stage")
    assert not (tmp_path / "stage").exists()
