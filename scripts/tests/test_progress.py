"""Long steps: the output is in the log, and a failure carries what a user needs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import progress
from errors import Failure


def run(log: Path, script: str, **named: str) -> None:
    with progress.Step("a step") as step:
        progress.run_logged(step, [sys.executable, "-c", script], log, **named)


def test_all_output_is_in_the_log_after_the_command(tmp_path: Path) -> None:
    log = tmp_path / "logs/a.log"
    run(log, "import sys; print('out', flush=True); print('err', file=sys.stderr)")
    lines = log.read_text().splitlines()
    assert lines[0].startswith(f"$ {sys.executable} -c ")
    assert lines[1:] == ["out", "err"]


def test_a_failure_carries_command_tail_log_and_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    with pytest.raises(Failure) as failure:
        run(log, "for n in range(100): print('line', n)\nraise SystemExit(3)", advice="do this")
    said = str(failure.value)
    assert "a step: exit status 3" in said
    assert f"$ {sys.executable} -c " in said
    assert "| line 99" in said and f"| line {100 - progress.TAIL}\n" in said
    assert f"| line {99 - progress.TAIL}\n" not in said
    assert "next: do this" in said
    assert f"log:  {log}" in said
    assert "line 0\n" in log.read_text()
    assert "FAILED: a step" in capsys.readouterr().err


def test_output_that_is_not_utf8_is_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    run(tmp_path / "a.log", r"import sys; sys.stdout.buffer.write(b'\xe2\x80\xa3 a \xff b\n')")
    assert (tmp_path / "a.log").read_text("utf-8").splitlines()[1] == "\u2023 a \ufffd b"


def test_nothing_is_read_from_the_terminal(tmp_path: Path) -> None:
    run(tmp_path / "a.log", "import sys; print(repr(sys.stdin.read()))")
    assert (tmp_path / "a.log").read_text().splitlines()[1] == "''"


def test_a_step_says_that_it_began_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Step("a step"):
        pass
    began, ended = capsys.readouterr().err.splitlines()
    assert began == "==> a step"
    assert ended.strip().startswith("done: a step (")
