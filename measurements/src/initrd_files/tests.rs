//! Archives made by hand, honest and hostile. What the real tools write is listed in
//! `tests/initrd_files.rs`.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// An entry to be written.
#[derive(Clone)]
struct File {
    path: Vec<u8>,
    contents: Vec<u8>,
    mode: u32,
    inode: u32,
    links: u32,
}

fn file(path: &str, contents: &str) -> File {
    File {
        path: path.as_bytes().to_vec(),
        contents: contents.as_bytes().to_vec(),
        mode: 0o100_644,
        inode: 1,
        links: 1,
    }
}

fn trailer() -> File {
    File {
        mode: 0,
        ..file("TRAILER!!!", "")
    }
}

impl File {
    /// As buffer-format.rst has it; `check` makes it "crc".
    fn write(&self, check: Option<u32>) -> Vec<u8> {
        let magic = if check.is_some() { "070702" } else { "070701" };
        let numbers = [
            self.inode,
            self.mode,
            1000,
            100,
            self.links,
            1_700_000_000,
            u32::try_from(self.contents.len()).unwrap(),
            8,
            1,
            0,
            0,
            u32::try_from(self.path.len()).unwrap() + 1,
            check.unwrap_or(0),
        ];
        let mut bytes = magic.as_bytes().to_vec();
        for number in numbers {
            bytes.extend(format!("{number:08X}").bytes());
        }
        bytes.extend(&self.path);
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(&self.contents);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
}

fn archive(files: &[File]) -> Vec<u8> {
    let mut bytes: Vec<u8> = files.iter().flat_map(|file| file.write(None)).collect();
    bytes.extend(trailer().write(None));
    bytes
}

/// "Compresses": the gzip magic, the size, the bytes.
fn packed(contents: &[u8]) -> Vec<u8> {
    let size = u32::try_from(contents.len()).unwrap();
    [&[0x1f, 0x8b][..], &size.to_be_bytes(), contents].concat()
}

/// The decoder of [`packed`]; knows nothing else.
fn unpack<'s>(
    compression: Compression,
    from: &'s mut dyn BufRead,
) -> io::Result<Box<dyn Read + 's>> {
    if compression != Compression::Gzip {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut header = [0; 6];
    from.read_exact(&mut header)?;
    let [_, _, size @ ..] = header;
    Ok(Box::new(from.take(u32::from_be_bytes(size).into())))
}

fn listed(bytes: &[u8]) -> Listing {
    list(bytes, unpack).unwrap()
}

/// Lists what must be readable to its end.
fn whole(bytes: &[u8]) -> Listing {
    let listing = listed(bytes);
    assert!(listing.unreadable.is_none(), "{:?}", listing.unreadable);
    listing
}

/// Says what is wrong with it.
fn error(bytes: &[u8]) -> String {
    listed(bytes).unreadable.unwrap().reason.to_string()
}

fn paths(listing: &Listing) -> Vec<&str> {
    listing.entries.iter().map(|e| e.path.as_str()).collect()
}

#[test]
fn entry_is_what_its_header_says() {
    let listing = whole(&archive(&[file("./usr/lib/foo", "contents")]));
    let entry = &listing.entries[0];
    assert_eq!(entry.path, "usr/lib/foo");
    assert_eq!((entry.mode, entry.uid, entry.gid), (0o100_644, 1000, 100));
    assert_eq!((entry.mtime, entry.size), (1_700_000_000, 8));
    assert_eq!(entry.sha256, Sha256Digest::of(b"contents"));
    assert_eq!((entry.target.as_ref(), entry.kind()), (None, "file"));
}

