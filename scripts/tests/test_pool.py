"""The release artifact of all locked files: out of one cache, into another."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest
from conftest import entry, tar

import fetch
import pool
from errors import Failure

CONTENTS = (b"one", b"two", b"", b"x" * 2000)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [fetch.store(tmp_path / "cache", digest(content), content) for content in CONTENTS]


def cached(cache: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in cache.rglob("*") if file.is_file()}


def test_exporting_twice_gives_the_same_bytes(files: list[Path], tmp_path: Path) -> None:
    pool.export(files, tmp_path / "out/one.tar")
    files[0].touch()
    files[1].chmod(0o600)
    pool.export([*files[::-1], files[0]], tmp_path / "out/two.tar")
    assert (tmp_path / "out/one.tar").read_bytes() == (tmp_path / "out/two.tar").read_bytes()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.tar", "two.tar"]


def test_an_empty_cache_is_filled(files: list[Path], tmp_path: Path) -> None:
    pool.export(files, tmp_path / "pool.tar")
    assert pool.load(tmp_path / "pool.tar", tmp_path / "other") == len(CONTENTS)
    assert cached(tmp_path / "other") == {digest(content): content for content in CONTENTS}
    assert pool.load(tmp_path / "pool.tar", tmp_path / "other") == 0


def test_a_damaged_file_of_the_cache_is_replaced(files: list[Path], tmp_path: Path) -> None:
    pool.export(files, tmp_path / "pool.tar")
    files[0].write_bytes(b"damaged")
    assert pool.load(tmp_path / "pool.tar", tmp_path / "cache") == 1
    assert files[0].read_bytes() == b"one"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_is_not_exported(files: list[Path], tmp_path: Path, damage: str) -> None:
    files[1].unlink() if damage == "missing" else files[1].write_bytes(b"damaged")
    with pytest.raises(Failure, match="damaged or missing") as failure:
        pool.export(files, tmp_path / "out/pool.tar")
    assert str(files[1]) in str(failure.value)
    assert list(tmp_path.glob("out/*")) == []


def test_a_damaged_member_is_refused_by_name(tmp_path: Path) -> None:
    member = f"sha256/{digest(b'one')}"
    (tmp_path / "pool.tar").write_bytes(tar(entry(member, b"One")))
    with pytest.raises(Failure, match=member) as failure:
        pool.load(tmp_path / "pool.tar", tmp_path / "cache")
    assert str(tmp_path / "pool.tar") in str(failure.value) and digest(b"One") in str(failure.value)
    assert cached(tmp_path / "cache") == {}


ONE = digest(b"one")


@pytest.mark.parametrize(
    "member",
    [
        entry("README", b"one"), entry("../../escaped", b"one"), entry(f"sha256/../{ONE}", b"one"),
        entry(f"sha256/{ONE.upper()}", b"one"), entry(f"other/{ONE}", b"one"), entry(f"sha256/{ONE}x", b"one"),
        entry(f"sha256/{ONE}", type=tarfile.SYMTYPE, linkname="/etc/hostname"),
        entry(f"sha256/{ONE}", type=tarfile.LNKTYPE, linkname="/etc/hostname"),
        entry("sha256", type=tarfile.DIRTYPE),
    ],
)  # fmt: skip
def test_a_foreign_member_is_refused(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    (tmp_path / "pool.tar").write_bytes(tar(member))
    with pytest.raises(Failure, match="unexpected member"):
        pool.load(tmp_path / "pool.tar", tmp_path / "cache")
    assert cached(tmp_path / "cache") == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"not a tar" * 200, gzip.compress(tar(entry(f"sha256/{ONE}", b"one")))],
    ids=["empty", "no tar", "compressed"],
)
def test_what_is_no_pool_is_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pool.tar").write_bytes(content)
    with pytest.raises(Failure) as failure:
        pool.load(tmp_path / "pool.tar", tmp_path / "cache")
    assert str(tmp_path / "pool.tar") in str(failure.value)
    assert "make pool-import POOL=FILE" in failure.value.advice


@pytest.mark.parametrize("name", ["missing.tar", ""])
def test_a_pool_that_is_not_there_is_refused_with_advice(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure) as failure:
        pool.load(tmp_path / name, tmp_path / "cache")
    assert "make pool-import POOL=FILE" in failure.value.advice


def test_a_pool_cut_short_is_refused(files: list[Path], tmp_path: Path) -> None:
    pool.export(files, tmp_path / "pool.tar")
    whole = (tmp_path / "pool.tar").read_bytes()
    # In the middle of the 2,000 byte member.
    (tmp_path / "pool.tar").write_bytes(whole[: whole.index(b"x" * 2000) + 900])
    with pytest.raises(Failure) as failure:
        pool.load(tmp_path / "pool.tar", tmp_path / "other")
    assert str(tmp_path / "pool.tar") in str(failure.value)
    assert all(digest(content) == name for name, content in cached(tmp_path / "other").items())
