"""Builds one image from the locks: stage, repository, crates, mkosi, then the files a release has.

Every place that the build sees has a fixed path inside the tools tree, and it sees nothing else: the
checkout's path, the user's home, locale, time zone and umask cannot reach the result.

I/O: writes the cache and the output directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import crates
import enter
import fetch
import lockfile
import prune
import repo
import sbom
import stage
import tree
import vhd
from errors import Failure
from progress import Step, run_logged

# What is released. Image name: its configuration directory inside the checkout.
IMAGES = {"base": "meta-base", "buildernet": "."}
# The same in a simulated environment, never released. Name: the image, and mkosi's profile.
PROFILES = {"buildernet-sim": ("buildernet", "sim")}
PLATFORM = "azure-tdx"


def image(name: str, root: Path, cache: Path, out: Path, fresh: bool = False, clock: str = "") -> list[Path]:
    """Builds image `name` into `out` and returns the files made.

    `fresh` forgets what earlier builds compiled. `clock` shifts the build's clock (faketime's form,
    "+40d"): only the reproduction test wants that. Raises Failure with the failed command's log.
    """
    lock = lockfile.read(root / "packages.lock")
    state = out / f".{name}.state.json"
    out.mkdir(parents=True, exist_ok=True)
    # A profile installs what its image does, so both share what mkosi installed.
    with _workplace(root, cache, _of_profile(name)[0], fresh) as work:
        source = work.parent / "source"
        stage.stage(root, source)
        key = stage.digest(source)
        if not fresh and (known := _up_to_date(state, key, out)):
            print(f"==> the {name} image is up to date", file=sys.stderr)
            return known
        state.unlink(missing_ok=True)
        made = _make(name, root, cache, lock, work, clock)
        files = _release(name, root, made, lock, out)
        state.write_text(json.dumps({"key": key, "files": {f.name: _sha256(f) for f in files}}) + "\n")
        return files


def _of_profile(name: str) -> tuple[str, str]:
    """The image and the profile, empty if there is none."""
    return PROFILES.get(name, (name, ""))


def _make(name: str, root: Path, cache: Path, lock: lockfile.Lock, work: Path, clock: str) -> Path:
    tools = tree.ensure(lock, cache)
    packages = repo.ensure(lock, cache)
    vendor = crates.vendor(crates.fetch_all(root, cache, tools, [crates.WORKSPACE]), cache)
    return _mkosi(name, root, tools, packages, vendor, work, clock)


def _up_to_date(state: Path, key: str, out: Path) -> list[Path]:
    """The files of an earlier build of the same sources, if all of them are still what it made."""
    if not state.exists():
        return []
    try:
        known = json.loads(state.read_text())
    except ValueError:  # An earlier build was interrupted while it wrote this.
        return []
    files = [out / name for name in known["files"]]
    intact = all(fetch.is_intact(file, known["files"][file.name]) for file in files)
    return files if known["key"] == key and intact else []


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def _workplace(root: Path, cache: Path, name: str, fresh: bool) -> Iterator[Path]:
    """A directory of this checkout and image; the stage and what cargo compiled are the checkout's.

    One build at a time: cargo decides by the stage's time stamps, so both have to move together.
    """
    key = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    shared = cache / "work" / key
    place = shared / name
    place.mkdir(parents=True, exist_ok=True)
    with (shared / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure("another build runs from this checkout", "wait for it") from None
        old = [place / folder for folder in ("out", "workspace", "packages")]
        for folder in [*old, *([shared / "compiled", place / "installed", shared / "source"] if fresh else [])]:
            # Made inside the tools tree with other owners, so removed there too.
            if folder.exists():
                _remove(folder)
        for folder in (shared / "source", shared / "compiled", *old, place / "installed"):
            folder.mkdir(exist_ok=True)
        yield place


def _remove(place: Path) -> None:
    if os.getuid() == 0:
        shutil.rmtree(place)
        return
    subprocess.run(["unshare", *enter.USER_NAMESPACE, "rm", "-rf", str(place)], check=True)


def _mkosi(
    name: str, root: Path, tools: Path, packages: Path, vendor: Path, work: Path, clock: str
) -> Path:
    # What was compiled by another compiler or against other crates, and what was installed from another
    # repository or by other settings, is not reused: cargo does not notice a changed linker, nor mkosi a
    # changed package or, say, WithDocs=.
    source = work.parent / "source"
    compiled = work.parent / "compiled" / _key(tools.name, vendor.name)
    settings = [conf.read_text() for conf in sorted(source.rglob("mkosi.conf"))]
    installed = work / "installed" / _key(tools.name, packages.name, clock, *settings)
    for folder in (compiled, installed):
        folder.mkdir(parents=True, exist_ok=True)
        prune.used(folder)
        # This checkout builds one at a time, so nobody uses the others.
        for old in prune.idle(folder.parent, kept=2, seconds=0):
            _remove(old)
    binds: list[Path | tuple[Path, str]] = [
        (installed, "/build/installed"),
        (source, "/build/source"), (vendor, "/build/vendor"), (packages, "/build/repo"),
        (work / "out", "/build/out"), (work / "workspace", "/build/workspace"),
        (work / "packages", "/build/packages"), (compiled, "/build/compiled"),
    ]  # fmt: skip
    base, profile = _of_profile(name)
    arguments = [
        "mkosi", "--directory", f"/build/source/{IMAGES[base]}".removesuffix("/."), "--force",
        "--local-mirror=file:///build/repo", "--repository-key-check=no", "--output-dir=/build/out",
        "--workspace-dir=/build/workspace", "--package-cache-dir=/build/packages",
        "--build-dir=/build/compiled", "--cache-dir=/build/installed", "--incremental=yes",
        "--build-sources=/build/source:cvm", "--build-sources=/build/vendor:vendor",
        *([f"--profile={profile}"] if profile else []), "build",
    ]  # fmt: skip
    environment = _shift_clock(clock, tools, work, binds) if clock else {}
    command = enter.command(tools, arguments, binds=binds, environment=environment)
    log = root / "build/logs" / f"image-{name}.log"
    with Step(f"build the {name} image") as step:
        advice = "the log names the failing step; `make clean-cache` forgets everything cached"
        run_logged(step, command, log, advice, show=_headline)
    return work / "out"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
# What writes the parts of an image. (Not ukify: mkosi runs it as a Python script.)
CLOCKED = ("cpio", "mcopy", "mkfs.erofs", "systemd-repart", "zstd")


def _shift_clock(
    clock: str, tools: Path, work: Path, binds: list[Path | tuple[Path, str]]
) -> dict[str, str]:
    """Lets mkosi and the tools that it runs see another time; files keep theirs.

    mkosi hands no environment to what it runs in its sandbox, so each tool is covered by a script that
    does. Packages' scripts are not: in the image there is nothing to do it with, and shadow, the one
    writer of dates among them, follows SOURCE_DATE_EPOCH.
    """
    settings = {"LD_PRELOAD": FAKETIME, "FAKETIME": clock, "NO_FAKE_STAT": "1", "DONT_FAKE_MONOTONIC": "1"}
    covers = work / "clock"
    covers.mkdir(exist_ok=True)
    exports = " ".join(f"{key}={value}" for key, value in settings.items())
    for name in CLOCKED:
        real = tools / "usr/bin" / name
        shutil.copyfile(real.resolve(), covers / f"{name}.real")
        (covers / name).write_text(
            f"#!/bin/bash\nexport {exports}\n"
            f'echo "clock of {name}: $(date --iso-8601)" >&2\nexec -a "$0" /usr/lib/clock/{name}.real "$@"\n'
        )
        (covers / f"{name}.real").chmod(0o755)
        (covers / name).chmod(0o755)
        binds.append((covers / name, f"/usr/bin/{real.resolve().name}"))
    binds.append((covers, "/usr/lib/clock"))
    return settings


def _headline(line: str) -> str:
    """mkosi's step lines and cargo's; the rest is for the log."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
    return text if text.startswith(("‣", "Compiling", "Finished")) else ""


