//! Archives written by the real tools, listed as those tools unpack them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use measurements::Sha256Digest;
use measurements::initrd_files::{Compression, Entry, Listing, list};
use tempfile::TempDir;
use testkit::needed::programs;

use super::*;

/// Runs a tool in a directory and returns what it printed.
fn run(directory: &Path, command: &[&str], input: &[u8]) -> Vec<u8> {
    let (tool, arguments) = command.split_first().unwrap();
    let mut child = Command::new(tool)
        .args(arguments)
        .env("TZ", "UTC")
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Bytes that do not compress to nothing.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Four bits of sixteen.
        state.to_be_bytes()[0] & 0x0f
    };
    (0..size).map(next).collect()
}

/// A directory with every kind of file that needs no root, and their paths in order.
fn tree() -> (TempDir, Vec<&'static str>) {
    let tree = TempDir::new().unwrap();
    let at = |path: &str| tree.path().join(path);
    fs::create_dir_all(at("usr/lib")).unwrap();
    fs::write(at("usr/lib/a"), "contents\n").unwrap();
    fs::hard_link(at("usr/lib/a"), at("usr/lib/b")).unwrap();
    fs::write(at("usr/lib/large"), noise(300_001)).unwrap();
    fs::write(at("usr/lib/empty"), "").unwrap();
    fs::write(at("usr/lib/with space ü"), "x").unwrap();
    symlink("usr/lib", at("lib")).unwrap();
    run(tree.path(), &["mkfifo", "pipe"], &[]);
    let paths = [
        ".",
        "lib",
        "pipe",
        "usr",
        "usr/lib",
        "usr/lib/a",
        "usr/lib/b",
        "usr/lib/empty",
        "usr/lib/large",
        "usr/lib/with space ü",
    ];
    (tree, paths.to_vec())
}

fn cpio(tree: &Path, format: &str, paths: &[&str]) -> Vec<u8> {
    let command = ["cpio", "--quiet", "--create", "--null", "--format", format];
    run(tree, &command, paths.join("\0").as_bytes())
}

fn listed(initrd: &[u8]) -> Listing {
    let listing = list(initrd, open).unwrap();
    assert!(listing.unreadable.is_none(), "{:?}", listing.unreadable);
    listing
}

/// Compares an entry with the file that cpio made of it.
fn assert_is(entry: &Entry, file: &Path) {
    let is = fs::symlink_metadata(file).unwrap();
    assert_eq!(entry.mode, is.mode(), "{entry:?}");
    assert_eq!((entry.uid, entry.gid), (is.uid(), is.gid()), "{entry:?}");
    assert_eq!(i64::from(entry.mtime), is.mtime(), "{entry:?}");
    if is.is_file() {
        let contents = fs::read(file).unwrap();
        assert_eq!(entry.size, contents.len() as u64, "{entry:?}");
        assert_eq!(entry.sha256, Sha256Digest::of(&contents), "{entry:?}");
    }
    let target = fs::read_link(file).ok();
    let target = target.map(|target| target.to_str().unwrap().to_owned());
    assert_eq!(entry.target, target);
    assert_eq!(entry.kind() == "pipe", is.file_type().is_fifo());
}

#[test]
fn cpio_unpacks_what_is_listed() {
    if !programs(&["cpio"]) {
        return;
    }
    let (tree, paths) = tree();
    for format in ["newc", "crc"] {
        let archive = cpio(tree.path(), format, &paths);
        assert!(archive.starts_with(if format == "crc" {
            b"070702"
        } else {
            b"070701"
        }));
        let listing = listed(&archive);
        assert_eq!((listing.archives.len(), listing.replaced().len()), (1, 0));

        let table = run(tree.path(), &["cpio", "--quiet", "--list"], &archive);
        let table = String::from_utf8(table).unwrap();
        let mut expected: Vec<_> = table.lines().collect();
        let mut actual: Vec<_> = listing.entries.iter().map(|e| e.path.as_str()).collect();
        assert_eq!(actual, expected, "in the same order");
        expected.sort_unstable();
        actual.sort_unstable();
        assert_eq!(actual, paths);

        let unpacked = TempDir::new().unwrap();
        let unpack = [
            "cpio",
            "--quiet",
            "--extract",
            "--preserve-modification-time",
        ];
        run(unpacked.path(), &unpack, &archive);
        for entry in &listing.entries {
            // cpio does not restore the directory that it unpacks to.
            if entry.path != "." {
                assert_is(entry, &unpacked.path().join(&entry.path));
            }
        }
    }
}

