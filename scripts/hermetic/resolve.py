"""`make lock`: asks apt which packages, in which versions, the sets of the lock need today.

Runs apt in a root of its own: nothing of the host's package state counts. The archive's signature
(InRelease, Debian's keyring) is checked here, once; from then on the digests in the lock count.

I/O: runs apt-get (from the tools tree once there is one), asks the mirror, writes packages.lock.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import lockfile
import mirrors
from errors import Failure

RELEASE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# trixie's own rustc is older than what our dependencies need; these, and nothing else, are taken
# from backports (patterns as apt_preferences(5) understands them).
FROM_BACKPORTS = "rustc cargo rust-clippy rustfmt libstd-rust-*"
# What a system of each set starts from, as mkosi and our unpacker do: apt's own notion of essential.
ESSENTIAL = ["?essential", "base-files"]


def resolve(root: Path, tools: Path | None) -> lockfile.Lock:
    """Resolves every set and returns the lock.

    `tools` is a tools tree to take apt from; without one (the very first lock) the host's apt is
    used. Raises Failure with apt's own words.
    """
    main, security = mirrors.configured()
    with tempfile.TemporaryDirectory(prefix="cvm-lock-") as scratch:
        apt = _Apt(Path(scratch), tools, main, security)
        # Otherwise an index that cannot be had is a mere warning: a lock without security updates.
        apt.run("update", "-q", "--error-on=any")
        index = apt.index()
        chosen: dict[str, lockfile.Package] = {}
        for name, wanted in lockfile.requested(root).items():
            for digest in apt.plan([*ESSENTIAL, *wanted]):
                if digest not in index:
                    raise Failure(f"apt chose a package that no index lists: sha256 {digest}")
                sets = chosen[digest].sets if digest in chosen else ()
                chosen[digest] = lockfile.Package(**index[digest], sets=(*sets, name))
        resolved = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return lockfile.Lock(resolved, apt.releases(), tuple(chosen.values()))


def explain(old: lockfile.Lock | None, new: lockfile.Lock) -> str:
    """What moved between two locks, one package a line."""
    before = {(p.name, p.arch): p for p in old.packages} if old else {}
    after = {(p.name, p.arch): p for p in new.packages}
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        if was and now and was.sha256 == now.sha256:
            continue
        lines.append(f"  {key[0]}: {was.version if was else '-'} -> {now.version if now else '-'}")
    size = sum(p.size for p in new.packages) / 1e6
    return "\n".join([*lines, f"{len(new.packages)} packages, {size:.0f} MB, {len(lines)} changed"])


class _Apt:
    def __init__(self, scratch: Path, tools: Path | None, main: str, security: str) -> None:
        self.scratch, self.tools = scratch, tools
        for folder in ("etc/apt/preferences.d", "lists/partial", "cache/archives/partial", "dpkg"):
            (scratch / folder).mkdir(parents=True)
        (scratch / "dpkg/status").touch()
        sources = [(main, RELEASE), (main, f"{RELEASE}-updates"), (security, f"{RELEASE}-security")]
        sources.append((main, f"{RELEASE}-backports"))
        lines = [f"deb [signed-by={KEYRING}] {url} {suite} main\n" for url, suite in sources]
        (scratch / "etc/apt/sources.list").write_text("".join(lines))
        (scratch / "etc/apt/preferences.d/backports").write_text(
            f"Package: *\nPin: release n={RELEASE}-backports\nPin-Priority: -1\n\n"
            f"Package: {FROM_BACKPORTS}\nPin: release n={RELEASE}-backports\nPin-Priority: 990\n"
        )
        (scratch / "apt.conf").write_text(
            f'Dir::Etc "{scratch}/etc/apt";\nDir::Etc::main "/dev/null";\nDir::Etc::parts "/dev/null";\n'
            f'Dir::State "{scratch}";\nDir::State::lists "{scratch}/lists";\n'
            f'Dir::State::status "{scratch}/dpkg/status";\nDir::Cache "{scratch}/cache";\n'
            'APT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\n'
            'APT::Install-Recommends "false";\nAPT::Install-Suggests "false";\n'
            'APT::Sandbox::User "root";\nAcquire::Languages "none";\nAcquire::Retries "3";\n'
            'Acquire::ForceHash "SHA256";\n'
        )

    def run(self, *arguments: str) -> str:
        command = ["apt-get", *arguments]
        environment = {"APT_CONFIG": f"{self.scratch}/apt.conf", "LC_ALL": "C"}
        if self.tools:
            import enter

            command = enter.command(self.tools, command, binds=[self.scratch], network=True, environment=environment)
        if not shutil.which(command[0]):
            raise Failure(f"{command[0]} is not installed", "`make lock` without a tools tree needs a host with apt")
        done = subprocess.run(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise Failure(
                f"apt-get {arguments[0]} failed:\n{done.stderr.strip()}",
                "check the mirror (MIRROR=URL sets another one) and the package names in mkosi.conf",
            )
        return done.stdout

    def index(self) -> dict[str, dict[str, Any]]:
        """All packages of all suites by SHA-256."""
        found = {}
        for listing in sorted((self.scratch / "lists").glob("*_Packages")):
            suite = _suite(listing)
            for stanza in listing.read_text().split("\n\n"):
                field = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.M))
                if field:
                    found[field["SHA256"]] = {
                        "name": field["Package"],
                        "version": field["Version"],
                        "arch": field["Architecture"],
                        "sha256": field["SHA256"],
                        "size": int(field["Size"]),
                        "path": field["Filename"],
                        "suite": suite,
                    }
        return found

    def plan(self, wanted: list[str]) -> list[str]:
        """The SHA-256 of every package that installing `wanted` on an empty system would fetch."""
        listed = self.run("install", "-y", "-q", "--print-uris", *wanted)
        digests = re.findall(r"^'[^']+' \S+ \d+ SHA256:([0-9a-f]{64})$", listed, re.M)
        if not digests:
            raise Failure(f"apt listed no package with a SHA-256 for: {' '.join(wanted)}")
        return digests

    def releases(self) -> dict[str, str]:
        """The date of each suite's signed InRelease."""
        dates = {}
        for release in sorted((self.scratch / "lists").glob("*_InRelease")):
            date = re.search(r"^Date: (.*)$", release.read_text(), re.M)
            dates[_suite(release)] = date[1] if date else ""
        return dates


def _suite(listing: Path) -> str:
    """The suite an index file of apt is of; apt names it by the URL it came from."""
    found = re.search(r"_dists_([^_]+)_", listing.name)
    if found is None:
        raise Failure(f"apt wrote an index of an unknown suite: {listing.name}")
    return found[1]
