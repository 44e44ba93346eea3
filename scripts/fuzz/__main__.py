"""`python3 scripts/fuzz [TARGET [INPUT]]`: runs the fuzz targets of fuzz/Cargo.toml, or one of them on one input.

The targets are compiled by the locked cargo and run inside the tools tree, without network, as many at a time
as there are processors. That fuzzing works is shown, not assumed: `canary` overflows at one input in 2^48, which must
be found first, and every target's seeds must reach more code than an empty input does.

I/O: writes target/fuzz (programs) and build/fuzz (corpora, crashes, logs, report.json).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import libfuzzer  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HERMETIC = [sys.executable, str(ROOT / "scripts/hermetic")]
PROGRAMS = "target/fuzz/x86_64-unknown-linux-gnu/release"
OUT = ROOT / "build/fuzz"

CANARY = "canary"
CANARY_SECONDS = 60
MAX_LEN = 64 << 10
# No parser may take more memory for such an input. The bound is the address space, so that the allocation that
# is too much fails in the input that asks for it: libFuzzer's own limits need a sanitizer's allocator, or
# look at what is resident only once a second, and blame whatever runs then.
ADDRESS_SPACE = 384 << 20
LIMITS = ["-rss_limit_mb=0", "-timeout=10"]
# Beyond -max_total_time, which libFuzzer looks at between two inputs.
GRACE_SECONDS = 120


@dataclasses.dataclass(frozen=True)
class Result:
    """One target's run, and why it did not pass."""

    target: str
    seconds: int
    seeds: int
    run: libfuzzer.Run
    faults: list[str]


def targets() -> list[str]:
    """The names of all targets but the canary."""
    manifest = tomllib.loads((ROOT / "fuzz/Cargo.toml").read_text())
    return [program["name"] for program in manifest["bin"] if program["name"] != CANARY]


def build() -> None:
    arguments = ["--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--config", "fuzz/coverage.toml"]
    command = [*HERMETIC, "cargo", "--", "build", *arguments, "--target-dir", "target/fuzz"]
    if subprocess.run(command, cwd=ROOT).returncode:
        raise SystemExit(
            "error: the fuzz targets do not compile; cargo's words are above"
            "\n  next: if fuzz/Cargo.lock needs an update, `make lock-fuzz`"
        )


def program(target: str, arguments: Sequence[str], bind: Sequence[Path] = ()) -> list[str]:
    """The command that runs a target under the limits, inside the tools tree."""
    binds = [word for folder in bind for word in ("--bind", str(folder))]
    limited = ["prlimit", f"--as={ADDRESS_SPACE}", f"{PROGRAMS}/{target}", *LIMITS, *arguments]
    return [*HERMETIC, "enter", "--env", "RUST_BACKTRACE=1", *binds, "--", *limited]


def fuzz(target: str, seconds: int) -> Result:
    """Fuzzes one target; new inputs of interest stay in build/fuzz/TARGET/corpus for the next run."""
    place, seeds = OUT / target, ROOT / "fuzz/corpus" / target
    (place / "corpus").mkdir(parents=True, exist_ok=True)
    blind, _ = _run(program(target, ["-runs=0"]), place / "blind.log", seconds)
    here = place.relative_to(ROOT)
    arguments = [f"-max_total_time={seconds}", f"-max_len={MAX_LEN}", "-print_final_stats=1"]
    arguments.append(f"-artifact_prefix={here}/")
    folders = [f"{here}/corpus", str(seeds.relative_to(ROOT))]
    run, status = _run(program(target, [*arguments, *folders]), place / "log", seconds)
    count = sum(1 for _ in seeds.iterdir()) if seeds.is_dir() else 0
    return Result(target, seconds, count, run, libfuzzer.faults(run, blind, status))


def _run(command: Sequence[str], log: Path, seconds: int) -> tuple[libfuzzer.Run, int]:
    with log.open("w") as output:
        try:
            limit = seconds + GRACE_SECONDS
            status = subprocess.run(command, stdout=output, stderr=output, cwd=ROOT, timeout=limit).returncode
        except subprocess.TimeoutExpired:
            status = -1
    return libfuzzer.read(log.read_text(errors="replace")), status


def check_canary() -> str:
    """Lets the planted overflow be found, from its seed alone; returns what was seen."""
    shutil.rmtree(OUT / CANARY, ignore_errors=True)
    found = fuzz(CANARY, CANARY_SECONDS).run
    if not found.crashes or "add with overflow" not in found.reason:
        raise SystemExit(
            f"error: fuzzing does not work: the planted overflow was not found in {found.executions} executions,"
            f" with {found.counters} counters\n  log:  {OUT / CANARY / 'log'}"
        )
    return f"the planted overflow was found after {found.executions} executions"


def fuzz_all(chosen: Sequence[str], seconds: int) -> list[Result]:
    results = []
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        jobs = [pool.submit(fuzz, target, seconds) for target in chosen]
        for job in concurrent.futures.as_completed(jobs):
            result = job.result()
            results.append(result)
            run = result.run
            print(
                f"{'FAILED' if result.faults else 'ok':6} {result.target:16} {run.executions:>10} executions,"
                f" {run.edges:>5} edges (from {run.start_edges}), corpus {run.corpus}, {run.peak_rss_mb} MB",
                flush=True,
            )
            for fault in result.faults:
                print(f"       {result.target} {fault}\n       log: {OUT / result.target / 'log'}", flush=True)
            for path in run.crashes:
                print(f"       reproduce: make fuzz TARGET={result.target} INPUT={path}", flush=True)
    return sorted(results, key=lambda result: result.target)


def report(results: Sequence[Result]) -> None:
    entries = [{**dataclasses.asdict(r), **dataclasses.asdict(r.run)} for r in results]
    for entry in entries:
        del entry["run"]
    staged = OUT / "report.json.new"
    staged.write_text(json.dumps({"targets": entries}, indent=1) + "\n")
    staged.replace(OUT / "report.json")


def replay(target: str, file: Path, seconds: int, minimise: bool) -> int:
    """Runs one target on one input, its output shown; `minimise` writes a smaller input that crashes too."""
    smaller = ["-minimize_crash=1", f"-max_total_time={seconds}", f"-exact_artifact_path={file}.min"]
    command = program(target, [*(smaller if minimise else []), str(file)], bind=[file.parent])
    return subprocess.run(command, cwd=ROOT).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each target; default: 30")
    parser.add_argument("--minimise", action="store_true", help="write INPUT.min, which crashes as INPUT does")
    parser.add_argument("target", nargs="?", choices=[*targets(), CANARY], metavar="TARGET")
    parser.add_argument("input", nargs="?", type=Path, metavar="INPUT")
    arguments = parser.parse_args()
    if arguments.seconds < 1:
        parser.error("--seconds must be at least 1: libFuzzer takes 0 for no limit")
    if arguments.minimise and not arguments.input:
        parser.error("--minimise needs a TARGET and its INPUT")
    if arguments.input and not arguments.input.is_file():
        parser.error(f"{arguments.input} is no file")
    build()
    if arguments.input:
        return replay(arguments.target, arguments.input.resolve(), arguments.seconds, arguments.minimise)
    print(check_canary(), flush=True)
    if arguments.target == CANARY:
        return 0
    results = fuzz_all([arguments.target] if arguments.target else targets(), arguments.seconds)
    report(results)
    failed = sum(1 for result in results if result.faults)
    print(f"{len(results) - failed} passed, {failed} failed: {OUT / 'report.json'}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