#[test]
fn verbose_listing_of_cpio_says_the_same() {
    if !programs(&["cpio"]) {
        return;
    }
    let (tree, paths) = tree();
    let archive = cpio(tree.path(), "newc", &paths);
    let command = [
        "cpio",
        "--quiet",
        "--list",
        "--verbose",
        "--numeric-uid-gid",
    ];
    let table = String::from_utf8(run(tree.path(), &command, &archive)).unwrap();
    let listing = listed(&archive);
    assert_eq!(table.lines().count(), listing.entries.len());
    for (line, entry) in table.lines().zip(&listing.entries) {
        let [mode, _links, uid, gid, size] = line
            .split_whitespace()
            .take(5)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        let kind = ["-file", "ddirectory", "lsymbolic link", "ppipe"]
            .into_iter()
            .find(|kind| &kind[1..] == entry.kind())
            .unwrap();
        assert!(mode.starts_with(&kind[..1]), "{line}");
        assert_eq!(uid.parse(), Ok(entry.uid), "{line}");
        assert_eq!(gid.parse(), Ok(entry.gid), "{line}");
        // Of hard links, the last has the contents, and only its line says how many.
        if !["usr/lib/a", "usr/lib/b"].contains(&entry.path.as_str()) {
            assert_eq!(size.parse(), Ok(entry.size), "{line}");
        }
        let end = match &entry.target {
            Some(target) => format!(" {} -> {target}", entry.path),
            None => format!(" {}", entry.path),
        };
        let is_link = line.contains(" link to ");
        assert!(is_link || line.ends_with(&end), "{line}");
    }
}

#[test]
fn compressed_archives_are_listed_like_plain_ones() {
    if !programs(&["cpio", "zstd", "gzip", "xz"]) {
        return;
    }
    let (tree, paths) = tree();
    let plain = cpio(tree.path(), "newc", &paths);
    let expected = listed(&plain);
    for (command, compression) in [
        (&["zstd", "-19", "-c"][..], Compression::Zstd),
        (&["zstd", "-1", "--no-check", "-c"], Compression::Zstd),
        (
            &["zstd", "--ultra", "-22", "--long=27", "-c"],
            Compression::Zstd,
        ),
        (&["gzip", "-9", "-n", "-c"], Compression::Gzip),
        (&["gzip", "-1", "-c"], Compression::Gzip),
        (&["xz", "-c"], Compression::Xz),
        (&["xz", "-9e", "--check=crc32", "-c"], Compression::Xz),
        (&["xz", "--check=none", "-c"], Compression::Xz),
        (
            &["xz", "--check=sha256", "--block-size=50000", "-c"],
            Compression::Xz,
        ),
        (
            &["xz", "--check=crc32", "-T2", "--block-size=70001", "-c"],
            Compression::Xz,
        ),
    ] {
        let compressed = run(tree.path(), command, &plain);
        let listing = listed(&compressed);
        assert_eq!(listing.entries, expected.entries, "{command:?}");
        let [archive] = &listing.archives[..] else {
            panic!("{command:?}: {:?}", listing.archives);
        };
        assert_eq!(archive.compression, Some(compression));
        assert_eq!(archive.size, compressed.len() as u64, "{command:?}");
        assert_eq!(archive.unpacked_sha256, Sha256Digest::of(&plain));

        // A decoder that took more than its stream would miss what follows.
        let initrd = [&compressed[..], &compressed, &[0; 7], &compressed].concat();
        let listing = listed(&initrd);
        assert_eq!(listing.archives.len(), 3, "{command:?}");
        assert_eq!(listing.entries.len(), 3 * expected.entries.len());
    }
}

#[test]
fn early_microcode_and_archives_of_the_stub_are_listed_with_the_initrd() {
    if !programs(&["cpio", "zstd"]) {
        return;
    }
    let early = TempDir::new().unwrap();
    let folder = "kernel/x86/microcode";
    fs::create_dir_all(early.path().join(folder)).unwrap();
    let blob = format!("{folder}/GenuineIntel.bin");
    fs::write(early.path().join(&blob), noise(5000)).unwrap();
    let microcode = cpio(early.path(), "newc", &[&blob]);
    let (tree, paths) = tree();
    let main = run(
        tree.path(),
        &["zstd", "-19", "-c"],
        &cpio(tree.path(), "newc", &paths),
    );
    let padding = vec![0; main.len().next_multiple_of(4) - main.len()];
    let initrd = [&microcode[..], &main, &padding, &microcode].concat();
    let listing = listed(&initrd);
    let kinds: Vec<_> = listing.archives.iter().map(|a| a.compression).collect();
    assert_eq!(kinds, [None, Some(Compression::Zstd), None]);
    let archives: Vec<_> = listing.entries.iter().map(|e| e.archive).collect();
    assert_eq!(archives.len(), 2 + paths.len());
    assert_eq!(
        (archives[0], archives[1], *archives.last().unwrap()),
        (0, 1, 2)
    );
    let replaced = listing.replaced();
    assert_eq!((replaced.len(), &replaced[0].0.path), (1, &blob));
}

