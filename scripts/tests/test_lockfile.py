"""packages.lock: one canonical form, and anything else is refused by file and entry."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import lockfile
from errors import Failure

DIGEST = "ab" * 32


def entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "name": "hello", "version": "1:2.10-3+b1", "arch": "amd64", "sha256": DIGEST, "size": 7,
        "path": "pool/main/h/hello/hello_2.10-3+b1_amd64.deb", "suite": "trixie", "sets": ["base", "tools"],
    }  # fmt: skip
    return {**fields, **changes}


def written(folder: Path, *entries: Any, **header: Any) -> Path:
    path = folder / "packages.lock"
    document = {"format": 1, "resolved": "20260101T000000Z", "releases": {"trixie": "today"}, "packages": list(entries)}
    path.write_text(json.dumps({**document, **header}))
    return path


def package(**changes: Any) -> lockfile.Package:
    fields = entry(**changes)
    return lockfile.Package(**{**fields, "sets": tuple(fields["sets"])})


def test_a_lock_reads_as_it_was_written(tmp_path: Path) -> None:
    lock = lockfile.Lock("20260101T000000Z", {"trixie": "today"}, (package(), package(name="world")))
    lockfile.write(tmp_path / "packages.lock", lock)
    assert lockfile.read(tmp_path / "packages.lock") == lock


def test_writing_what_was_read_changes_no_byte(tmp_path: Path) -> None:
    path = written(tmp_path, entry(name="zebra"), entry(name="ant", sets=["tools", "base"]))
    lockfile.write(path, lockfile.read(path))
    first = path.read_bytes()
    lockfile.write(path, lockfile.read(path))
    assert path.read_bytes() == first
    assert [p.name for p in lockfile.read(path).packages] == ["ant", "zebra"]


def test_order_of_packages_sets_and_releases_does_not_reach_the_file(tmp_path: Path) -> None:
    a, b = package(name="a", sets=["base", "tools"]), package(name="b")
    one = lockfile.Lock("20260101T000000Z", {"x": "1", "y": "2"}, (a, b))
    other = lockfile.Lock("20260101T000000Z", {"y": "2", "x": "1"}, (b, dataclasses.replace(a, sets=("tools", "base"))))
    lockfile.write(tmp_path / "one.lock", one)
    lockfile.write(tmp_path / "other.lock", other)
    assert (tmp_path / "one.lock").read_bytes() == (tmp_path / "other.lock").read_bytes()


def test_a_diff_names_one_package_a_line(tmp_path: Path) -> None:
    path = tmp_path / "packages.lock"
    lockfile.write(path, lockfile.Lock("20260101T000000Z", {}, (package(name="a"), package(name="b"))))
    lines = path.read_text().splitlines()
    assert [json.loads(line.rstrip(","))["name"] for line in lines[1:-1]] == ["a", "b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["packages.lock"]


def test_the_committed_lock_is_accepted() -> None:
    root = Path(__file__).resolve().parents[2]
    lock = lockfile.read(root / "packages.lock")
    assert {name for p in lock.packages for name in p.sets} == set(lockfile.requested(root))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sha256": "AB" * 32}, "sha256"),
        ({"sha256": "ab" * 31}, "sha256"),
        ({"sha256": DIGEST + "\n"}, "sha256"),
        ({"sha256": ""}, "sha256"),
        ({"sha256": None}, "not text"),
        ({"path": "pool/../../etc/hello.deb"}, "unexpected path"),
        ({"path": "/pool/main/hello.deb"}, "unexpected path"),
        ({"path": "http://127.0.0.1/pool/hello.deb"}, "unexpected path"),
        ({"path": "pool/main/hello.deb?x"}, "unexpected path"),
        ({"name": "hello/../x"}, "unexpected name"),
        ({"version": "../1"}, "unexpected name"),
        ({"size": "7"}, "size"),
        ({"size": -1}, "size"),
        ({"size": 0}, "size"),
        ({"sets": []}, "no set"),
        ({"sets": None}, "NoneType"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_malformed_entry_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path, entry(**changes))
    with pytest.raises(Failure) as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)
    assert "hello" in str(failure.value)
    assert said in str(failure.value)


@pytest.mark.parametrize("field", sorted(entry()))
def test_a_missing_field_is_refused(tmp_path: Path, field: str) -> None:
    fields = entry()
    del fields[field]
    path = written(tmp_path, fields)
    with pytest.raises(Failure) as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)
    assert field == "name" or "hello" in str(failure.value)


def test_a_package_locked_twice_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, entry(), entry(version="2"))
    with pytest.raises(Failure, match="hello is locked twice: 1:2.10-3\\+b1 and 2") as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)


def test_the_same_name_of_two_architectures_is_not_twice(tmp_path: Path) -> None:
    assert len(lockfile.read(written(tmp_path, entry(), entry(arch="all"))).packages) == 2


@pytest.mark.parametrize("given", ["text", ["text"], 7, None])
def test_an_entry_that_is_no_object_is_refused(tmp_path: Path, given: object) -> None:
    path = written(tmp_path, given)
    with pytest.raises(Failure) as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("given", [2, "1", None])
def test_another_format_is_refused(tmp_path: Path, given: object) -> None:
    path = written(tmp_path, format=given)
    with pytest.raises(Failure, match="format .* expected 1") as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("field", ["resolved", "releases", "packages"])
def test_a_header_without_a_field_is_refused(tmp_path: Path, field: str) -> None:
    path = written(tmp_path, entry(), **{field: None})
    with pytest.raises(Failure, match=field) as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)


@pytest.mark.parametrize("content", [b"<<<<<<< ours\n", b"", b"\xff\xfe", b'{"format": 1'])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "packages.lock"
    path.write_bytes(content)
    with pytest.raises(Failure, match="is not JSON") as failure:
        lockfile.read(path)
    assert str(path) in str(failure.value)
    assert "git checkout" in failure.value.advice


@pytest.mark.parametrize("content", ["[]", "7", "null", '"text"'])
def test_json_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "packages.lock"
    path.write_text(content)
    with pytest.raises(Failure, match="expected 1"):
        lockfile.read(path)


def test_a_missing_lock_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="missing") as failure:
        lockfile.read(tmp_path / "packages.lock")
    assert "make lock" in failure.value.advice


def test_digest_follows_the_packages_of_the_sets_asked_for() -> None:
    tool, both = package(name="a", sets=["tools"]), package(name="b", sha256="cd" * 32, sets=["base", "tools"])
    lock = lockfile.Lock("", {}, (tool, both))
    assert lock.of("base") == (both,)
    assert lock.of("tools") == (tool, both)
    moved = lockfile.Lock("", {}, (dataclasses.replace(tool, sha256="ef" * 32), both))
    assert moved.digest("tools") != lock.digest("tools")
    assert moved.digest("base") == lock.digest("base")


def test_packages_are_read_as_mkosi_reads_them(tmp_path: Path) -> None:
    conf = tmp_path / "mkosi.conf"
    conf.write_text(
        "[Content]\n# Packages=no\nPackages=first, second\n        third\n\n# a remark\n        fourth # another\n"
        "        # fifth\nBuildPackages=\n        sixth\nPackages=seventh\n"
    )
    assert lockfile._packages_of(conf) == ["first", "second", "third", "fourth", "seventh"]


def test_a_configuration_without_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mkosi.conf").write_text("[Content]\nBootable=yes\n")
    with pytest.raises(Failure, match="asks for no packages"):
        lockfile._packages_of(tmp_path / "mkosi.conf")
