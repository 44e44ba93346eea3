"""Where packages may come from: MIRROR=, the mirror the host's apt is set to, the snapshot archive.

No source is trusted: every file is checked against the lock. So a source is only a convenience, and
none is written into this repository; the host knows its own.

I/O: reads the host's apt configuration and, on a host without Debian sources, debootstrap's default.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from pathlib import Path

from errors import Failure

SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d")
DEBOOTSTRAP = ("/usr/sbin/debootstrap", "/usr/share/debootstrap/scripts/sid")


def configured() -> tuple[str, str]:
    """The Debian mirror and its security sibling, without trailing slash.

    Raises Failure where neither MIRROR= nor the host names one.
    """
    main = os.environ.get("MIRROR", "").rstrip("/") or _of_apt(r"debian") or _of_debootstrap()
    if not main:
        raise Failure(
            "no Debian mirror is known on this host",
            "say which: MIRROR=http://…/debian make …, or install debootstrap, whose default is then used",
        )
    security = os.environ.get("SECURITY_MIRROR", "").rstrip("/")
    if not security and not os.environ.get("MIRROR"):
        security = _of_apt(r"debian-security")
    return main, security or f"{main.removesuffix('/debian')}/debian-security"


def snapshot() -> str | None:
    """The dated snapshot archive's base URL: SNAPSHOT=, or what the host's apt (2.7 or newer) knows."""
    if given := os.environ.get("SNAPSHOT", "").rstrip("/"):
        return given
    if not shutil.which("apt-config"):
        return None
    dump = subprocess.run(["apt-config", "dump", "Acquire::Snapshots"], stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r'Origin::Debian "(https?://[^"]+)/debian/@SNAPSHOTID@/"', dump)
    return found[1] if found else None


def candidates(archive: str, path: str, resolved: str) -> list[str]:
    """URLs to try, in order, for a file of `archive` (debian or debian-security)."""
    try:
        main, security = configured()
        # A security update moves into the main archive at the next point release.
        # There it lies without "updates/".
        moved = f"{main}/{path.replace('pool/updates/', 'pool/', 1)}"
        urls = [f"{security}/{path}", moved] if archive == "debian-security" else [f"{main}/{path}"]
    except Failure:
        urls = []
    if base := snapshot():
        # A snapshot shows the archive as of its time; what reached the mirror just before the lock was
        # made may be in the next one only.
        urls += [f"{base}/{archive}/{when}/{path}" for when in (resolved, _a_day_later(resolved))]
    return urls


def _a_day_later(resolved: str) -> str:
    form = "%Y%m%dT%H%M%SZ"
    return (datetime.datetime.strptime(resolved, form) + datetime.timedelta(days=1)).strftime(form)


def _of_apt(directory: str) -> str:
    """The first http mirror in the host's apt sources whose URL ends in `directory`."""
    files = []
    for source in map(Path, SOURCES):
        files += sorted(source.iterdir()) if source.is_dir() else [source]
    for file in files:
        # The names that apt reads, too: not what somebody has put aside.
        if file.suffix not in (".list", ".sources") or not file.is_file() or not os.access(file, os.R_OK):
            continue
        for line in file.read_text(errors="replace").splitlines():
            if line.lstrip().startswith("#"):
                continue
            # Other vendors' archives for Debian end in /debian as well, but rarely have a "main".
            if line.startswith("deb") and "main" not in line.split():
                continue
            if found := re.search(rf"\bhttps?://[^\s\]]+/{directory}(?=/?(\s|$))", line):
                return found[0]
    return ""


def _of_debootstrap() -> str:
    """Debian's default mirror as debootstrap has it; Ubuntu's apt names no Debian mirror."""
    for file in map(Path, DEBOOTSTRAP):
        if file.exists():
            for found in re.finditer(r"\bhttps?://[^\s\"']+/debian(?=/?([\s\"']|$))", file.read_text(errors="replace")):
                return found[0]
    return ""