#[test]
fn damage_is_found_by_the_decoders() {
    if !programs(&["cpio", "zstd", "gzip", "xz"]) {
        return;
    }
    let (tree, paths) = tree();
    let plain = cpio(tree.path(), "newc", &paths);
    for command in [
        &["zstd", "-c"][..],
        &["gzip", "-c"],
        &["xz", "--check=crc32", "-c"],
    ] {
        let whole = run(tree.path(), command, &plain);
        for at in (8..whole.len()).step_by(whole.len() / 40) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            let listing = list(&flipped[..], open).unwrap();
            // What is not contents may say something else: gzip's time, xz's index.
            let is_same = listing
                .archives
                .first()
                .is_some_and(|a| a.unpacked_sha256 == Sha256Digest::of(&plain));
            assert!(listing.unreadable.is_some() || is_same, "{command:?} {at}");
            let cut = list(&whole[..at], open).unwrap();
            assert!(cut.unreadable.is_some(), "{command:?} {at}");
        }
    }
}

#[test]
fn no_stream_makes_a_decoder_panic_or_go_on_for_ever() {
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % below
    };
    let seeds = [SMALL_ZSTD, SMALL_GZIP, SMALL_XZ, LZ4].map(bytes);
    for round in 0..1500 {
        let mut stream = seeds[round % seeds.len()].clone();
        for _ in 0..=random(4) {
            let at = 2 + random(stream.len() - 2);
            stream[at] = u8::try_from(random(256)).unwrap();
        }
        stream.truncate(2 + random(2 * stream.len()));
        let listing = list(&stream[..], open).unwrap();
        assert!(listing.entries.is_empty());
    }
}

#[test]
fn filters_and_dictionaries_that_are_not_taken_are_said() {
    if !programs(&["xz"]) {
        return;
    }
    let here = TempDir::new().unwrap();
    let filtered = run(here.path(), &["xz", "--x86", "--lzma2", "-c"], &noise(100));
    let error = |bytes: &[u8]| {
        let reason = list(bytes, open).unwrap().unreadable.unwrap().reason;
        format!("{:#}", anyhow::Error::from(reason))
    };
    assert_eq!(
        error(&filtered),
        "xz data of this kind cannot be unpacked here: expected xz with no filter but LZMA2"
    );
    let large = ["xz", "--lzma2=dict=192MiB", "-c"];
    let large = run(here.path(), &large, &noise(100));
    assert!(
        error(&large).starts_with("the xz data is damaged"),
        "{}",
        error(&large)
    );
}

/// Small streams: written by `zstd -19`, `gzip -9n`, `xz --check=crc32` and `lz4 -l -9`.
const SMALL_ZSTD: &str = "28b52ffd04685d0000186162630200ba0f95800d1a45190d";
const SMALL_GZIP: &str = "1f8b08000000000002034b4c240e24256345006db0068f3f000000";
const SMALL_XZ: &str = "fd377a585a0000016922de360200210116000000742fe5a3e0003e000b5d0030ee266231d9577e00\
    000000006db0068f0001233f77ef49289042990d010000000001595a";
const LZ4: &str = "02214c18100000001f610100142c62630300506263616263";
const SMALL_TEXT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabcabcabcabcabcabcabcabc";

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn small_streams_are_unpacked() {
    for (compression, hex) in [
        (Compression::Zstd, SMALL_ZSTD),
        (Compression::Gzip, SMALL_GZIP),
        (Compression::Xz, SMALL_XZ),
        (Compression::Lz4, LZ4),
    ] {
        let stream = [&bytes(hex)[..], &[0; 4]].concat();
        let mut from = &stream[..];
        let mut text = String::new();
        open(compression, &mut from)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, SMALL_TEXT, "{compression}");
        // LZ4's frame ends with the first four zeros.
        let left = if compression == Compression::Lz4 {
            0
        } else {
            4
        };
        assert_eq!(from.len(), left, "{compression}");
    }
}

#[test]
fn legacy_frames_of_lz4_are_unpacked() {
    let frame = bytes(LZ4);
    let unpack = |bytes: &[u8]| {
        let mut from = bytes;
        let mut text = String::new();
        open(Compression::Lz4, &mut from)?.read_to_string(&mut text)?;
        Ok::<_, io::Error>((text, from.len()))
    };
    assert_eq!(unpack(&frame).unwrap(), (SMALL_TEXT.to_owned(), 0));
    let twice = frame.repeat(2);
    assert_eq!(unpack(&twice).unwrap(), (SMALL_TEXT.repeat(2), 0));
    let padded = [&frame[..], &[0; 6]].concat();
    assert_eq!(unpack(&padded).unwrap(), (SMALL_TEXT.to_owned(), 2));
    for bytes in [
        &frame[..3],
        &frame[..10],
        &frame[..frame.len() - 1],
        b"\x02\x21ab",
    ] {
        assert!(unpack(bytes).is_err(), "{bytes:02x?}");
    }
    let huge = [&frame[..4], &0x0090_0000u32.to_le_bytes(), &[0; 100]].concat();
    assert_eq!(
        unpack(&huge).unwrap_err().to_string(),
        "expected a block of at most 8 MiB"
    );
}

#[test]
fn compressions_without_decoder_say_which_there_are() {
    for compression in [Compression::Bzip2, Compression::Lzma, Compression::Lzo] {
        let Err(error) = open(compression, &mut &b"x"[..]) else {
            panic!("{compression}");
        };
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert_eq!(error.to_string(), "expected zstd, gzip, xz or lz4");
    }
}
