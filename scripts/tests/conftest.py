"""The modules under test run as they lie, without installation; nothing here leaves this machine."""

from __future__ import annotations

import io
import lzma
import os
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

HERMETIC = Path(__file__).resolve().parents[1] / "hermetic"
sys.path.insert(0, str(HERMETIC))
sys.dont_write_bytecode = True

NAMED_BY_USER = ("MIRROR", "SECURITY_MIRROR", "SNAPSHOT", "CVM_CACHE")


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user of this machine has set must not decide a test."""
    for name in (*NAMED_BY_USER, "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of a program; where it is missing, CI fails and a developer's machine skips."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if found is None and os.environ.get("CI"):
            pytest.fail(f"{name} is not installed")
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


def ar(members: list[tuple[str, bytes]]) -> bytes:
    """An ar archive, written by hand: the reader under test must not also be the writer."""
    out = b"!<arch>\n"
    for name, content in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        out += content + b"\n" * (len(content) % 2)
    return out


def entry(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A tar member; `fields` are TarInfo's."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for member, content in members:
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def a_deb(*members: tuple[tarfile.TarInfo, bytes], control: bytes = b"Package: hello\nVersion: 1\n") -> bytes:
    return ar([
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", lzma.compress(tar(entry("./control", control)))),
        ("data.tar.xz", lzma.compress(tar(*members))),
    ])  # fmt: skip