def _release(name: str, root: Path, made: Path, lock: lockfile.Lock, out: Path) -> list[Path]:
    raws = list(made.glob("*.raw"))
    if len(raws) != 1:
        raise Failure(f"mkosi made {len(raws)} raw images in {made}, expected one")
    epoch = int(_setting(root, "SourceDateEpoch"))
    stem = f"{name}-{version(root)}"
    with Step("write the release files"):
        files = {
            f"{stem}.raw": raws[0],
            f"{stem}.efi": next(made.glob(f"{raws[0].stem}*.efi")),
            f"{stem}.manifest.json": next(made.glob(f"{raws[0].stem}*.manifest")),
        }
        for target, source in files.items():
            _copy(source, out / target)
        vhd.convert(out / f"{stem}.raw", out / f"{stem}-{PLATFORM}.vhd", epoch)
        manifest = json.loads((out / f"{stem}.manifest.json").read_text())
        document = sbom.document(stem, manifest, lock, root / "Cargo.lock", epoch)
        (out / f"{stem}.cdx.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return sorted([*(out / n for n in files), out / f"{stem}-{PLATFORM}.vhd", out / f"{stem}.cdx.json"])


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def checksums(out: Path, version: str) -> Path:
    """Writes SHA256SUMS over the release files in `out`, in the form sha256sum --check takes; no profile's.

    An image that was built from other sources than the others is left out: it is not of this release.
    """
    states = {name: out / f".{name}.state.json" for name in IMAGES}
    keys = {name: json.loads(state.read_text())["key"] for name, state in states.items() if state.exists()}
    newest = max(keys, key=lambda name: states[name].stat().st_mtime)
    current = [name for name, key in keys.items() if key == keys[newest]]
    files = sorted(f for name in current for f in out.glob(f"{name}-{version}[-.]*") if f.is_file())
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in files))
    return sums


def version(root: Path) -> str:
    """The images' version, as they carry it."""
    return _setting(root, "ImageVersion")


def _setting(root: Path, key: str) -> str:
    conf = root / "meta-base/mkosi.conf"
    found = re.search(rf"^{key}=(.+)$", conf.read_text(), re.M)
    if found is None:
        raise Failure(f"{conf} has no {key}=")
    return found[1]


def used(cache: Path, lock: lockfile.Lock, root: Path) -> list[Path]:
    """Every cached file that this commit's locks name: packages and crates."""
    digests = [p.sha256 for p in lock.packages] + list(crates.locked(root).values())
    return [fetch.blob(cache, digest) for digest in digests]
