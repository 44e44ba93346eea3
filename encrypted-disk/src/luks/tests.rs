use proptest::prelude::*;

use super::*;

#[path = "../../tests/support/header.rs"]
mod sample;

use sample::{JSON, header, seal};

fn parse(header: &[u8]) -> Result<Header, HeaderError> {
    Header::parse(header, KeyDerivation::Pbkdf2)
}

/// The error for metadata in which one text is replaced.
fn refused(from: &str, to: &str) -> String {
    assert!(JSON.contains(from), "{from}");
    parse(&header(JSON.replacen(from, to, 1).as_bytes()))
        .unwrap_err()
        .to_string()
}

#[test]
fn header_of_cryptsetup_is_accepted() {
    let parsed = parse(&header(JSON.as_bytes())).unwrap();
    assert_eq!(parsed.uuid, "0553794b-e313-4c49-a16c-19ea98a2c0d6");
    assert_eq!(parsed.sequence, 3);
}

#[test]
fn null_cipher_is_refused() {
    let segment = r#""encryption":"aes-xts-plain64","sector_size""#;
    let error = refused(segment, r#""encryption":"cipher_null-ecb","sector_size""#);
    assert_eq!(
        error,
        "segments.encryption is cipher_null-ecb, expected aes-xts-plain64"
    );
    let area = r#""encryption":"aes-xts-plain64","key_size""#;
    let error = refused(area, r#""encryption":"cipher_null-ecb","key_size""#);
    assert_eq!(
        error,
        "keyslots.area.encryption is cipher_null-ecb, expected aes-xts-plain64"
    );
}

#[test]
fn what_there_is_too_much_of_is_refused() {
    let linear = r#""segments":{"1":{"type":"linear","offset":"0","size":"dynamic"},"#;
    assert!(refused(r#""segments":{"#, linear).contains("missing field `iv_tweak`"));
    let segment = r#"{"type":"crypt","offset":"16777216","size":"dynamic","iv_tweak":"0","encryption":"aes-xts-plain64","sector_size":4096}"#;
    let two = format!(r#""segments":{{"1":{segment},"#);
    assert_eq!(refused(r#""segments":{"#, &two), "2 segments, expected 1");
    // The same one twice: readers differ in which of them they take.
    let twice = format!(r#""segments":{{"0":{segment},"#);
    assert!(refused(r#""segments":{"#, &twice).contains("the same number twice"));
    let none = r#""segments":{},"spare":{"#;
    assert!(refused(r#""segments":{"#, none).contains("unknown field `spare`"));
    let token = r#""tokens":{"0":{"type":"systemd-tpm2","keyslots":["0"]}}"#;
    assert_eq!(refused(r#""tokens":{}"#, token), "1 tokens, expected 0");
}

#[test]
fn requirements_and_flags_are_refused() {
    for extra in [
        r#","requirements":{"mandatory":["online-reencrypt"]}}}"#,
        r#","requirements":{}}}"#,
        r#","flags":["allow-discards"]}}"#,
    ] {
        let json = format!("{}{extra}", JSON.strip_suffix("}}").unwrap());
        let error = parse(&header(json.as_bytes())).unwrap_err();
        assert!(matches!(error, HeaderError::Json(_)), "{error}");
    }
    assert!(
        refused(
            r#""type":"luks2","#,
            r#""type":"reencrypt","mode":"reencrypt","#
        )
        .contains("mode")
    );
    assert!(
        refused(
            r#""sector_size":4096"#,
            r#""sector_size":4096,"integrity":{}"#
        )
        .contains("integrity")
    );
    assert!(
        refused(
            r#""sector_size":4096"#,
            r#""sector_size":4096,"flags":["backup-final"]"#
        )
        .contains("flags")
    );
}

#[test]
fn every_value_has_its_list() {
    for (from, to, error) in [
        (
            r#""type":"luks2""#,
            r#""type":"null""#,
            "keyslots.type is null",
        ),
        (
            r#""key_size":64,"af""#,
            r#""key_size":32,"af""#,
            "keyslots.key_size is 32",
        ),
        ("4000", "1", "keyslots.af.stripes is 1"),
        (
            r#""hash":"sha256"},"area""#,
            r#""hash":"sha1"},"area""#,
            "keyslots.af.hash is sha1",
        ),
        ("\"32768\"", "\"0\"", "keyslots.area.offset is 0"),
        ("\"32768\"", "\"16384\"", "keyslots.area.offset is 16384"),
        (
            "\"32768\"",
            "\"4194304\"",
            "keyslots.area.offset is 4194304",
        ),
        (
            "\"32768\"",
            "\"16777216\"",
            "keyslots.area.offset is 16777216",
        ),
        ("\"32768\"", "\"32769\"", "keyslots.area.offset is 32769"),
        ("\"258048\"", "\"8388608\"", "keyslots.area.size is 8388608"),
        ("\"16777216\"", "\"0\"", "segments.offset is 0"),
        ("\"dynamic\"", "\"4096\"", "segments.size is 4096"),
        (
            r#""iv_tweak":"0""#,
            r#""iv_tweak":"8""#,
            "segments.iv_tweak is 8",
        ),
        ("4096}", "512}", "segments.sector_size is 512"),
        (
            r#""type":"crypt""#,
            r#""type":"linear""#,
            "segments.type is linear",
        ),
        (
            r#""iterations":1000,"salt":"W"#,
            r#""iterations":1,"salt":"W"#,
            "keyslots.kdf.iterations is 1",
        ),
        (
            r#""iterations":1000,"salt":"0"#,
            r#""iterations":4000000000,"salt":"0"#,
            "digests.iterations is 4000000000",
        ),
        (
            r#""keyslots":["0"]"#,
            r#""keyslots":[]"#,
            "digests.keyslots is ",
        ),
        (
            r#""segments":["0"]"#,
            r#""segments":["1"]"#,
            "digests.segments is 1",
        ),
        (
            r#""keyslots":["0"]"#,
            r#""keyslots":["0","1"]"#,
            "digests.keyslots is 0 1",
        ),
        ("W8AN", "!8AN", "keyslots.kdf.salt is !8AN"),
        ("fY5U1AP6vvnzk=", "", "digests.digest is "),
        ("\"12288\"", "\"4096\"", "config.json_size is 4096"),
        (
            "\"4161536\"",
            "\"16744448\"",
            "config.keyslots_size is 16744448",
        ),
        (
            "\"32768\"",
            "\"032768\"",
            "the metadata: not a decimal number",
        ),
        ("\"32768\"", "\"-1\"", "the metadata: not a decimal number"),
        ("\"32768\"", "32768", "the metadata: invalid type: integer"),
        (
            r#""0":{"type":"crypt""#,
            r#""256":{"type":"crypt""#,
            "the metadata: number too large",
        ),
        (
            r#""stripes":4000"#,
            r#""stripes":4000,"stripes":4000"#,
            "the metadata: duplicate field",
        ),
    ] {
        let actual = refused(from, to);
        assert!(actual.starts_with(error), "{from} → {to}: {actual}");
    }
}

#[test]
fn argon2id_takes_a_word() {
    let pbkdf2 = r#""type":"pbkdf2","hash":"sha256","iterations":1000,"salt":"W"#;
    let json = |memory: u32| {
        let argon = format!(r#""type":"argon2id","time":4,"memory":{memory},"cpus":2,"salt":"W"#);
        header(JSON.replace(pbkdf2, &argon).as_bytes())
    };
    let error = parse(&json(1 << 20)).unwrap_err().to_string();
    assert_eq!(error, "keyslots.kdf.type is argon2id, expected pbkdf2");
    assert!(Header::parse(&json(1 << 20), KeyDerivation::Argon2idToo).is_ok());
    // Four terabytes would end the machine.
    let error = Header::parse(&json(u32::MAX), KeyDerivation::Argon2idToo).unwrap_err();
    assert!(
        error.to_string().starts_with("keyslots.kdf.memory"),
        "{error}"
    );
}

#[test]
fn binary_fields_are_checked() {
    let good = header(JSON.as_bytes());
    for (offset, value, expected) in [
        (0, b'l', "first copy: magic"),
        (7, 1, "first copy: version is 1, expected 2"),
        (13, 1, "first copy: hdr_size"),
        (24, b'x', "first copy: label is \"x\", expected"),
        (77, b'7', "first copy: csum_alg"),
        (168, b'G', "first copy: uuid"),
        (208, b'x', "first copy: subsystem"),
        (263, 1, "first copy: hdr_offset"),
        (300, 1, "first copy: padding"),
        (600, 1, "first copy: padding"),
        (16384, b'L', "second copy: magic"),
        (
            16384 + 263,
            1,
            "second copy: hdr_offset is 16385, expected 16384",
        ),
        (16384 + 23, 4, "the copies differ in seqid"),
        (16384 + 168, b'1', "the copies differ in uuid"),
    ] {
        let mut bad = good.clone();
        bad[offset] = value;
        seal(&mut bad);
        let error = parse(&bad).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{offset}: {error}");
    }
}

#[test]
fn copies_have_to_be_whole_and_equal() {
    let good = header(JSON.as_bytes());
    for (offset, copy) in [(4200, "first"), (16384 + 4200, "second"), (110, "first")] {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        assert_eq!(parse(&bad), Err(HeaderError::Checksum { copy }));
    }
    let mut bad = good.clone();
    let other = JSON.replace("sha256", "sha512");
    bad[16384 + 4096..][..other.len()].copy_from_slice(other.as_bytes());
    seal(&mut bad);
    assert_eq!(parse(&bad), Err(HeaderError::Differ { field: "the JSON" }));
    let mut bad = header(format!("{JSON}\0x").as_bytes());
    assert_eq!(parse(&bad), Err(HeaderError::Trailing));
    bad.truncate(32768);
    assert_eq!(parse(&bad), Err(HeaderError::Size { actual: 32768 }));
}

#[test]
fn what_the_disk_says_is_short_and_plain_in_errors() {
    let long = format!("\"\\u001b[31m{}\"", "x".repeat(1000));
    let error = refused("\"dynamic\"", &long);
    assert!(error.len() < 200 && !error.contains('\u{1b}'), "{error}");
    let error = refused("\"tokens\"", &format!("\"{}\"", "y".repeat(1000)));
    assert!(error.len() < 300, "{error}");
}

proptest! {
    #[test]
    fn nothing_panics(
        at in 0..JSON.len(),
        length in 0..20_usize,
        text in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut json = JSON.as_bytes().to_vec();
        json.splice(at..(at + length).min(JSON.len()), text);
        let _ = parse(&header(&json));
    }

    #[test]
    fn any_flipped_byte_of_the_metadata_is_refused(at in 0..32768_usize, bit in 0..8) {
        let mut bad = header(JSON.as_bytes());
        bad[at] ^= 1_u8 << bit;
        prop_assert!(parse(&bad).is_err());
    }
}