#[test]
fn archives_follow_each_other_with_zeros_between() {
    let first = archive(&[file("a", "1")]);
    let second = archive(&[file("b", "22")]);
    let third = archive(&[file("c", "333")]);
    let initrd = [
        &first[..],
        &[0; 512],
        &packed(&[&second[..], &[0; 8], &third].concat()),
        &[0; 3],
        &packed(&third),
        &[0; 1],
    ]
    .concat();
    let listing = whole(&initrd);
    assert_eq!(paths(&listing), ["a", "b", "c", "c"]);
    let archives: Vec<_> = listing.entries.iter().map(|e| e.archive).collect();
    assert_eq!(archives, [0, 1, 1, 2]);

    let [plain, compressed, last] = &listing.archives[..] else {
        panic!("{:?}", listing.archives);
    };
    assert_eq!((plain.offset, plain.size), (0, first.len() as u64));
    assert_eq!(plain.sha256, Sha256Digest::of(&first));
    assert_eq!(plain.sha256, plain.unpacked_sha256);
    assert_eq!(compressed.offset, first.len() as u64 + 512);
    assert_eq!(compressed.compression, Some(Compression::Gzip));
    assert_eq!(compressed.unpacked_size, compressed.size - 6);
    assert_eq!(last.sha256, Sha256Digest::of(&packed(&third)));
    assert_eq!(last.unpacked_sha256, Sha256Digest::of(&third));
    assert_eq!(last.unpacked_size, third.len() as u64);
}

#[test]
fn later_file_takes_the_place_of_an_earlier_one() {
    let directory = File {
        mode: 0o040_755,
        ..file("etc", "")
    };
    let first = archive(&[directory.clone(), file("etc/os-release", "old")]);
    let second = archive(&[directory, file("/etc//os-release", "new")]);
    let listing = whole(&[first, second].concat());
    assert_eq!(listing.entries.len(), 4);
    let files = listing.files();
    assert_eq!(files.len(), 2);
    assert_eq!(files["etc/os-release"].sha256, Sha256Digest::of(b"new"));
    let replaced: Vec<_> = listing
        .replaced()
        .iter()
        .map(|(old, new)| (old.archive, new.archive, new.path.clone()))
        .collect();
    assert_eq!(replaced, [(0, 1, "etc/os-release".to_owned())]);
}

#[test]
fn trailer_ends_an_archive_whatever_comes_with_it() {
    let mut strange = trailer();
    strange.contents = b"ignored by the kernel".to_vec();
    strange.path = b"TRAILER!!!\0more".to_vec();
    let bytes = [strange.write(None), archive(&[file("a", "")])].concat();
    let listing = whole(&bytes);
    assert_eq!((paths(&listing), listing.archives.len()), (vec!["a"], 2));
    // The kernel needs none.
    assert_eq!(paths(&whole(&file("a", "x").write(None))), ["a"]);
    // A file may be named like it in a directory.
    assert_eq!(
        paths(&whole(&archive(&[file("x/TRAILER!!!", "")]))),
        ["x/TRAILER!!!"]
    );
}

#[test]
fn hard_links_share_the_contents_of_the_one_that_has_them() {
    let name = |path, contents, inode| File {
        links: 2,
        inode,
        ..file(path, contents)
    };
    let data = Sha256Digest::of(b"data");
    let files = [
        name("first", "", 7),
        name("other", "else", 8),
        name("last", "data", 7),
    ];
    for bytes in [archive(&files), packed(&archive(&files))] {
        let listing = whole(&bytes);
        let files = listing.files();
        assert_eq!((files["first"].size, files["first"].sha256), (4, data));
        assert_eq!(files["last"].sha256, data);
        assert_eq!(files["other"].sha256, Sha256Digest::of(b"else"));
    }
    // Another archive has other inodes, even in the same stream.
    let two = [
        archive(&[name("first", "", 7)]),
        archive(&[name("last", "data", 7)]),
    ]
    .concat();
    for bytes in [two.clone(), packed(&two)] {
        assert_eq!(whole(&bytes).files()["first"].size, 0);
    }
}

#[test]
fn symbolic_link_has_a_target() {
    let link = File {
        mode: 0o120_777,
        ..file("bin", "usr/bin")
    };
    let listing = whole(&archive(&[link]));
    assert_eq!(listing.entries[0].target.as_deref(), Some("usr/bin"));
    assert_eq!(listing.entries[0].kind(), "symbolic link");
}

