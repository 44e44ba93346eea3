"""The command line, as a user meets it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import HERMETIC

from errors import Failure
from lockfile import Lock


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("CVM_CACHE", str(tmp_path / "cache"))
    specification = importlib.util.spec_from_file_location("hermetic_main", HERMETIC / "__main__.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_cache_is_outside_the_checkout(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert program.cache() == tmp_path / "cache"
    monkeypatch.delenv("CVM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert program.cache() == tmp_path / "xdg/cvm-image"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert program.cache() == tmp_path / "home/.cache/cvm-image"


def test_the_lock_moves_on_also_when_the_locked_tools_are_to_be_had_nowhere(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = Lock("20260101T000000Z", {}, ()), Lock("20260201T000000Z", {}, ())
    program.lockfile.write(tmp_path / "packages.lock", old)
    monkeypatch.setattr(program, "LOCK", tmp_path / "packages.lock")
    asked: list[object] = []

    def gone(*_: object) -> Path:
        raise Failure("not to be had: apt 1")

    def resolve(root: Path, tools: Path | None) -> Lock:
        asked.append(tools)
        return new

    monkeypatch.setattr(program.tree, "ensure", gone)
    monkeypatch.setattr(program.resolve, "resolve", resolve)
    program.lock(program.argparse.Namespace())
    assert asked == [None]
    assert program.lockfile.read(tmp_path / "packages.lock") == new
    assert "not to be had: apt 1" in capsys.readouterr().err


def test_a_failure_is_one_message_and_status_1(tmp_path: Path) -> None:
    command = [sys.executable, "-B", str(HERMETIC), "pool-import", str(tmp_path / "missing.tar")]
    environment = {**os.environ, "CVM_CACHE": str(tmp_path / "cache")}
    told = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert told.returncode == 1
    assert "error: " in told.stderr and "next: " in told.stderr and "Traceback" not in told.stderr
