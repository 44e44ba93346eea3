"""The VHD: bit for bit what the specifications say, and what other programs read in it."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

import vhd
from errors import Failure

MIB = 1 << 20
SECTOR = 512
EPOCH = 1_767_225_600
ENTRIES, ENTRY_SIZE = 128, 128
TABLE_SECTORS = ENTRIES * ENTRY_SIZE // SECTOR


def header(at: int, other: int, table_at: int, table: bytes, sectors: int) -> bytes:
    """A GPT header by UEFI 2.10, table 5.5."""
    fields = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART", 0x00010000, 92, 0, 0, at, other, TABLE_SECTORS + 2, sectors - TABLE_SECTORS - 2,
        bytes(range(16)), table_at, ENTRIES, ENTRY_SIZE, zlib.crc32(table),
    )  # fmt: skip
    return (fields[:16] + struct.pack("<I", zlib.crc32(fields)) + fields[20:]).ljust(SECTOR, b"\0")


def raw_image(path: Path, sectors: int) -> Path:
    """A disk with one partition of Linux data, from sector 64 to 127, that holds a pattern."""
    linux = bytes.fromhex("af3dc60f838472478e793d69d8477de4")
    name = "root".encode("utf-16-le")
    partition = struct.pack("<16s16sQQQ72s", linux, bytes(range(16, 32)), 64, 127, 0, name)
    table = partition.ljust(ENTRIES * ENTRY_SIZE, b"\0")
    last = sectors - 1
    mbr = bytes(446) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last) + bytes(48) + b"\x55\xaa"
    disk = bytearray(sectors * SECTOR)
    for at, content in (
        (0, mbr), (1, header(1, last, 2, table, sectors)), (2, table), (64, b"data" * 128 * 64),
        (last - TABLE_SECTORS, table), (last, header(last, 1, last - TABLE_SECTORS, table, sectors)),
    ):  # fmt: skip
        disk[at * SECTOR : at * SECTOR + len(content)] = content
    path.write_bytes(disk)
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return raw_image(tmp_path / "a.raw", 2 * MIB // SECTOR + 8)


@pytest.fixture
def converted(raw: Path, tmp_path: Path) -> bytes:
    vhd.convert(raw, tmp_path / "a.vhd", EPOCH)
    return (tmp_path / "a.vhd").read_bytes()


# The first seven are sizes and geometries that qemu-img gave its own disks; the others are the borders of
# the algorithm's cases, worked out by hand.
@pytest.mark.parametrize(
    ("sectors", "expected"),
    [
        (2108, (31, 4, 17)),
        (20536, (302, 4, 17)),
        (204816, (1004, 12, 17)),
        (1024128, (1016, 16, 63)),
        (1047312, (1039, 16, 63)),
        (2097648, (2081, 16, 63)),
        (8389584, (8323, 16, 63)),
        (278527, (1023, 16, 17)),
        (278528, (561, 16, 31)),
        (300000, (604, 16, 31)),
        (507903, (1023, 16, 31)),
        (507904, (503, 16, 63)),
        (65535 * 16 * 63 - 1, (65534, 16, 63)),
        (65535 * 16 * 63, (16191, 16, 255)),
        (65535 * 16 * 255, (65535, 16, 255)),
        (65535 * 16 * 255 + 1, (65535, 16, 255)),
        (1 << 33, (65535, 16, 255)),
    ],
)
def test_geometry_follows_the_specification(sectors: int, expected: tuple[int, int, int]) -> None:
    assert vhd.geometry(sectors) == expected


@pytest.mark.parametrize("mib", [1, 10, 100, 140, 300, 511, 1024, 4096, 40000])
def test_our_footer_is_the_one_that_qemu_writes(
    tmp_path: Path, tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, mib: int
) -> None:
    made = tmp_path / "qemu.vhd"
    options = ["-f", "vpc", "-o", "subformat=fixed,force_size=off", str(made), f"{mib}M"]
    subprocess.run([tool("qemu-img"), "create", "-q", *options], check=True)
    with made.open("rb") as disk:
        disk.seek(-SECTOR, 2)
        theirs = disk.read()
    seconds, application, version, host, _, size = struct.unpack(">I4sI4sQQ", theirs[24:56])
    monkeypatch.setattr(vhd, "CREATOR", (application, version, host))
    assert vhd.footer(size, seconds + vhd.VHD_EPOCH, theirs[68:84]) == theirs


def test_the_footer_has_the_fields_of_the_specification(converted: bytes) -> None:
    footer = converted[-SECTOR:]
    assert len(converted) == 3 * MIB + SECTOR
    assert footer[0:8] == b"conectix"
    assert struct.unpack(">IIQ", footer[8:24]) == (2, 0x00010000, 0xFFFFFFFFFFFFFFFF)
    assert struct.unpack(">I", footer[24:28]) == (EPOCH - 946684800,)
    assert footer[28:40] == b"win \x00\x0a\x00\x00Wi2k"
    assert struct.unpack(">QQ", footer[40:56]) == (3 * MIB, 3 * MIB)
    # 6144 sectors: 17 a track, 4 heads, and 6144 // 17 // 4 cylinders.
    assert struct.unpack(">HBBI", footer[56:64]) == (90, 4, 17, 2)
    assert struct.unpack(">I", footer[64:68])[0] == ~(sum(footer[:64]) + sum(footer[68:])) & 0xFFFFFFFF
    assert footer[84:] == bytes(428)


def test_qemu_reads_a_disk_of_the_right_size(raw: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    qemu = tool("qemu-img")
    vhd.convert(raw, tmp_path / "a.vhd", EPOCH)
    told = subprocess.run([qemu, "info", "-f", "vpc", "--output=json", str(tmp_path / "a.vhd")], capture_output=True)
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["virtual-size"] == 3 * MIB


@pytest.mark.parametrize("sectors", [2 * MIB // SECTOR, 2 * MIB // SECTOR + 8, 3 * MIB // SECTOR - 1])
def test_both_partition_tables_verify_and_the_backup_is_at_the_end(tmp_path: Path, sectors: int) -> None:
    raw = raw_image(tmp_path / "a.raw", sectors).read_bytes()
    vhd.convert(tmp_path / "a.raw", tmp_path / "a.vhd", EPOCH)
    disk = (tmp_path / "a.vhd").read_bytes()[:-SECTOR]
    last = len(disk) // SECTOR - 1
    assert len(disk) % MIB == 0 and 0 <= len(disk) - len(raw) < MIB
    for at, other, table_at in ((1, last, 2), (last, 1, last - TABLE_SECTORS)):
        found = disk[at * SECTOR : at * SECTOR + 92]
        table = disk[table_at * SECTOR : (table_at + TABLE_SECTORS) * SECTOR]
        assert found == header(at, other, table_at, table, last + 1)[:92]
        assert table == raw[2 * SECTOR : (2 + TABLE_SECTORS) * SECTOR]
    assert disk[64 * SECTOR : 128 * SECTOR] == raw[64 * SECTOR : 128 * SECTOR]
    assert struct.unpack("<II", disk[454:462]) == (1, last)
    assert disk.count(b"EFI PART") == 2


def test_sgdisk_finds_no_problem(converted: bytes, tmp_path: Path, tool: Callable[[str], str]) -> None:
    (tmp_path / "disk").write_bytes(converted[:-SECTOR])
    told = subprocess.run([tool("sgdisk"), "--verify", str(tmp_path / "disk")], capture_output=True, text=True)
    assert "No problems found" in told.stdout, told.stdout + told.stderr


def test_converting_twice_gives_the_same_bytes(raw: Path, converted: bytes, tmp_path: Path) -> None:
    vhd.convert(raw, tmp_path / "b.vhd", EPOCH)
    assert (tmp_path / "b.vhd").read_bytes() == converted
    vhd.convert(raw, tmp_path / "a.vhd", EPOCH)
    assert (tmp_path / "a.vhd").read_bytes() == converted
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.raw", "a.vhd", "b.vhd"]


def test_another_disk_has_another_uuid(raw: Path, converted: bytes, tmp_path: Path) -> None:
    with raw.open("r+b") as disk:
        disk.seek(64 * SECTOR)
        disk.write(b"DATA")
    vhd.convert(raw, tmp_path / "b.vhd", EPOCH)
    assert (tmp_path / "b.vhd").read_bytes()[-SECTOR:][68:84] != converted[-SECTOR:][68:84]


def test_the_raw_image_is_left_as_it_was(raw: Path, tmp_path: Path) -> None:
    before = raw.read_bytes()
    vhd.convert(raw, tmp_path / "a.vhd", EPOCH)
    assert raw.read_bytes() == before


@pytest.mark.parametrize("content", [b"", bytes(4 * MIB), b"\x55" * 5000], ids=["empty", "zeros", "other"])
def test_a_disk_without_gpt_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.raw").write_bytes(content)
    with pytest.raises(Failure, match="no GPT"):
        vhd.convert(tmp_path / "a.raw", tmp_path / "a.vhd", EPOCH)
    assert not (tmp_path / "a.vhd").exists()


def test_a_disk_without_backup_where_its_gpt_says_is_refused(raw: Path, tmp_path: Path) -> None:
    content = bytearray(raw.read_bytes())
    struct.pack_into("<Q", content, SECTOR + 32, 100)
    raw.write_bytes(content)
    with pytest.raises(Failure, match="no backup GPT in sector 100"):
        vhd.convert(raw, tmp_path / "a.vhd", EPOCH)
    assert not (tmp_path / "a.vhd").exists()
