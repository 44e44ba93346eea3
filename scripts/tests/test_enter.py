"""The way into the tools tree: no network unless asked for, and refused where ownership would be lost."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import enter
from errors import Failure

WHOLE = "0 0 4294967295\n"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    """A made-up host: `uid`, `uid_map` as this process sees it, what `unshare` answers, AppArmor's switch."""
    facts: dict[str, object] = {
        "uid": 1000, "uid_map": WHOLE, "unshare": (0, "0 1000 1\n1 100000 65536\n", ""), "apparmor": None,
        "missing": (),
    }  # fmt: skip
    read_text, exists = Path.read_text, Path.exists
    apparmor = "apparmor_restrict_unprivileged_userns"

    def fake_read(path: Path, *arguments: str) -> str:
        if str(path) == "/proc/self/uid_map":
            return str(facts["uid_map"])
        return str(facts["apparmor"]) if path.name == apparmor else read_text(path, *arguments)

    def fake_exists(path: Path) -> bool:
        return facts["apparmor"] is not None if path.name == apparmor else exists(path)

    def fake_run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        status, out, err = facts["unshare"]  # type: ignore[misc]
        return subprocess.CompletedProcess(command, status, out, err)

    monkeypatch.setattr(enter.os, "getuid", lambda: facts["uid"])
    monkeypatch.setattr(Path, "read_text", fake_read)
    monkeypatch.setattr(Path, "exists", fake_exists)
    monkeypatch.setattr(enter.subprocess, "run", fake_run)
    monkeypatch.setattr(enter.shutil, "which", lambda name: None if name in facts["missing"] else f"/usr/bin/{name}")
    return facts


@pytest.mark.parametrize("uid", [0, 1000])
def test_there_is_no_network_unless_asked_for(host: dict[str, object], tmp_path: Path, uid: int) -> None:
    host["uid"] = uid
    without = enter.command(tmp_path, ["true"])
    with_it = enter.command(tmp_path, ["true"], network=True)
    assert "--net" in without[: without.index("--")]
    assert "--net" not in with_it
    script = without.index(str(enter.SETUP))
    assert (without[script + 3], with_it[with_it.index(str(enter.SETUP)) + 3]) == ("no", "yes")


def test_the_tree_is_read_only_unless_it_is_being_made(host: dict[str, object], tmp_path: Path) -> None:
    for writable, access in ((False, "ro"), (True, "rw")):
        command = enter.command(tmp_path, ["true"], writable=writable)
        assert command[command.index(str(enter.SETUP)) + 2] == access


def test_an_ordinary_user_gets_a_whole_range_of_ids(host: dict[str, object], tmp_path: Path) -> None:
    command = enter.command(tmp_path, ["true"])
    assert {"--user", "--map-root-user", "--map-auto"} <= set(command[: command.index("--")])


def test_root_needs_no_user_namespace(host: dict[str, object], tmp_path: Path) -> None:
    host["uid"] = 0
    assert "--user" not in enter.command(tmp_path, ["true"])


def test_binds_and_environment_are_handed_over_in_order(host: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    command = enter.command(
        tmp_path, ["sh", "-c", "a b"], binds=[tmp_path / "link", (tmp_path, "/checkout")],
        environment={"TZ": "Asia/Tokyo", "KEY": "a b"}, workdir="/work",
    )  # fmt: skip
    own = command[command.index(str(enter.SETUP)) :]
    pairs = [str(tmp_path / "link"), str(tmp_path), str(tmp_path), "/checkout"]
    variables = {**enter.ENVIRONMENT, "TZ": "Asia/Tokyo", "KEY": "a b"}
    assert own == [
        str(enter.SETUP), str(tmp_path), "ro", "no", "/work", *pairs, "--",
        *(f"{key}={value}" for key, value in variables.items()), "sh", "-c", "a b",
    ]  # fmt: skip


@pytest.mark.parametrize("uid_map", ["0 1000 1\n", "0 1000 1\n1 100000 65534\n", "0 100000 1000\n"])
def test_root_of_a_partial_namespace_is_refused(host: dict[str, object], tmp_path: Path, uid_map: str) -> None:
    host.update(uid=0, uid_map=uid_map)
    with pytest.raises(Failure, match="silently gives another image") as failure:
        enter.command(tmp_path, ["true"])
    assert "ordinary user outside" in failure.value.advice


@pytest.mark.parametrize("uid_map", ["0 100000 65536\n", "0 1000 1\n1 100000 65535\n", WHOLE])
def test_root_of_a_whole_namespace_is_accepted(host: dict[str, object], tmp_path: Path, uid_map: str) -> None:
    host.update(uid=0, uid_map=uid_map)
    assert enter.command(tmp_path, ["true"])[-1] == "true"


@pytest.mark.parametrize(("missing", "package"), [("newuidmap", "uidmap"), ("unshare", "util-linux")])
def test_a_missing_program_is_named_with_its_package(
    host: dict[str, object], tmp_path: Path, missing: str, package: str
) -> None:
    host["missing"] = (missing,)
    with pytest.raises(Failure, match=f"{missing} is not installed") as failure:
        enter.command(tmp_path, ["true"])
    assert package in failure.value.advice


@pytest.mark.parametrize(
    ("answer", "apparmor", "reason", "advice"),
    [
        ((0, "0 1000 1\n", ""), None, "only 1 ids are mapped", "usermod --add-subuids"),
        ((0, "0 1000 1\n1 100000 1000\n", ""), "0", "only 1001 ids are mapped", "usermod --add-subuids"),
        ((1, "", "unshare: no subuid range"), None, "no subuid range", "usermod --add-subuids"),
        ((1, "", "unshare: unrecognized option '--map-auto'"), None, "unrecognized option", "util-linux 2.38"),
        ((1, "", "unshare: write failed /proc/self/uid_map"), "1", "write failed", "AppArmor"),
        ((1, "", ""), None, "only 0 ids are mapped", "usermod --add-subuids"),
    ],
)
def test_a_user_without_a_whole_range_of_ids_is_refused_with_the_reason(
    host: dict[str, object], tmp_path: Path, answer: object, apparmor: object, reason: str, advice: str
) -> None:
    host.update(unshare=answer, apparmor=apparmor)
    with pytest.raises(Failure, match=reason) as failure:
        enter.command(tmp_path, ["true"])
    assert "would give another image" in str(failure.value)
    assert advice in failure.value.advice
