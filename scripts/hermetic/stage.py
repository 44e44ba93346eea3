"""The stage: the checkout as the build sees it. The only thing of a build that reads the checkout.

Modes are normalised (a checkout's umask must not reach the image). A file whose content did not
change keeps its time stamp, one that changed gets a new one, whatever the checkout says: cargo
decides by time stamps, and an older one would give it the old program, silently.

I/O: reads the checkout, writes the stage.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

# Never part of a build: history, outputs, caches.
LEFT_OUT = {".git", "build", "target", "__pycache__", ".mypy_cache", ".pytest_cache"}


def stage(checkout: Path, place: Path) -> None:
    """Makes `place` a copy of `checkout` with modes 0644 and 0755, links kept as links."""
    wanted: set[Path] = set()
    for folder, folders, files in os.walk(checkout):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and name not in links)
        target = place / here.relative_to(checkout)
        wanted.add(target)
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(0o755)
        for name in [*files, *links]:
            wanted.add(target / name)
            _copy(here / name, target / name)
    for folder, folders, files in os.walk(place, topdown=False):
        for name in [*files, *folders]:
            path = Path(folder) / name
            if path in wanted:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _copy(source: Path, target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    if source.is_symlink():
        if target.is_symlink() and os.readlink(target) == os.readlink(source):
            return
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(source))
        return
    if not source.is_file():
        return
    if target.is_symlink() or not target.exists() or not filecmp.cmp(source, target, shallow=False):
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
