"""What libFuzzer says is read, and fuzzing that sees nothing, or says nothing, does not pass."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/fuzz"))

import libfuzzer  # noqa: E402

# As the locked libFuzzer (of libfuzzer-sys 0.4.13) writes it.
LOADED = """\
INFO: Running with entropic power schedule (0xFF, 100).
INFO: Seed: 4283440002
INFO: Loaded 1 modules   (14126 inline 8-bit counters): 14126 [0x56066ef480d0, 0x56066ef4b7fe),
INFO: Loaded 1 PC tables (14126 PCs): 14126 [0x56066ef4b800,0x56066ef82ae0),
"""
BLIND = f"{LOADED}#2\tINITED cov: 23 ft: 23 corp: 1/1b exec/s: 0 rss: 28Mb\nDone 2 runs in 0 second(s)\n"
STATISTICS = """\
stat::number_of_executed_units: 1434556
stat::average_exec_per_sec:     130414
stat::new_units_added:          1163
stat::slowest_unit_time_sec:    2
stat::peak_rss_mb:              30
"""
PASSED = f"""\
{LOADED}INFO:        1 files found in fuzz/corpus/pe
#2\tINITED cov: 461 ft: 461 corp: 1/969b exec/s: 0 rss: 29Mb
\tNEW_FUNC[1/1]: 0x56066ed5d2f1
#5\tNEW    cov: 483 ft: 566 corp: 2/1766b lim: 969 exec/s: 0 rss: 29Mb L: 797/969 MS: 3 ChangeBit-
#27\tREDUCE cov: 501 ft: 687 corp: 6/4628b lim: 969 exec/s: 0 rss: 29Mb L: 225/969 MS: 5 InsertByte-
#1434556\tDONE   cov: 513 ft: 725 corp: 12/9982b lim: 4096 exec/s: 130414 rss: 30Mb
Done 1434556 runs in 11 second(s)
{STATISTICS}"""
CRASHED = f"""\
{LOADED}#2\tINITED cov: 461 ft: 461 corp: 1/969b exec/s: 0 rss: 29Mb

thread '<unnamed>' (1) panicked at src/lib.rs:20:47:
attempt to add with overflow
stack backtrace:
==1== ERROR: libFuzzer: deadly signal
SUMMARY: libFuzzer: deadly signal
artifact_prefix='build/fuzz/pe/'; Test unit written to build/fuzz/pe/crash-1c817679
{STATISTICS}"""
SLOW = "artifact_prefix='build/fuzz/pe/'; Test unit written to build/fuzz/pe/slow-unit-0123\n"


def faults(output: str, blind: str = BLIND, status: int = 0) -> list[str]:
    return libfuzzer.faults(libfuzzer.read(output), libfuzzer.read(blind), status)


def test_a_run_is_read() -> None:
    assert libfuzzer.read(PASSED) == libfuzzer.Run(
        counters=14126, start_edges=461, edges=513, corpus=12, executions=1434556, slowest_unit_seconds=2,
        peak_rss_mb=30, reason="", crashes=(),
    )  # fmt: skip
    assert faults(PASSED) == []


def test_a_crash_is_named_with_its_panic() -> None:
    assert faults(CRASHED, status=77) == [
        "found build/fuzz/pe/crash-1c817679: src/lib.rs:20:47: attempt to add with overflow"
    ]
    assert libfuzzer.read(CRASHED).executions == 1434556


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timeout-e785", "SUMMARY: libFuzzer: timeout"), ("oom-f278", "SUMMARY: libFuzzer: out-of-memory"),
        ("crash-c8e1", "memory allocation of 1073741824 bytes failed"),
    ],
)  # fmt: skip
def test_other_ends_are_named_with_their_reason(name: str, said: str) -> None:
    output = f"{LOADED}{said}\nartifact_prefix='b/'; Test unit written to b/{name}\n"
    assert faults(output, status=70) == [f"found b/{name}: {said}"]


def test_a_slow_unit_is_no_crash() -> None:
    assert faults(PASSED + SLOW) == []


def test_a_run_without_counters_does_not_pass() -> None:
    without = PASSED.replace(LOADED, "")
    assert any("fuzz/coverage.toml" in fault for fault in faults(without))
    assert any("fuzz/coverage.toml" in fault for fault in faults(PASSED.replace("14126", "0")))


def test_seeds_that_reach_no_more_than_an_empty_input_do_not_pass() -> None:
    assert faults(PASSED, blind=PASSED) == ["its seeds take 461 edges, and an empty input 461"]


@pytest.mark.parametrize("output", ["", LOADED, BLIND, PASSED.replace("executed_units: 1434556", "executed_units: 0")])
def test_a_run_that_shows_no_work_does_not_pass(output: str) -> None:
    assert faults(output) != []


@pytest.mark.parametrize("status", [1, 77, -1, -9])
def test_a_bad_end_without_an_input_does_not_pass(status: int) -> None:
    assert faults(PASSED, status=status) == [f"ended with exit status {status}, but names no input"]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """scripts/fuzz with an empty build/fuzz, and nothing compiled."""
    specification = importlib.util.spec_from_file_location("fuzz_main", ROOT / "scripts/fuzz/__main__.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "fuzz_main", module)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path)
    monkeypatch.setattr(module, "build", lambda: None)
    return module


def ends(program: ModuleType, monkeypatch: pytest.MonkeyPatch, output: str, status: int = 0) -> None:
    """Lets every target's run end with `output`."""
    answer = program.Result("pe", 1, 1, libfuzzer.read(output), faults(output, status=status))
    monkeypatch.setattr(program, "fuzz", lambda target, _: dataclasses.replace(answer, target=target))


