"""Resolving the lock, as far as it goes without apt."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import resolve
from errors import Failure
from lockfile import Lock, Package

STANZA = """Package: {name}
Version: 1
Architecture: amd64
Filename: pool/main/{name}.deb
Size: 7
SHA256: {digest}
Description: x
"""


def package(name: str, version: str, digest: str) -> Package:
    return Package(name, version, "amd64", digest * 32, 1_000_000, f"pool/{name}.deb", "trixie", ("base",))


def test_only_what_moved_is_explained() -> None:
    old = Lock("", {}, (package("same", "1", "aa"), package("gone", "1", "bb"), package("moved", "1", "cc")))
    new = Lock("", {}, (package("same", "1", "aa"), package("moved", "2", "dd"), package("new", "3", "ee")))
    assert resolve.explain(old, new).splitlines() == [
        "  gone: 1 -> -", "  moved: 1 -> 2", "  new: - -> 3", "3 packages, 3 MB, 3 changed",
    ]  # fmt: skip


def test_an_index_names_the_suite_it_is_of(tmp_path: Path) -> None:
    apt = resolve._Apt(tmp_path, None, "http://m.example/debian", "http://m.example/debian-security")
    for suite, name in (("trixie", "hello"), ("trixie-security", "fixed")):
        text = STANZA.format(name=name, digest=name[0] * 64) + "\n"
        (tmp_path / f"lists/m.example_debian_dists_{suite}_main_binary-amd64_Packages").write_text(text)
    assert {entry["name"]: entry["suite"] for entry in apt.index().values()} == {
        "hello": "trixie", "fixed": "trixie-security",
    }  # fmt: skip
    assert apt.index()["h" * 64]["size"] == 7


def test_every_source_is_signed(tmp_path: Path) -> None:
    resolve._Apt(tmp_path, None, "http://m.example/debian", "http://s.example/debian-security")
    lines = (tmp_path / "etc/apt/sources.list").read_text().splitlines()
    assert len(lines) == 4
    assert all(line.startswith(f"deb [signed-by={resolve.KEYRING}] http://") for line in lines)


def test_an_index_that_cannot_be_had_is_an_error_not_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def run(_: object, *arguments: str) -> str:
        asked.append(arguments)
        raise Failure("stop here")

    monkeypatch.setattr(resolve._Apt, "run", run)
    monkeypatch.setenv("MIRROR", "http://m.example/debian")
    with pytest.raises(Failure, match="stop here"):
        resolve.resolve(tmp_path, None)
    assert asked[0][0] == "update" and "--error-on=any" in asked[0]


def test_apts_own_words_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = resolve._Apt(tmp_path, None, "http://m.example/debian", "http://m.example/debian-security")
    monkeypatch.setattr(resolve.shutil, "which", lambda name: name)
    failed = subprocess.CompletedProcess(["apt-get"], 100, "", "E: the repository is not signed\n")
    monkeypatch.setattr(resolve.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(Failure, match="E: the repository is not signed") as failure:
        apt.run("update")
    assert "MIRROR=" in failure.value.advice


def test_a_host_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = resolve._Apt(tmp_path, None, "http://m.example/debian", "http://m.example/debian-security")
    monkeypatch.setattr(resolve.shutil, "which", lambda _: None)
    with pytest.raises(Failure, match="apt-get is not installed"):
        apt.run("update")


def test_a_package_that_apt_lists_without_sha256_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt = resolve._Apt(tmp_path, None, "http://m.example/debian", "http://m.example/debian-security")
    monkeypatch.setattr(resolve._Apt, "run", lambda *_: "'http://m.example/a.deb' a.deb 7 MD5Sum:00\n")
    with pytest.raises(Failure, match="no package with a SHA-256 for: a"):
        apt.plan(["a"])