#[test]
fn checksum_is_checked_where_there_is_one() {
    let foo = file("foo", "abc");
    let sum = u32::from(b'a') + u32::from(b'b') + u32::from(b'c');
    assert_eq!(paths(&whole(&foo.write(Some(sum)))), ["foo"]);
    assert_eq!(
        error(&foo.write(Some(1))),
        "expected the bytes of foo to sum up to 0x00000001, got 0x00000126"
    );
    // A link's name without contents, as cpio writes it.
    assert_eq!(paths(&whole(&file("foo", "").write(Some(sum)))), ["foo"]);
}

#[test]
fn what_cannot_be_unpacked_is_digested_and_what_came_before_is_listed() {
    let first = archive(&[file("early", "1")]);
    let rest = [&[0x42, 0x5a][..], b"h9 and so on", &[0; 5]].concat();
    let listing = listed(&[&first[..], &rest].concat());
    assert_eq!(paths(&listing), ["early"]);
    let unreadable = listing.unreadable.unwrap();
    assert_eq!(unreadable.offset, first.len() as u64);
    assert_eq!(unreadable.size, rest.len() as u64);
    assert_eq!(unreadable.sha256, Sha256Digest::of(&rest));
    assert_eq!(
        unreadable.reason.to_string(),
        "bzip2 data of this kind cannot be unpacked here"
    );
}

#[test]
fn damage_is_named_with_its_place() {
    let foo = file("foo", "contents").write(None);
    let with = |at: usize, bytes: &[u8]| {
        let mut foo = foo.clone();
        foo[at..at + bytes.len()].copy_from_slice(bytes);
        foo
    };
    let path_size = 6 + 11 * 8;
    for (bytes, expected) in [
        (b"junk".to_vec(), "at byte 0, got 6a75"),
        (b"0707070000".repeat(20), "at byte 0, got 303730373037"),
        ([&[0; 2][..], &foo].concat(), "at byte 2, got 3037"),
        (packed(b"\0\0junk"), "at byte 2, got 6a756e6b"),
        (with(6, b"0000000g"), "got \"0000000g\""),
        (with(6, b"+0000001"), "got \"+0000001\""),
        (
            with(path_size, b"00000000"),
            "the path to be terminated by NUL",
        ),
        (
            with(path_size, b"00000003"),
            "terminated by NUL in the entry at byte 0, got foo",
        ),
        (
            with(path_size, b"00001001"),
            "at most 4096 bytes in the entry at byte 0, got 4097",
        ),
        (with(path_size, b"FFFFFFFF"), "got 4294967295"),
        (
            with(6 + 6 * 8, b"FFFFFFFF"),
            "expected 4294967287 more bytes of a file's contents",
        ),
        (
            foo[..100].to_vec(),
            "expected 10 more bytes of an entry's header at byte 100",
        ),
        (
            foo[..112].to_vec(),
            "expected 2 more bytes of a path at byte 112",
        ),
        (
            packed(&foo[..118]),
            "expected 6 more bytes of a file's contents at byte 118",
        ),
        (
            packed(&foo)[..50].to_vec(),
            "more bytes of an entry's header",
        ),
        (vec![0x1f, 0x8b, 0], "the gzip data is damaged"),
    ] {
        let error = error(&bytes);
        assert!(error.contains(expected), "{expected}\n{error}");
    }
    let link = File {
        mode: 0o120_777,
        ..file("l", &"x".repeat(4097))
    };
    assert!(error(&link.write(None)).contains("a link's target to be at most 4096 bytes"));
}

#[test]
fn decoder_that_reads_nothing_does_not_go_on_for_ever() {
    let listing = list(&[0x1f, 0x8b, 1, 2][..], |_, _| Ok(Box::new(io::empty()))).unwrap();
    assert!(matches!(
        listing.unreadable.unwrap().reason,
        ArchiveError::Damaged { .. }
    ));
}

