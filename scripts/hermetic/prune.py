"""Forgets what of the cache has not been used for a while: trees of earlier locks, places of checkouts that are gone.

A tools tree is 2.3 GB and every lock makes another. Blobs are kept: they are small, and a lock that
is checked out again wants them.

I/O: time stamps of directories in the cache; removes directories.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

# Nothing that is in use is older: `used` is called at each start, and no run takes a day.
IDLE_SECONDS = 24 * 60 * 60
# Of each kind, kept however old: what a developer goes back and forth between.
KEPT = 4


def used(place: Path) -> None:
    """Notes that `place` is in use now."""
    os.utime(place)


def idle(folder: Path, kept: int = KEPT, seconds: float = IDLE_SECONDS) -> list[Path]:
    """The directories in `folder` that were not used for `seconds` and are not among the `kept` last used ones.

    A directory `NAME.home` or `NAME.1234.part` belongs to `NAME`, or to a build that was killed, and goes by age alone.
    """
    now = time.time()
    whole: list[Path] = []
    beside: list[Path] = []
    for place in folder.iterdir() if folder.is_dir() else ():
        if place.is_dir() and not place.is_symlink():
            (beside if "." in place.name else whole).append(place)
    whole.sort(key=lambda place: place.stat().st_mtime, reverse=True)
    old = [place for place in whole[kept:] if now - place.stat().st_mtime > seconds]
    names = {place.name for place in whole} - {place.name for place in old}
    orphans = [p for p in beside if p.name.split(".")[0] not in names or p.name.endswith(".part")]
    return old + [place for place in orphans if now - place.stat().st_mtime > seconds]


def prune(folder: Path) -> None:
    """Removes what is `idle`. What cannot be removed (of another user, say) stays."""
    for place in idle(folder):
        shutil.rmtree(place, ignore_errors=True)
