"""The tools tree: the locked tools, unpacked. All that builds or tests runs inside it.

No maintainer script runs; what they would do that we need is done here, as data. So no apt, dpkg or
bootstrap tool of the host has a say, and no privilege is needed.

I/O: reads the cache, writes `<cache>/tools/<digest>`.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import deb
import fetch
import prune
from errors import Failure
from lockfile import Lock, Package
from progress import Step

# Merged /usr, as Debian has it since bookworm; packages still ship some of these names.
MERGED = ("bin", "sbin", "lib", "lib64")
EMPTY = ("dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "var/lib/dpkg", "etc/ssl/certs", "build")
# Links that update-alternatives would make.
ALTERNATIVES = {
    "usr/bin/awk": "mawk", "usr/bin/c++": "g++", "usr/bin/cc": "gcc", "usr/bin/which": "which.debianutils",
}  # fmt: skip
PASSWD = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
# tss: swtpm's configuration names it.
GROUP = "root:x:0:\ntty:x:5:\nkvm:x:105:\ntss:x:106:\nnogroup:x:65534:\n"


def ensure(lock: Lock, cache: Path) -> Path:
    """Returns the tools tree of this lock, making it first if need be.

    The tree is renamed into place when complete, so one that exists is whole.
    """
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    tree = cache / "tools" / f"{lock.digest('tools')[:16]}-{code[:8]}"
    if tree.is_dir():
        prune.used(tree)
        return tree
    packages = lock.of("tools")
    fetch.fetch(lock, packages, cache)
    staged = tree.with_name(f"{tree.name}.{os.getpid()}.part")
    _skeleton(staged)
    with Step(f"unpack the tools tree ({len(packages)} packages)") as step:
        # Largest first, or the last worker sits on LLVM alone.
        ordered = sorted(packages, key=lambda p: -p.size)
        with concurrent.futures.ProcessPoolExecutor() as pool:
            jobs = [pool.submit(_unpack, fetch.blob(cache, p.sha256), staged) for p in ordered]
            for number, job in enumerate(concurrent.futures.as_completed(jobs), 1):
                job.result()
                step.update(f"{number} of {len(jobs)}")
        _finish(staged, packages)
    fetch.settle(staged, tree)
    prune.used(tree)
    prune.prune(tree.parent)
    return tree


def _skeleton(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    for name in MERGED:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for name in EMPTY:
        (tree / name).mkdir(parents=True, exist_ok=True)


def _merged(name: str) -> str:
    return f"usr/{name}" if name.split("/")[0] in MERGED else name


def _unpack(package: Path, tree: Path) -> None:
    """Unpacks one package's files; owner is whoever builds, set-id bits and device nodes are left out."""
    # Python 3.11.2 (Debian 12) has no extraction filters; the content was checked against the lock.
    trusted: dict[str, Any] = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    with deb.archive(package, "data") as tar:
        for member in tar:
            name = member.name.removeprefix("./").rstrip("/")
            if not name or name == "." or name in MERGED or member.isdev():
                continue
            _refuse_outside(package, name, tree)
            member.name = _merged(name)
            if member.islnk():
                _refuse_outside(package, member.linkname.removeprefix("./"), tree)
                member.linkname = _merged(member.linkname.removeprefix("./"))
            member.uid, member.gid = os.getuid(), os.getgid()
            member.mode = member.mode & 0o777 | (0o700 if member.isdir() else 0o600)
            target = tree / member.name
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            if target.is_symlink() or target.is_file():
                target.unlink()
            tar.extract(member, tree, set_attrs=True, **trusted)


def _refuse_outside(package: Path, name: str, tree: Path) -> None:
    """A member must lie in the tree by its name, and by the links on the way that are already there."""
    named_outside = name.startswith("/") or ".." in name.split("/")
    if named_outside or not (tree / _merged(name)).parent.resolve().is_relative_to(tree.resolve()):
        raise Failure(f"{package}: member {name!r} leaves the tree")


def _finish(tree: Path, packages: tuple[Package, ...]) -> None:
    for name, target in ALTERNATIVES.items():
        if not (tree / name).exists():
            (tree / name).symlink_to(target)
    (tree / "etc/passwd").write_text(PASSWD)
    (tree / "etc/group").write_text(GROUP)
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    (tree / "etc/locked-packages").write_text("".join(f"{p.name} {p.version} {p.sha256}\n" for p in packages))
    (tree / "tmp").chmod(0o1777)
    (tree / "var/tmp").chmod(0o1777)
    import enter

    subprocess.run(enter.command(tree, ["ldconfig"], writable=True), check=True)
