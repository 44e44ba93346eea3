"""Runs commands in turns and prints what each took, as JSON; a child of `bench`, inside the tools tree.

Input: an object of command lines by name. Output, by name: `seconds` and `cpu` (user and system), each the
least of all rounds, and `MB`, the most memory that was resident.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

ROUNDS = 7
# cvmctl says with 1 that two images differ.
FINE = (0, 1)


def start(command: list[str]) -> int:
    silent = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_WRONLY, 0) for number in (1, 2)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=silent)


def check(status: int, command: list[str]) -> None:
    if os.waitstatus_to_exitcode(status) not in FINE:
        sys.exit(f"bench: {' '.join(command)} failed: {os.waitstatus_to_exitcode(status)}")


def times(command: list[str]) -> tuple[float, float]:
    """Wall and processor seconds of one run."""
    started = time.monotonic()
    _, status, usage = os.wait4(start(command), 0)
    elapsed = time.monotonic() - started
    check(status, command)
    return elapsed, usage.ru_utime + usage.ru_stime


def peak(command: list[str]) -> float:
    """Most resident memory in MB: the kernel's high-water mark, looked at until the process has ended.

    What `wait4` says begins with the size of the process that started this one, Python.
    """
    process, most = start(command), 0
    mark = Path(f"/proc/{process}/status")
    while found := re.search(r"^VmHWM:\s*(\d+) kB", mark.read_text(), re.M):
        most = max(most, int(found[1]))
        time.sleep(0.001)
    check(os.waitpid(process, 0)[1], command)
    return most * 1024 / 1e6


def main() -> None:
    commands: dict[str, list[str]] = json.load(sys.stdin)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    # In turns, so that other work on the machine is in the way of all alike.
    for _ in range(ROUNDS):
        for name, command in commands.items():
            taken[name].append(times(command))
    results = {
        name: {
            "seconds": min(wall for wall, _ in runs),
            "cpu": min(cpu for _, cpu in runs),
            "MB": peak(commands[name]),
        }
        for name, runs in taken.items()
    }
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