#[test]
fn bombs_stop_at_the_limits() {
    let endless = |limits, entry: Vec<u8>| {
        let listing = list_within(limits, &[0x1f, 0x8b][..], |_, from| {
            from.consume(2);
            Ok(Box::new(Repeat(Cursor::new(entry.clone()))))
        });
        let listing = listing.unwrap();
        listing.unreadable.unwrap().reason.to_string()
    };
    let small = || Limits {
        unpacked: 1 << 20,
        ..Limits::default()
    };
    let entry = file("a", &"x".repeat(4000)).write(None);
    assert_eq!(
        endless(small(), entry.clone()),
        "expected at most 4294967296 bytes when unpacked, got more"
    );
    assert!(endless(small(), vec![0; 4096]).contains("bytes when unpacked"));
    assert!(endless(small(), trailer().write(None)).contains("bytes when unpacked"));
    let few = Limits {
        entries: 10,
        ..Limits::default()
    };
    assert_eq!(
        endless(few, entry),
        "expected at most 1000000 entries, got more"
    );
    let long = file(&"p/".repeat(2000), "").write(None);
    let short = Limits {
        text: 50_000,
        ..Limits::default()
    };
    assert_eq!(
        endless(short, long),
        "expected at most 67108864 bytes of paths, got more"
    );
    // Archives without entries are counted too.
    let few = Limits {
        entries: 10,
        ..Limits::default()
    };
    let many = packed(&[]).repeat(11);
    let listing = list_within(few, &many[..], unpack).unwrap();
    assert_eq!(listing.archives.len(), 10);
    assert!(listing.unreadable.is_some());
}

/// The same bytes over and over.
struct Repeat(Cursor<Vec<u8>>);

impl Read for Repeat {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.0.position() == self.0.get_ref().len() as u64 {
            self.0.set_position(0);
        }
        self.0.read(to)
    }
}

#[test]
fn failing_reader_is_an_error_even_if_a_decoder_hides_it() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk on fire"))
        }
    }
    let plain = archive(&[file("a", "1")]);
    for size in [0, 2, 4, 60, plain.len()] {
        for bytes in [&plain[..size], &packed(&plain)[..size]] {
            let error = list(bytes.chain(Failing), unpack).unwrap_err();
            assert_eq!(error.to_string(), "disk on fire", "{size}");
        }
    }
}

#[test]
fn reader_that_gives_single_bytes_makes_no_difference() {
    struct Slow<'b>(&'b [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let one = to.len().min(1);
            self.0.read(&mut to[..one])
        }
    }
    let plain = archive(&[file("a", "1"), file("b", "2")]);
    let initrd = [&plain[..], &[0; 4], &packed(&plain)].concat();
    let slow = list(Slow(&initrd), unpack).unwrap();
    let fast = whole(&initrd);
    assert_eq!(slow.entries, fast.entries);
    assert_eq!(slow.archives, fast.archives);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_listed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let listing = listed(&bytes);
        let listed: u64 = listing.archives.iter().map(|a| a.size).sum();
        let rest = listing.unreadable.map_or(0, |u| u.size);
        prop_assert!(listed + rest <= bytes.len() as u64);
    }

    #[test]
    fn changed_archives_are_listed_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        is_packed: bool,
    ) {
        let plain = archive(&[file("a", "contents"), file("usr/lib/b", "more"), file("c", "")]);
        let mut bytes = if is_packed { packed(&plain) } else { plain };
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let listing = listed(&bytes);
        let files = listing.files().len();
        prop_assert!(files <= listing.entries.len());
    }

    #[test]
    fn what_was_written_is_listed(
        files in prop::collection::btree_map("[a-z]{1,9}(/[a-z]{1,9}){0,3}", ".{0,50}", 0..20),
    ) {
        let written: Vec<_> = files.iter().map(|(path, contents)| file(path, contents)).collect();
        let listing = listed(&archive(&written));
        prop_assert!(listing.unreadable.is_none());
        let read = listing.files();
        prop_assert_eq!(read.len(), files.len());
        for (path, contents) in &files {
            prop_assert_eq!(read[path.as_str()].sha256, Sha256Digest::of(contents.as_bytes()));
        }
    }
}
