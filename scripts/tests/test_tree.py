"""Unpacking into the tools tree: faithful to what it needs, and never outside of it."""

from __future__ import annotations

import hashlib
import os
import pickle
import stat
import tarfile
from pathlib import Path

import pytest
from conftest import a_deb, entry

import enter
import fetch
import tree
from errors import Failure
from lockfile import Lock, Package

Member = tuple[tarfile.TarInfo, bytes]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    tree._skeleton(tmp_path / "tree")
    return tmp_path / "tree"


def unpack(place: Path, *members: Member) -> None:
    file = place.with_name("hello.deb")
    file.write_bytes(a_deb(*members))
    tree._unpack(file, place)


def folder(name: str) -> Member:
    return entry(name, type=tarfile.DIRTYPE, mode=0o755)


def link(name: str, target: str) -> Member:
    return entry(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> Member:
    return entry(name, type=tarfile.LNKTYPE, linkname=target)


def test_files_directories_and_links_are_unpacked(place: Path) -> None:
    unpack(
        place, folder("./"), folder("./usr/"), folder("./usr/share/"), entry("./usr/share/a", b"content", mode=0o755),
        link("./usr/share/b", "a"), entry("./usr/share/new/c", b"in a directory that no member makes"),
    )  # fmt: skip
    assert (place / "usr/share/a").read_bytes() == b"content"
    assert stat.S_IMODE((place / "usr/share/a").stat().st_mode) == 0o755
    assert os.readlink(place / "usr/share/b") == "a"
    assert (place / "usr/share/new/c").is_file()
    assert (place / "usr/share/a").stat().st_uid == os.getuid()


@pytest.mark.parametrize("name", tree.MERGED)
def test_names_before_the_usr_merge_land_in_usr(place: Path, name: str) -> None:
    unpack(place, folder(f"./{name}/"), folder(f"./{name}/deep/"), entry(f"./{name}/deep/tool", b"x"))
    assert (place / name).is_symlink()
    assert (place / "usr" / name / "deep/tool").read_bytes() == b"x"


def test_hard_links_are_kept_also_across_the_merged_names(place: Path) -> None:
    unpack(place, entry("./bin/a", b"x"), hard_link("./usr/bin/b", "./bin/a"), hard_link("./sbin/c", "bin/a"))
    assert (place / "usr/bin/a").stat().st_nlink == 3
    assert (place / "usr/bin/b").samefile(place / "usr/bin/a")
    assert (place / "usr/sbin/c").samefile(place / "usr/bin/a")


def test_set_id_and_sticky_bits_are_dropped(place: Path) -> None:
    unpack(place, entry("./usr/bin/su", b"x", mode=0o6755), entry("./usr/bin/x", b"x", mode=0o1711))
    assert stat.S_IMODE((place / "usr/bin/su").stat().st_mode) == 0o755
    assert stat.S_IMODE((place / "usr/bin/x").stat().st_mode) == 0o711


def test_what_nobody_may_read_can_still_be_removed_by_its_owner(place: Path) -> None:
    unpack(place, entry("./etc/secret", b"x", mode=0o000))
    assert stat.S_IMODE((place / "etc/secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device_nodes_are_skipped(place: Path, kind: bytes) -> None:
    unpack(place, entry("./dev/null", type=kind, devmajor=1, devminor=3), entry("./usr/after", b"x"))
    assert list((place / "dev").iterdir()) == []
    assert (place / "usr/after").is_file()


@pytest.mark.parametrize(
    "name",
    ["../escaped", "./../escaped", "usr/../../escaped", "./usr/..", "/{outside}/escaped", ".//{outside}/escaped"],
)
def test_a_name_that_leaves_the_tree_is_refused(place: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(Failure, match="leaves the tree") as failure:
        unpack(place, entry(name.format(outside=str(outside).lstrip("/")), b"x"))
    assert "hello.deb" in str(failure.value)
    assert not (tmp_path / "escaped").exists()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("name", ["usr/way/new", "usr/way/victim", "usr/way/deep/new"])
@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("directory", [True, False])
def test_nothing_is_written_or_removed_through_a_link_out_of_the_tree(
    place: Path, tmp_path: Path, name: str, absolute: bool, directory: bool
) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "victim").write_text("as it was")
    target = str(outside) if absolute else "../../outside"
    last = folder(name) if directory else entry(name, b"x")
    with pytest.raises(Failure, match="leaves the tree"):
        unpack(place, link("usr/way", target), last)
    assert (outside / "victim").read_text() == "as it was"
    assert sorted(p.relative_to(outside).as_posix() for p in outside.rglob("*")) == ["deep", "victim"]


def test_a_link_out_of_the_tree_from_another_package_is_not_followed_either(place: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    unpack(place, link("usr/way", str(outside)))
    with pytest.raises(Failure, match="leaves the tree"):
        unpack(place, entry("usr/way/new", b"x"))
    assert list(outside.iterdir()) == []


def test_a_link_within_the_tree_is_followed(place: Path) -> None:
    unpack(place, folder("usr/real"), link("usr/way", "real"), entry("usr/way/a", b"x"))
    assert (place / "usr/real/a").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["../victim", "/{outside}/victim", "usr/../../victim", "usr/way/victim"])
def test_a_hard_link_to_something_outside_is_refused(place: Path, tmp_path: Path, target: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    victim.chmod(0o400)
    linked = hard_link("usr/a", target.format(outside=str(tmp_path).lstrip("/")))
    with pytest.raises(Failure, match="leaves the tree"):
        unpack(place, link("usr/way", str(tmp_path)), linked)
    assert victim.stat().st_nlink == 1
    assert stat.S_IMODE(victim.stat().st_mode) == 0o400


def test_a_link_in_the_way_of_a_file_is_replaced_not_followed(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    unpack(place, link("usr/a", str(victim)))
    unpack(place, entry("usr/a", b"new"))
    assert victim.read_text() == "as it was"
    assert not (place / "usr/a").is_symlink()
    assert (place / "usr/a").read_bytes() == b"new"


def test_a_file_in_the_way_of_a_link_is_replaced(place: Path) -> None:
    unpack(place, entry("usr/a", b"old"))
    unpack(place, link("usr/a", "b"))
    assert os.readlink(place / "usr/a") == "b"


def test_a_failure_survives_the_way_from_a_worker_process(place: Path) -> None:
    failure = Failure("reason", "advice", "log")
    assert str(pickle.loads(pickle.dumps(failure))) == str(failure)


def locked(cache: Path, *members: Member) -> Lock:
    """A lock of one tool, which is in the cache."""
    content = a_deb(*members)
    digest = hashlib.sha256(content).hexdigest()
    fetch.store(cache, digest, content)
    package = Package("tool", "1", "amd64", digest, len(content), "pool/t.deb", "trixie", ("tools",))
    return Lock("20260101T000000Z", {}, (package,))


def test_a_tree_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    lock = locked(tmp_path, entry("usr/bin/tool", b"x"), entry("../out", b"x"))
    with pytest.raises(Failure, match="leaves the tree"):
        tree.ensure(lock, tmp_path)
    assert [name for name in os.listdir(tmp_path / "tools") if not name.endswith(".part")] == []


def test_a_tree_is_made_once_and_named_by_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = locked(tmp_path, entry("usr/bin/tool", b"x"))
    # ldconfig needs namespaces, and this made-up tree has none.
    monkeypatch.setattr(tree.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(enter, "command", lambda *_, **__: ["true"])
    made = tree.ensure(lock, tmp_path)
    assert made.name.startswith(lock.digest("tools")[:16])
    assert (made / "bin/tool").read_bytes() == b"x"
    digest = lock.packages[0].sha256
    assert (made / "etc/locked-packages").read_text() == f"tool 1 {digest}\n"
    fetch.blob(tmp_path, digest).unlink()
    assert tree.ensure(lock, tmp_path) == made
