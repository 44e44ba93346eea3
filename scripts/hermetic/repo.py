"""The local package repository that mkosi installs from: exactly the locked packages, nothing else.

Because every file in it was checked against the lock, and nothing else can reach the build, its
Release file needs no signature.

I/O: reads the cache, writes `<cache>/repo/<digest>`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import deb
import fetch
from lockfile import Lock
from progress import Step
from resolve import RELEASE

# Any fixed date: apt wants one.
DATE = "Thu, 01 Jan 2026 00:00:00 UTC"


def ensure(lock: Lock, cache: Path) -> Path:
    """Returns the repository of all image packages of this lock, making it first if need be."""
    sets = ("initrd", "base", "buildernet")
    packages = lock.of(*sets)
    fetch.fetch(lock, packages, cache)
    place = cache / "repo" / lock.digest(*sets)[:16]
    if place.is_dir():
        return place
    staged = place.with_name(f"{place.name}.{os.getpid()}.part")
    shutil.rmtree(staged, ignore_errors=True)
    listing = staged / f"dists/{RELEASE}/main/binary-amd64"
    listing.mkdir(parents=True)
    (staged / "pool").mkdir()
    with Step(f"make the local repository ({len(packages)} packages)"):
        stanzas = []
        for package in packages:
            name = f"pool/{package.name}_{package.version.replace(':', '%3a')}_{package.arch}.deb"
            source = fetch.blob(cache, package.sha256)
            # A copy, not a link: nothing that runs in a build can reach the cache through it.
            shutil.copyfile(source, staged / name)
            stanzas.append(
                f"{deb.control(source)}\nFilename: {name}\nSize: {package.size}\nSHA256: {package.sha256}\n"
            )
        content = "\n".join(stanzas).encode()
        (listing / "Packages").write_bytes(content)
        (staged / f"dists/{RELEASE}/Release").write_text(
            f"Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: {RELEASE}\nArchitectures: amd64\n"
            f"Components: main\nDate: {DATE}\nSHA256:\n"
            f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/Packages\n"
        )
    fetch.settle(staged, place)
    return place
