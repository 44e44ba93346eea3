"""Where packages may come from, on hosts of several kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mirrors
from errors import Failure

RESOLVED = "20260101T000000Z"


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The apt directory of a made-up host that has neither sources nor debootstrap."""
    folder = tmp_path / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    monkeypatch.setattr(mirrors, "SOURCES", (str(folder / "sources.list"), str(folder / "sources.list.d")))
    monkeypatch.setattr(mirrors, "DEBOOTSTRAP", (str(tmp_path / "debootstrap"), str(tmp_path / "sid")))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def test_mirror_of_the_environment_comes_first(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (apt / "sources.list").write_text("deb http://host.example/debian trixie main\n")
    monkeypatch.setenv("MIRROR", "http://given.example/debian/")
    assert mirrors.configured() == ("http://given.example/debian", "http://given.example/debian-security")


def test_a_given_mirror_has_a_given_security_mirror(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR", "http://given.example/a")
    monkeypatch.setenv("SECURITY_MIRROR", "http://given.example/b/")
    assert mirrors.configured() == ("http://given.example/a", "http://given.example/b")


def test_a_given_mirror_does_not_mix_with_the_hosts_security(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (apt / "sources.list").write_text("deb http://host.example/debian-security trixie-security main\n")
    monkeypatch.setenv("MIRROR", "http://given.example/debian")
    assert mirrors.configured()[1] == "http://given.example/debian-security"


def test_deb822_sources_are_understood(apt: Path) -> None:
    (apt / "sources.list.d/debian.sources").write_text(
        "Types: deb\n# URIs: http://old.example/debian\nURIs: http://one.example/debian\nSuites: trixie\n\n"
        "Types: deb\nURIs: http://two.example/debian-security/\nSuites: trixie-security\n"
    )
    assert mirrors.configured() == ("http://one.example/debian", "http://two.example/debian-security")


def test_one_line_sources_with_options_are_understood(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "# deb http://commented.example/debian trixie main\n  # deb http://indented.example/debian trixie main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg] https://one.example/x/debian/ trixie main contrib\n"
        "deb [ trusted=no ] http://two.example/debian-security trixie-security main\n"
    )
    assert mirrors.configured() == ("https://one.example/x/debian", "http://two.example/debian-security")


def test_security_of_a_host_that_names_none_lies_beside_its_mirror(apt: Path) -> None:
    (apt / "sources.list").write_text("deb http://one.example/debian trixie main\n")
    assert mirrors.configured() == ("http://one.example/debian", "http://one.example/debian-security")


def test_files_that_apt_does_not_read_are_not_read(apt: Path) -> None:
    (apt / "sources.list.d/a.list.disabled").write_text("deb http://aside.example/debian trixie main\n")
    (apt / "sources.list.d/a.sources.d").mkdir()
    (apt / "sources.list.d/b.list").symlink_to("nowhere")
    (apt / "sources.list.d/c.list").write_text("deb http://one.example/debian trixie main\n")
    assert mirrors.configured()[0] == "http://one.example/debian"


def test_another_vendors_archive_for_debian_is_no_mirror(apt: Path) -> None:
    (apt / "sources.list.d/a.list").write_text("deb https://vendor.example/linux/debian trixie stable\n")
    (apt / "sources.list.d/b.list").write_text("deb http://one.example/debian trixie main\n")
    assert mirrors.configured()[0] == "http://one.example/debian"


def test_a_host_of_another_distribution_takes_debootstraps_default(apt: Path, tmp_path: Path) -> None:
    (apt / "sources.list").write_text("deb http://other.example/ubuntu noble main\n")
    (tmp_path / "debootstrap").write_text(
        'PORTS="http://ports.example/debian-ports"\nDEF_MIRROR="http://other.example/ubuntu"\n'
        'DEF_HTTPS_MIRROR="https://one.example/debian"\n'
    )
    assert mirrors.configured() == ("https://one.example/debian", "https://one.example/debian-security")


def test_a_host_that_knows_no_mirror_is_told_how_to_name_one(apt: Path) -> None:
    with pytest.raises(Failure, match="no Debian mirror is known") as failure:
        mirrors.configured()
    assert "MIRROR=" in failure.value.advice
    assert mirrors.candidates("debian", "pool/main/h.deb", RESOLVED) == []


def test_the_snapshot_archive_is_what_the_environment_says(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mirrors.snapshot() is None
    monkeypatch.setenv("SNAPSHOT", "http://dated.example/archive/")
    assert mirrors.snapshot() == "http://dated.example/archive"


def apt_config(folder: Path, output: str) -> None:
    folder.mkdir()
    program = folder / "apt-config"
    program.write_text(f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{output}\nEND\n")
    program.chmod(0o755)


def test_the_snapshot_archive_is_else_what_the_hosts_apt_knows(apt: Path, tmp_path: Path) -> None:
    key = "Acquire::Snapshots::URI::Origin::Debian"
    apt_config(tmp_path / "bin", f'{key} "https://dated.example/archive/debian/@SNAPSHOTID@/";')
    assert mirrors.snapshot() == "https://dated.example/archive"


def test_an_apt_that_knows_no_snapshot_archive_names_none(apt: Path, tmp_path: Path) -> None:
    apt_config(tmp_path / "bin", 'Acquire "";')
    assert mirrors.snapshot() is None


def test_candidates_are_the_mirror_then_the_snapshot(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIRROR", "http://m.example/debian")
    monkeypatch.setenv("SNAPSHOT", "http://s.example/archive")
    assert mirrors.candidates("debian", "pool/main/h.deb", RESOLVED) == [
        "http://m.example/debian/pool/main/h.deb",
        f"http://s.example/archive/debian/{RESOLVED}/pool/main/h.deb",
        "http://s.example/archive/debian/20260102T000000Z/pool/main/h.deb",
    ]


def test_a_security_update_is_also_looked_for_where_a_point_release_puts_it(
    apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR", "http://m.example/debian")
    monkeypatch.setenv("SNAPSHOT", "http://s.example/archive")
    assert mirrors.candidates("debian-security", "pool/updates/main/h/h.deb", RESOLVED) == [
        "http://m.example/debian-security/pool/updates/main/h/h.deb",
        "http://m.example/debian/pool/main/h/h.deb",
        f"http://s.example/archive/debian-security/{RESOLVED}/pool/updates/main/h/h.deb",
        "http://s.example/archive/debian-security/20260102T000000Z/pool/updates/main/h/h.deb",
    ]


def test_the_snapshot_alone_is_enough(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPSHOT", "http://s.example/archive")
    assert mirrors.candidates("debian", "pool/h.deb", RESOLVED) == [
        f"http://s.example/archive/debian/{RESOLVED}/pool/h.deb",
        "http://s.example/archive/debian/20260102T000000Z/pool/h.deb",
    ]
    assert not set(os.environ) & {"MIRROR", "SECURITY_MIRROR"}
