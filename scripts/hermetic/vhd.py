"""Makes the fixed VHD that Azure takes from a raw image: the same bytes each time.

Azure wants a virtual size of whole MiB (the footer comes on top), and the backup GPT at its end.
Common converters write the time and a random UUID into the footer; ours come from the image.
Format: "Virtual Hard Disk Image Format Specification", Microsoft, 2006 (footer, CHS algorithm in its
appendix); GPT: UEFI specification 2.10, section 5.3.

I/O: reads the raw image, writes the VHD.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from errors import Failure

MIB = 1 << 20
SECTOR = 512
VHD_EPOCH = 946684800  # 2000-01-01T00:00:00Z, the footer's zero
FIXED = 2
# creator application "win ", version 10.0, host "Wi2k": what Azure's own tools write.
CREATOR = (b"win ", 0x000A0000, b"Wi2k")


def convert(raw: Path, vhd: Path, epoch: int) -> None:
    """Writes `vhd`; its UUID is the start of the data's SHA-256, its time stamp `epoch` (Unix seconds)."""
    staged = vhd.with_name(f".{vhd.name}.part")
    shutil.copyfile(raw, staged)
    with staged.open("r+b") as disk:
        size = -(-staged.stat().st_size // MIB) * MIB
        disk.truncate(size)
        _move_backup_gpt(disk, size)
        disk.seek(0)
        digest = hashlib.file_digest(disk, "sha256").digest()
        disk.seek(size)
        disk.write(footer(size, epoch, digest[:16]))
    staged.replace(vhd)


def footer(size: int, epoch: int, uuid: bytes) -> bytes:
    """The 512-byte footer of a fixed disk of `size` bytes."""
    cylinders, heads, sectors = geometry(size // SECTOR)
    head = struct.pack(
        ">8sIIQI4sI4sQQHBBI",
        b"conectix", 2, 0x00010000, 0xFFFFFFFFFFFFFFFF, epoch - VHD_EPOCH, *CREATOR,
        size, size, cylinders, heads, sectors, FIXED,
    )  # fmt: skip
    body = uuid + bytes(1 + 427)
    checksum = ~(sum(head) + sum(body)) & 0xFFFFFFFF
    return head + struct.pack(">I", checksum) + body


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track by the specification's algorithm."""
    total = min(sectors, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    per_track = 17
    heads = max((total // per_track + 1023) // 1024, 4)
    if total // per_track >= heads * 1024 or heads > 16:
        per_track, heads = 31, 16
    if total // per_track >= heads * 1024:
        per_track, heads = 63, 16
    return total // per_track // heads, heads, per_track


def _move_backup_gpt(disk: BinaryIO, size: int) -> None:
    disk.seek(SECTOR)
    primary = bytearray(disk.read(SECTOR))
    if primary[:8] != b"EFI PART":
        raise Failure("the raw image has no GPT with 512-byte sectors")
    header_size = struct.unpack_from("<I", primary, 12)[0]
    old_backup, = struct.unpack_from("<Q", primary, 32)
    table_lba, count, entry_size = struct.unpack_from("<QII", primary, 72)
    table_sectors = -(-count * entry_size // SECTOR)
    disk.seek(table_lba * SECTOR)
    table = disk.read(table_sectors * SECTOR)
    last = size // SECTOR - 1
    disk.seek(old_backup * SECTOR)
    if disk.read(8) != b"EFI PART":
        raise Failure(f"the raw image has no backup GPT in sector {old_backup}, where its GPT says it is")
    # The old backup would be a second, stale truth in the middle of the disk.
    disk.seek((old_backup - table_sectors) * SECTOR)
    disk.write(bytes((table_sectors + 1) * SECTOR))
    struct.pack_into("<QQQ", primary, 32, last, *struct.unpack_from("<Q", primary, 40), last - table_sectors - 1)
    backup = bytearray(primary)
    struct.pack_into("<QQ", backup, 24, last, 1)
    struct.pack_into("<Q", backup, 72, last - table_sectors)
    for header, at in ((primary, 1), (backup, last)):
        struct.pack_into("<I", header, 16, 0)
        struct.pack_into("<I", header, 16, zlib.crc32(header[:header_size]))
        disk.seek(at * SECTOR)
        disk.write(header)
    disk.seek((last - table_sectors) * SECTOR)
    disk.write(table)
    # The protective MBR covers the disk (its size field is at 446 + 12).
    disk.seek(446 + 12)
    disk.write(struct.pack("<I", min(last, 0xFFFFFFFF)))
