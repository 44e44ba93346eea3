"""Long steps: what runs, how long it took, and on failure the command, the log's tail and place.

I/O: runs commands, writes their logs, prints to standard error.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from errors import Failure

TAIL = 40


class Step:
    """`with Step("unpack tools") as step:` prints the name, progress, and the time at the end."""

    def __init__(self, name: str) -> None:
        self.name, self.started, self.shown = name, time.monotonic(), 0.0
        self.tty = sys.stderr.isatty()

    def __enter__(self) -> Step:
        print(f"==> {self.name}", file=sys.stderr, flush=True)
        return self

    def update(self, text: str) -> None:
        """Shows progress: rewritten in place on a terminal, every ten seconds elsewhere."""
        now = time.monotonic()
        if now - self.shown < (0.2 if self.tty else 10):
            return
        self.shown = now
        elapsed = now - self.started
        end = "\r" if self.tty else "\n"
        print(f"    {elapsed:5.0f} s  {text[:100]:<100}".rstrip() if not self.tty else
              f"\x1b[2K    {elapsed:5.0f} s  {text[:100]}", end=end, file=sys.stderr, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        outcome = "done" if kind is None else "FAILED"
        clear = "\x1b[2K" if self.tty else ""
        print(f"{clear}    {outcome}: {self.name} ({time.monotonic() - self.started:.1f} s)", file=sys.stderr, flush=True)


def run_logged(
    step: Step, command: Sequence[str], log: Path, advice: str = "", show: Callable[[str], str] = str.strip
) -> None:
    """Runs `command` with all its output in `log`; the current line is the progress shown.

    Raises Failure with command, tail and log place if it does not exit 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: list[str] = []
    with log.open("w", encoding="utf-8") as sink:
        sink.write(f"$ {shlex.join(command)}\n")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace",
        )
        assert process.stdout is not None
        for line in process.stdout:
            sink.write(line)
            sink.flush()
            tail = [*tail[-(TAIL - 1):], line.rstrip()]
            if text := show(line):
                step.update(text)
        status = process.wait()
    if status:
        shown = "\n".join(f"    | {line}" for line in tail)
        raise Failure(f"{step.name}: exit status {status}\n    $ {shlex.join(command)}\n{shown}", advice, log)
