"""Reads .deb files with the standard library: no dpkg is needed on the host.

A .deb is an ar(5) archive of debian-binary, control.tar.* and data.tar.* (deb(5)).
I/O: reads the file given.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from errors import Failure

AR_MAGIC = b"!<arch>\n"
# zstd is not in Python's standard library; Debian (unlike Ubuntu) does not use it for .debs.
DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress, "": bytes}


def members(deb: Path) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of each ar member; raises Failure if `deb` is not an ar archive."""
    with deb.open("rb") as source:
        if source.read(len(AR_MAGIC)) != AR_MAGIC:
            raise Failure(f"{deb} is not a Debian package")
        while header := source.read(60):
            if len(header) != 60 or header[58:] != b"`\n":
                raise Failure(f"{deb}: damaged ar header")
            try:
                name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
            except ValueError as error:
                raise Failure(f"{deb}: damaged ar header: {error}") from error
            content = source.read(max(size, 0))
            if len(content) != size:
                raise Failure(f"{deb}: {name} is cut short: {len(content)} of {size} bytes")
            yield name, content
            source.read(size & 1)


def archive(deb: Path, kind: str) -> tarfile.TarFile:
    """Opens the `control` or `data` tar of a package."""
    for name, content in members(deb):
        if name.startswith(f"{kind}.tar"):
            suffix = name.removeprefix(f"{kind}.tar")
            if suffix not in DECOMPRESS:
                raise Failure(f"{deb}: {name}: compression {suffix} is not supported")
            try:
                return tarfile.open(fileobj=io.BytesIO(DECOMPRESS[suffix](content)))
            except (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError) as error:
                raise Failure(f"{deb}: {name} is damaged: {error}") from error
    raise Failure(f"{deb} has no {kind}.tar")


def control(deb: Path) -> str:
    """The control file's text, without trailing newline."""
    with archive(deb, "control") as tar:
        for member in tar:
            if member.name.removeprefix("./") == "control":
                content = tar.extractfile(member)
                assert content is not None
                return content.read().decode().rstrip("\n")
    raise Failure(f"{deb} has no control file")
