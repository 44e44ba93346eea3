"""Brings every locked file into the content-addressed cache: `<cache>/sha256/<hh>/<digest>`.

The cache lives outside the checkout, so it survives clones, and mirrors dropping old versions.
Nothing is ever put there under a digest that it does not have, and every use checks again.

I/O: network, cache.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import mirrors
from errors import Failure
from lockfile import Lock, Package
from progress import Step

PARALLEL = 8
TIMEOUT_SECONDS = 60
ATTEMPTS = 3
CHUNK = 1 << 20


def blob(cache: Path, digest: str) -> Path:
    """Where the file with this SHA-256 lies in the cache, if it does."""
    return cache / "sha256" / digest[:2] / digest


def is_intact(file: Path, digest: str) -> bool:
    """True if `file` exists and has this SHA-256."""
    try:
        with file.open("rb") as source:
            return hashlib.file_digest(source, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def store(cache: Path, digest: str, content: bytes) -> Path:
    """Puts `content` in the cache, atomically; raises ValueError if its SHA-256 is not `digest`."""
    actual = hashlib.sha256(content).hexdigest()
    if actual != digest:
        raise ValueError(f"has sha256 {actual}")
    file = blob(cache, digest)
    file.parent.mkdir(parents=True, exist_ok=True)
    staged = file.with_name(f"{digest}.{os.getpid()}.part")
    try:
        staged.write_bytes(content)
        staged.chmod(0o644)
        staged.replace(file)
    finally:
        staged.unlink(missing_ok=True)
    return file


def settle(staged: Path, place: Path) -> None:
    """Renames a finished directory into place; where another process was faster, its one stays."""
    try:
        staged.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(staged)


def fetch(lock: Lock, packages: Iterable[Package], cache: Path) -> None:
    """Makes sure that the cache holds every one of `packages`, intact.

    Raises Failure naming each package that no source has in the locked form.
    """
    chosen = list(packages)
    total = sum(p.size for p in chosen)
    with Step(f"check {len(chosen)} locked packages ({total / 1e6:.0f} MB)"):
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            intact = pool.map(lambda p: is_intact(blob(cache, p.sha256), p.sha256), chosen)
            missing = [p for p, good in zip(chosen, intact) if not good]
    if not missing:
        return
    todo = sum(p.size for p in missing)
    with Step(f"fetch {len(missing)} packages ({todo / 1e6:.0f} MB)") as step:
        refused, done = [], 0
        with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
            jobs = {pool.submit(_fetch_one, lock, p, cache): p for p in missing}
            try:
                for job in concurrent.futures.as_completed(jobs):
                    done += jobs[job].size
                    step.update(f"{done / 1e6:.0f} of {todo / 1e6:.0f} MB  {jobs[job].name}")
                    if reason := job.result():
                        refused.append(reason)
            except BaseException:
                # An interrupted user does not wait for what has not begun.
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if refused:
            raise Failure(
                "not to be had in the locked form:\n" + "\n".join(sorted(refused)),
                "`make pool-import POOL=FILE` with the release's package pool, or SNAPSHOT=URL of the dated\n"
                f"        snapshot archive ({lock.resolved}), brings exactly these files back. `make lock` moves on to\n"
                "        today's versions: that gives new measurements, to be published in the same commit",
            )


def _fetch_one(lock: Lock, package: Package, cache: Path) -> str:
    """Returns "" or why no source gave the package."""
    reasons = []
    for url in mirrors.candidates(package.archive, package.path, lock.resolved):
        for attempt in range(ATTEMPTS):
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                    # One byte more than locked is enough to know that it is another file.
                    content = answer.read(package.size + 1)
                if len(content) < package.size:
                    raise OSError(f"{len(content)} bytes, locked are {package.size}")
                store(cache, package.sha256, content)
                return ""
            except urllib.error.HTTPError as error:
                reasons.append(f"{url}: {error.code} {error.reason}")
                if error.code in (403, 404, 410):
                    break
            except ValueError as error:
                reasons.append(f"{url}: {error}, locked is {package.sha256}")
                break
            except (OSError, http.client.HTTPException) as error:
                reasons.append(f"{url}: {error}")
            time.sleep(attempt)
    if not reasons:
        reasons.append("no source is known: set MIRROR= or SNAPSHOT=")
    return f"  {package.label}\n" + "\n".join(f"    {reason}" for reason in dict.fromkeys(reasons))
