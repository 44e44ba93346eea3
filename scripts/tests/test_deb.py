"""Reading .debs without dpkg."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import a_deb, ar, entry, tar

import deb
from errors import Failure


def saved(folder: Path, content: bytes) -> Path:
    file = folder / "hello.deb"
    file.write_bytes(content)
    return file


def with_data(name: str, data: bytes) -> bytes:
    control = lzma.compress(tar(entry("./control", b"Package: hello\n")))
    return ar([("debian-binary", b"2.0\n"), ("control.tar.xz", control), (name, data)])


@pytest.mark.parametrize(("suffix", "compress"), [(".xz", lzma.compress), (".gz", gzip.compress), ("", bytes)])
@pytest.mark.parametrize("slash", ["", "/"])
def test_data_of_every_compression_is_read(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes], slash: str
) -> None:
    file = saved(tmp_path, with_data(f"data.tar{suffix}{slash}", compress(tar(entry("./a", b"content")))))
    with deb.archive(file, "data") as opened:
        assert [member.name for member in opened] == ["./a"]


def test_members_of_odd_length_are_padded(tmp_path: Path) -> None:
    file = saved(tmp_path, ar([("a", b"1"), ("b", b"22"), ("c", b"333")]))
    assert list(deb.members(file)) == [("a", b"1"), ("b", b"22"), ("c", b"333")]


def test_control_is_the_control_file(tmp_path: Path) -> None:
    file = saved(tmp_path, a_deb(control=b"Package: hello\nDescription: x\n y\n\n"))
    assert deb.control(file) == "Package: hello\nDescription: x\n y"


def test_what_dpkg_builds_is_read(tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "tree/DEBIAN").mkdir(parents=True)
    (tmp_path / "tree/DEBIAN/control").write_text(
        "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: x\n"
    )
    (tmp_path / "tree/usr").mkdir()
    (tmp_path / "tree/usr/a").write_text("content")
    options = ["--root-owner-group", "-Zxz", "--build", str(tmp_path / "tree"), str(tmp_path / "x.deb")]
    subprocess.run([tool("dpkg-deb"), *options], check=True, stdout=subprocess.DEVNULL)
    assert deb.control(tmp_path / "x.deb").startswith("Package: hello\nVersion: 1\n")
    with deb.archive(tmp_path / "x.deb", "data") as opened:
        assert "./usr/a" in opened.getnames()


@pytest.mark.parametrize("content", [b"", b"!<arch>", b"PK\x03\x04 something else"])
def test_what_is_no_ar_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Failure, match=r"hello\.deb is not a Debian package"):
        deb.control(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("at", "byte"),
    [(8 + 58, b"x"), (8 + 48, b"x"), (8 + 48, b"-"), (8, b"\xff")],
    ids=["magic", "size", "negative-size", "name"],
)
def test_a_damaged_header_is_refused(tmp_path: Path, at: int, byte: bytes) -> None:
    content = bytearray(a_deb())
    content[at : at + 1] = byte
    with pytest.raises(Failure, match=r"hello\.deb: .*(damaged ar header|cut short)"):
        deb.control(saved(tmp_path, bytes(content)))


def test_a_header_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="damaged ar header"):
        deb.control(saved(tmp_path, a_deb()[: 8 + 59]))


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="data.tar.xz is cut short"):
        deb.archive(saved(tmp_path, a_deb(entry("./a", b"x"))[:-9]), "data")


@pytest.mark.parametrize("suffix", [".xz", ".gz", ""])
def test_damaged_data_is_refused(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Failure, match=r"hello\.deb: data\.tar.* is damaged"):
        deb.archive(saved(tmp_path, with_data(f"data.tar{suffix}", b"no such thing" * 100)), "data")


@pytest.mark.parametrize("suffix", [".zst", ".bz2", ".lzma"])
def test_an_unknown_compression_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Failure, match=rf"compression \{suffix} is not supported"):
        deb.archive(saved(tmp_path, with_data(f"data.tar{suffix}", b"x")), "data")


def test_a_package_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"has no data\.tar"):
        deb.archive(saved(tmp_path, ar([("debian-binary", b"2.0\n")])), "data")


def test_a_package_without_a_control_file_is_refused(tmp_path: Path) -> None:
    content = ar([("control.tar.xz", lzma.compress(tar(entry("./md5sums", b""))))])
    with pytest.raises(Failure, match="has no control file"):
        deb.control(saved(tmp_path, content))
