"""The release artifact that keeps an old release buildable: all its locked packages and crates.

A plain tar of the files under their SHA-256, so what comes from it is checked like anything else.

I/O: reads and writes the cache and the archive.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import fetch
from errors import Failure
from progress import Step


def export(files: list[Path], archive: Path) -> None:
    """Writes `files` (of the cache, named by digest) to `archive`: same locks, same bytes."""
    for file in files:
        if not fetch.is_intact(file, file.name):
            raise Failure(f"{file} is damaged or missing", "build once, which fetches it, then export again")
    archive.parent.mkdir(parents=True, exist_ok=True)
    staged = archive.with_name(f"{archive.name}.part")
    with Step(f"export {len(files)} files to {archive}"), tarfile.open(staged, "w", format=tarfile.USTAR_FORMAT) as tar:
        for file in sorted(set(files), key=lambda f: f.name):
            member = tarfile.TarInfo(f"sha256/{file.name}")
            member.size, member.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                tar.addfile(member, content)
    staged.replace(archive)


def load(archive: Path, cache: Path) -> int:
    """Puts every file of `archive` into the cache; returns how many were new.

    Raises Failure at the first member that is not what its name says; what came before it stays.
    """
    new = 0
    try:
        with Step(f"import {archive}"), tarfile.open(archive, "r:") as tar:
            for member in tar:
                digest = member.name.removeprefix("sha256/")
                if not member.isfile() or not re.fullmatch(r"[0-9a-f]{64}", digest):
                    raise Failure(f"{archive}: unexpected member {member.name!r}")
                if fetch.is_intact(fetch.blob(cache, digest), digest):
                    continue
                content = tar.extractfile(member) or io.BytesIO()
                try:
                    fetch.store(cache, digest, content.read())
                except ValueError as error:
                    raise Failure(f"{archive}: member {member.name} {error}, not what its name says") from error
                new += 1
    except (OSError, tarfile.TarError) as error:
        raise Failure(f"{archive}: {error}", "name the pool: make pool-import POOL=FILE") from error
    return new
