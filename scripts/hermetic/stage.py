"""The stage: the checkout as the build sees it. The only thing of a build that reads the checkout.

Modes are normalised (a checkout's umask must not reach the image). A file whose content did not
change keeps its time stamp, one that changed gets a new one, whatever the checkout says: cargo
decides by time stamps, and an older one would give it the old program, silently.

I/O: reads the checkout, writes the stage.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from pathlib import Path

from errors import Failure

# What a build may see: the images, the locks, and the Rust workspace. Not history, documents, outputs.
SEEN = (
    "Cargo.lock", "Cargo.toml", "mkosi.conf", "mkosi.images", "packages.lock", "meta-base", "meta-buildernet",
    "agent", "attestation", "attested-http", "attester", "encrypted-disk", "measurements", "sealed-key", "templates",
    "wireserver", "cvmctl", "hub", "testbed", "testkit", "scripts/cargo-locked",
)  # fmt: skip
# Of these, what cannot change the image: programs that are not in it (cargo only reads their manifests,
# and Cargo.lock follows those), reference values, and caches.
NOT_IN_IMAGE = ("cvmctl/", "hub/", "testbed/", "testkit/", "measurements/published/")
LEFT_OUT = {"target", "__pycache__", "published"}


def stage(checkout: Path, place: Path) -> None:
    """Makes `place` a copy of `checkout` with modes 0644 and 0755, links kept as links."""
    if (checkout / "Cargo.toml").stat().st_mode & 0o100:
        raise Failure(
            f"{checkout} lies on a file system that marks every file executable (or shares one): modes reach the"
            " image, so that would silently give another image",
            "clone to a Linux file system, e.g. below your home directory",
        )
    wanted: set[Path] = set()
    for folder, folders, files in os.walk(checkout, onerror=_refuse):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in LEFT_OUT and name not in links and _is_seen(here / name, checkout)
        )
        target = place / here.relative_to(checkout)
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(0o755)
        for name in [*files, *links]:
            if not _is_seen(here / name, checkout):
                continue
            # Only directories with something in them: git keeps no others, so a clone has none.
            wanted.update([target / name, target, *target.parents])
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


def _refuse(error: OSError) -> None:
    """A directory that cannot be read would be left out, silently."""
    raise error


def _is_seen(path: Path, checkout: Path) -> bool:
    relative = path.relative_to(checkout).as_posix()
    return any(f"{relative}/".startswith(f"{seen}/") or f"{seen}/".startswith(f"{relative}/") for seen in SEEN)


def digest(place: Path) -> str:
    """A name for everything in a stage that can change an image: names, modes, contents."""
    total = hashlib.sha256()
    for folder, folders, files in os.walk(place):
        folders.sort()
        here = Path(folder)
        for name in sorted([*files, *(f for f in folders if (here / f).is_symlink())]):
            path = here / name
            relative = path.relative_to(place).as_posix()
            if relative.startswith(NOT_IN_IMAGE):
                continue
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            mode = path.lstat().st_mode
            total.update(f"{relative} {mode:o} {hashlib.sha256(content).hexdigest()}\n".encode())
    # The build's own code decides as well.
    own = Path(__file__).parent
    for code in sorted([*own.glob("*.py"), *own.glob("*.sh")]):
        total.update(code.read_bytes())
    return total.hexdigest()


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
