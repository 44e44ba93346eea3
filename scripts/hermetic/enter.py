"""Runs a command inside the tools tree: own mounts, own processes, by default no network.

As root or, with a range of subordinate ids, as anyone: ownership inside is the same, so the image is.
A way in that would lose ownership, and so silently give another image, is refused with the reason.

I/O: namespaces, mounts (private to the command).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from errors import Failure

# What is inside is the same wherever it is entered from.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"}
# A user namespace with the whole range of ids, in which an ordinary user is root.
USER_NAMESPACE = ("--user", "--map-root-user", "--map-auto", "--setgroups", "allow")
PROXY = ("http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ID_RANGE = 65536

SETUP = Path(__file__).with_name("enter.sh")


def command(
    tree: Path,
    arguments: Sequence[str],
    binds: Sequence[Path | tuple[Path, str]] = (),
    network: bool = False,
    environment: Mapping[str, str] | None = None,
    workdir: str = "/",
    writable: bool = False,
) -> list[str]:
    """The command line that runs `arguments` inside `tree`.

    `binds` are host directories seen inside, at the same path or at the path given. The mount points
    are made in the tree, empty. The tree is read-only unless `writable`. Raises Failure if this host or user cannot do it faithfully.
    """
    flags = ["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
    if os.getuid() == 0:
        _refuse_partial_root()
    else:
        _refuse_partial_user()
        flags = [*USER_NAMESPACE, *flags]
    if not network:
        flags.append("--net")
    pairs: list[str] = []
    for bind in binds:
        source, target = bind if isinstance(bind, tuple) else (bind, str(bind.resolve()))
        pairs += [str(source), target]
    inner = {**ENVIRONMENT, **(environment or {})}
    if network:
        inner |= {name: os.environ[name] for name in PROXY if name in os.environ}
    assignments = [f"{key}={value}" for key, value in inner.items()]
    setup = ["bash", str(SETUP), str(tree), "rw" if writable else "ro", "yes" if network else "no", workdir]
    return ["unshare", *flags, "--", *setup, *pairs, "--", *assignments, *arguments]


def _refuse_partial_root() -> None:
    """Root of a namespace that maps few ids would lose ownership in the image."""
    mapped = min(_mapped_ids(kind) for kind in ("uid", "gid"))
    if mapped < ID_RANGE:
        raise Failure(
            f"this root is of a user namespace with {mapped} ids, and an image needs {ID_RANGE}:"
            " file ownership would be lost, which silently gives another image",
            "run as the ordinary user outside that namespace, or as real root",
        )


def _mapped_ids(kind: str) -> int:
    lines = Path(f"/proc/self/{kind}_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines)


def _refuse_partial_user() -> None:
    for tool, package in (("unshare", "util-linux"), ("newuidmap", "uidmap")):
        if not shutil.which(tool):
            raise Failure(f"{tool} is not installed", f"install {package} (`make setup` does)")
    done = subprocess.run(
        ["unshare", *USER_NAMESPACE, "--mount", "cat", "/proc/self/uid_map"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    mapped = sum(int(line.split()[2]) for line in done.stdout.splitlines())
    if done.returncode == 0 and mapped >= ID_RANGE:
        return
    reason = done.stderr.strip() or f"only {mapped} ids are mapped, {ID_RANGE} are needed"
    advice = "give this user subordinate ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`"
    if _apparmor_restricts():
        advice = (
            "this system's AppArmor denies user namespaces to ordinary programs: run as root (`sudo make …`),"
            "\n        or allow them: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    elif "unrecognized option" in reason:
        advice = "util-linux 2.38 or newer is needed to build unprivileged: run as root (`sudo make …`)"
    raise Failure(
        "an unprivileged build without a full id range would give another image"
        f" (file ownership is lost), and this user cannot have one: {reason}",
        advice,
    )


def _apparmor_restricts() -> bool:
    switch = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
    return switch.exists() and switch.read_text().strip() == "1"
