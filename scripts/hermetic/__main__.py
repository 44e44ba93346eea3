"""`python3 scripts/hermetic COMMAND`: everything that happens before and around the tools tree.

Standard library only, Python 3.11 or newer. The Makefile's targets are the public face of this.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import build  # noqa: E402
import crates  # noqa: E402
import enter  # noqa: E402
import fetch  # noqa: E402
import lockfile  # noqa: E402
import pool  # noqa: E402
import resolve  # noqa: E402
import tree  # noqa: E402
from errors import Failure  # noqa: E402
from progress import Step  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "packages.lock"


def cache() -> Path:
    """The cache outside the checkout: CVM_CACHE, or the user's cache directory."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(os.environ.get("CVM_CACHE") or Path(home) / "cvm-image").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def lock(_: argparse.Namespace) -> None:
    old = lockfile.read(LOCK) if LOCK.exists() else None
    tools = None
    if old:
        try:
            tools = tree.ensure(old, cache())
        except Failure as failure:
            # What is locked may be had nowhere any more, and this command is the way on from there.
            print(f"{failure}\n==> so this host's own apt resolves the lock", file=sys.stderr)
    with Step("resolve the lock"):
        new = resolve.resolve(ROOT, tools)
    lockfile.write(LOCK, new)
    print(resolve.explain(old, new))


def run(arguments: argparse.Namespace) -> None:
    tools = tree.ensure(lockfile.read(LOCK), cache())
    if malformed := [item for item in arguments.env if "=" not in item]:
        raise Failure(f"--env takes KEY=VALUE, not {malformed[0]!r}")
    environment = dict(item.split("=", 1) for item in arguments.env)
    command = enter.command(
        tools,
        arguments.command,
        binds=[ROOT, cache(), *map(Path, arguments.bind)],
        network=arguments.net == "host",
        environment=environment,
        workdir=str(ROOT),
    )
    os.execvp(command[0], command)


def cargo(arguments: argparse.Namespace) -> None:
    """The locked cargo on this checkout, with the locked crates and without network."""
    place = cache()
    tools = tree.ensure(lockfile.read(LOCK), place)
    programs = [str(folder) for folder in sorted(place.glob("programs/*/bin"))]
    # What cargo keeps to compile a changed crate faster is as large again as all it compiles.
    environment = {
        "CARGO_INCREMENTAL": "0",
        "CARGO_TARGET_DIR": f"{ROOT}/target/locked",
        "PATH": ":".join([enter.ENVIRONMENT["PATH"], *programs]),
    }
    environment |= {key: os.environ[key] for key in ("CI", "RUSTDOCFLAGS") if key in os.environ}
    inner = ["cargo", *arguments.command]
    if arguments.net == "host":
        environment |= {"CARGO_HOME": f"{place}/cargo", "CARGO_HTTP_CAINFO": enter.CA_BUNDLE}
    else:
        vendor = crates.vendor(crates.fetch_all(ROOT, place, tools), place)
        environment |= {"CARGO_HOME": str(crates.offline_home(vendor))}
        if arguments.command[0] != "deny":
            inner.insert(1, "--frozen")
    # Captured evidence to test against lies beside the checkout, where there is any.
    beside = [ROOT.parent / "shared"] if (ROOT.parent / "shared").is_dir() else []
    command = enter.command(
        tools, inner, binds=[ROOT, place, *beside], network=arguments.net == "host",
        environment=environment, workdir=str(ROOT),
    )  # fmt: skip
    os.execvp(command[0], command)


def image(arguments: argparse.Namespace) -> None:
    out = Path(arguments.output).resolve()
    for file in build.image(arguments.name, ROOT, cache(), out, arguments.fresh, arguments.clock):
        print(file)


def sums(arguments: argparse.Namespace) -> None:
    print(build.checksums(Path(arguments.output).resolve(), build.version(ROOT)))


def pool_export(arguments: argparse.Namespace) -> None:
    locked, place = lockfile.read(LOCK), cache()
    tools = tree.ensure(locked, place)
    fetch.fetch(locked, locked.packages, place)
    crates.fetch_all(ROOT, place, tools)
    pool.export(build.used(place, locked, ROOT), Path(arguments.archive))


def pool_import(arguments: argparse.Namespace) -> None:
    print(f"{pool.load(Path(arguments.archive), cache())} new files")


def main() -> int:
    os.umask(0o022)
    parser = argparse.ArgumentParser(prog="hermetic", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("lock", help="resolve packages.lock against today's archive")
    command.set_defaults(run=lock)
    command = commands.add_parser("enter", help="run a command inside the tools tree")
    command.add_argument("--net", choices=("none", "host"), default="none", help="default: none")
    command.add_argument("--bind", action="append", default=[], metavar="DIR", help="also seen inside, read-write")
    command.add_argument("--env", action="append", default=[], metavar="KEY=VALUE")
    command.add_argument("command", nargs="+", metavar="-- COMMAND")
    command.set_defaults(run=run)
    command = commands.add_parser("cargo", help="run the locked cargo on this checkout")
    command.add_argument("--net", choices=("none", "host"), default="none", help="host: to change Cargo.lock")
    command.add_argument("command", nargs="+", metavar="-- ARGUMENT")
    command.set_defaults(run=cargo)
    command = commands.add_parser("image", help="build an image")
    command.add_argument("name", choices=sorted([*build.IMAGES, *build.PROFILES]))
    command.add_argument("--output", default=str(ROOT / "build"), metavar="DIR")
    command.add_argument("--fresh", action="store_true", help="compile everything anew")
    command.add_argument("--clock", default="", metavar="SHIFT", help="shift the build's clock, e.g. +40d (for tests)")
    command.set_defaults(run=image)
    command = commands.add_parser("sums", help="write SHA256SUMS over an output directory")
    command.add_argument("--output", default=str(ROOT / "build"), metavar="DIR")
    command.set_defaults(run=sums)
    command = commands.add_parser("pool-export", help="write all locked packages and crates to one archive")
    command.add_argument("archive")
    command.set_defaults(run=pool_export)
    command = commands.add_parser("pool-import", help="put such an archive's files into the cache")
    command.add_argument("archive")
    command.set_defaults(run=pool_import)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
