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
from collections.abc import Iterator
from pathlib import Path

import crates
import enter
import fetch
import lockfile
import repo
import sbom
import stage
import tree
import vhd
from errors import Failure
from progress import Step, run_logged

# image name: its configuration directory inside the checkout.
IMAGES = {"base": "meta-base", "buildernet": "."}
PLATFORM = "azure-tdx"


def image(name: str, root: Path, cache: Path, out: Path, fresh: bool = False, clock: str = "") -> list[Path]:
    """Builds image `name` into `out` and returns the files made.

    `fresh` forgets what earlier builds compiled. `clock` shifts the build's clock (faketime's form,
    "+40d"): only the reproduction test wants that. Raises Failure with the failed command's log.
    """
    lock = lockfile.read(root / "packages.lock")
    tools = tree.ensure(lock, cache)
    packages = repo.ensure(lock, cache)
    vendor = crates.vendor(crates.fetch_all(root / "Cargo.lock", cache, tools), cache)
    with _workplace(root, cache, name, fresh) as work:
        stage.stage(root, work / "source")
        made = _mkosi(name, root, tools, packages, vendor, work, clock)
        return _release(name, root, made, lock, out)


@contextlib.contextmanager
def _workplace(root: Path, cache: Path, name: str, fresh: bool) -> Iterator[Path]:
    """A directory of this checkout and image; two builds at once in it would spoil each other."""
    key = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    place = cache / "work" / f"{name}-{key}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another build of {name} runs from this checkout", "wait for it") from None
        for folder in ("out", "workspace", "packages", *(["compiled", "source"] if fresh else [])):
            # Made inside the tools tree with other owners, so removed there too.
            if (place / folder).exists():
                _remove(place / folder)
        for folder in ("source", "out", "workspace", "packages", "compiled"):
            (place / folder).mkdir(exist_ok=True)
        yield place


def _remove(place: Path) -> None:
    if os.getuid() == 0:
        shutil.rmtree(place)
        return
    import subprocess

    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--map-auto", "--setgroups", "allow", "rm", "-rf", str(place)], check=True
    )


def _mkosi(
    name: str, root: Path, tools: Path, packages: Path, vendor: Path, work: Path, clock: str
) -> Path:
    # What was compiled by another compiler, or against other crates, is not reused: cargo does not
    # notice a changed linker or C library.
    compiled = work / "compiled" / hashlib.sha256(f"{tools.name} {vendor.name}".encode()).hexdigest()[:16]
    compiled.mkdir(parents=True, exist_ok=True)
    binds = [
        (work / "source", "/work/source"), (vendor, "/work/vendor"), (packages, "/work/repo"),
        (work / "out", "/work/out"), (work / "workspace", "/work/workspace"),
        (work / "packages", "/work/packages"), (compiled, "/work/compiled"),
    ]  # fmt: skip
    arguments = [
        "mkosi", "--directory", f"/work/source/{IMAGES[name]}".removesuffix("/."), "--force",
        "--local-mirror=file:///work/repo", "--repository-key-check=no", "--output-dir=/work/out",
        "--workspace-dir=/work/workspace", "--package-cache-dir=/work/packages",
        "--build-dir=/work/compiled", "--build-sources=/work/source:cvm", "--build-sources=/work/vendor:vendor",
        "build",
    ]  # fmt: skip
    environment = {}
    if clock:
        environment = {"FAKETIME": clock, "DONT_FAKE_MONOTONIC": "1"}
        (work / "ld.so.preload").write_text("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1\n")
        binds.append((work / "ld.so.preload", "/etc/ld.so.preload"))
    command = enter.command(tools, arguments, binds=binds, environment=environment)
    log = root / "build/logs" / f"image-{name}.log"
    with Step(f"build the {name} image") as step:
        advice = "the log names the failing step; `make clean-cache` forgets everything cached"
        run_logged(step, command, log, advice, show=_headline)
    return work / "out"


def _headline(line: str) -> str:
    """mkosi's step lines and cargo's; the rest is for the log."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
    return text if text.startswith(("‣", "Compiling", "Finished")) else ""


def _release(name: str, root: Path, made: Path, lock: lockfile.Lock, out: Path) -> list[Path]:
    raws = list(made.glob("*.raw"))
    if len(raws) != 1:
        raise Failure(f"mkosi made {len(raws)} raw images in {made}, expected one")
    version = re.search(r"^ImageVersion=(.+)$", (root / "meta-base/mkosi.conf").read_text(), re.M)[1]
    epoch = int(re.search(r"^SourceDateEpoch=(\d+)$", (root / "meta-base/mkosi.conf").read_text(), re.M)[1])
    stem = f"{name}-{version}"
    out.mkdir(parents=True, exist_ok=True)
    with Step("write the release files"):
        files = {
            f"{stem}.raw": raws[0],
            f"{stem}.efi": next(made.glob(f"{raws[0].stem}*.efi")),
            f"{stem}.manifest.json": next(made.glob(f"{raws[0].stem}*.manifest")),
        }
        for target, source in files.items():
            _copy_sparse(source, out / target)
        vhd.convert(out / f"{stem}.raw", out / f"{stem}-{PLATFORM}.vhd", epoch)
        manifest = json.loads((out / f"{stem}.manifest.json").read_text())
        document = sbom.document(stem, manifest, lock, root / "Cargo.lock", epoch)
        (out / f"{stem}.cdx.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    return sorted([*(out / n for n in files), out / f"{stem}-{PLATFORM}.vhd", out / f"{stem}.cdx.json"])


def _copy_sparse(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def checksums(out: Path, files: list[Path]) -> Path:
    """Writes SHA256SUMS over `files`, in the form sha256sum --check takes."""
    lines = []
    for file in sorted(files):
        with file.open("rb") as content:
            lines.append(f"{hashlib.file_digest(content, 'sha256').hexdigest()}  {file.name}\n")
    sums = out / "SHA256SUMS"
    sums.write_text("".join(lines))
    return sums


def used(cache: Path, lock: lockfile.Lock, cargo_lock: Path) -> list[Path]:
    """Every cached file that this commit's locks name: packages and crates."""
    digests = [p.sha256 for p in lock.packages] + list(crates.locked(cargo_lock).values())
    return [fetch.blob(cache, digest) for digest in digests]