def test_targets_are_those_of_the_manifest_and_each_has_seeds(program: ModuleType) -> None:
    manifest = tomllib.loads((ROOT / "fuzz/Cargo.toml").read_text())
    names = {entry["name"] for entry in manifest["bin"]}
    assert {*program.targets(), program.CANARY} == names and program.CANARY not in program.targets()
    for name in names:
        assert any((ROOT / "fuzz/corpus" / name).iterdir())


def test_a_canary_that_is_not_found_ends_everything(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(program, monkeypatch, PASSED)
    with pytest.raises(SystemExit, match="fuzzing does not work"):
        program.check_canary()
    ends(program, monkeypatch, CRASHED.replace("add with overflow", "do something else"), 77)
    with pytest.raises(SystemExit, match="fuzzing does not work"):
        program.check_canary()


@pytest.mark.parametrize(("output", "status", "ended"), [(PASSED, 0, 0), (CRASHED, 77, 1), (LOADED, 0, 1)])
def test_the_report_is_written_also_when_a_target_failed(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, status: int, ended: int
) -> None:
    ends(program, monkeypatch, output, status)
    monkeypatch.setattr(program, "check_canary", lambda: "found")
    monkeypatch.setattr(sys, "argv", ["fuzz", "pe"])
    assert program.main() == ended
    entry, = program.json.loads((tmp_path / "report.json").read_text())["targets"]
    assert entry["target"] == "pe" and bool(entry["faults"]) == bool(ended)
    assert entry.keys() > {"executions", "edges", "corpus", "seconds", "crashes", "slowest_unit_seconds", "peak_rss_mb"}


def test_a_failure_says_how_to_reproduce_it(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(program, monkeypatch, CRASHED, 77)
    program.fuzz_all(["pe"], 1)
    assert "make fuzz TARGET=pe INPUT=build/fuzz/pe/crash-1c817679" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["nothing"], ["pe", "/nowhere"], ["--minimise", "pe"]])
def test_what_cannot_be_meant_is_refused(
    program: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", *arguments])
    with pytest.raises(SystemExit) as refused:
        program.main()
    assert refused.value.code == 2
