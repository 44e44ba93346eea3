"""What a run of libFuzzer says: counters, coverage, corpus, statistics, and the inputs that it kept.

The lines are those of LLVM's compiler-rt, lib/fuzzer: FuzzerTracePC.cpp (PrintModuleInfo), FuzzerLoop.cpp
(PrintStats, PrintFinalStats), FuzzerDriver.cpp.

I/O: none.
"""

from __future__ import annotations

import dataclasses
import re

# The names libFuzzer gives to inputs that it stopped at; "slow-unit-" is only a remark.
FOUND = ("crash-", "leak-", "oom-", "timeout-")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run; `start_edges` is what the inputs take that it was given. What its output did not say is 0 or
    empty, which `faults` does not let pass."""

    counters: int
    start_edges: int
    edges: int
    corpus: int
    executions: int
    slowest_unit_seconds: int
    peak_rss_mb: int
    reason: str
    crashes: tuple[str, ...]


def read(output: str) -> Run:
    """Reads the whole output of one run; `crashes` are paths as libFuzzer was told to write them."""
    artifacts = re.findall(r"Test unit written to (\S+)", output)
    panic = re.search(r"^thread .* panicked at (.*)\n(.*)$", output, re.M)
    other = re.search(r"^(memory allocation of .*|SUMMARY: libFuzzer: .*)$", output, re.M)
    return Run(
        counters=sum(map(int, re.findall(r"^INFO: Loaded \d+ modules +\((\d+) inline 8-bit counters\)", output, re.M))),
        start_edges=_last(r"^#\d+\s+INITED cov: (\d+) ", output),
        edges=_last(r"^#\d+\s+\w+\s+cov: (\d+) ", output),
        corpus=_last(r"^#\d+\s+\w+\s+cov: .* corp: (\d+)/", output),
        executions=_last(r"^stat::number_of_executed_units: +(\d+)$", output),
        slowest_unit_seconds=_last(r"^stat::slowest_unit_time_sec: +(\d+)$", output),
        peak_rss_mb=_last(r"^stat::peak_rss_mb: +(\d+)$", output),
        reason=f"{panic[1]} {panic[2]}" if panic else other[1] if other else "",
        crashes=tuple(path for path in artifacts if path.rpartition("/")[2].startswith(FOUND)),
    )


def faults(run: Run, blind: Run, status: int) -> list[str]:
    """Why a run that ended with exit status `status` does not count as passed; empty if it does.

    `blind` is a run of the same program over the empty input alone. Fuzzing without coverage would look like
    fuzzing, and find nothing: seeds that reach no more than an empty input does are an error.
    """
    if run.crashes:
        return [f"found {path}: {run.reason}" for path in run.crashes]
    found = []
    if status != 0:
        found.append(f"ended with exit status {status}, but names no input")
    if run.counters == 0:
        found.append("has no coverage counters: it was built without fuzz/coverage.toml")
    if run.start_edges <= blind.start_edges:
        found.append(f"its seeds take {run.start_edges} edges, and an empty input {blind.start_edges}")
    if run.edges < run.start_edges or run.executions == 0:
        found.append(f"took {run.edges} edges in {run.executions} executions, and before {run.start_edges}")
    return found


def _last(pattern: str, output: str) -> int:
    found = re.findall(pattern, output, re.M)
    return int(found[-1]) if found else 0
