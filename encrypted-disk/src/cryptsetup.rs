//! What cryptsetup is asked to do.
//!
//! It never finds a header by itself: each call names the copy in memory. Keys come on standard
//! input, whole, without a line feed; locks are for headers on disks.
//!
//! I/O: none.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::key::Key;
use crate::layout::{BLOCK, DATA_OFFSET, KEYSLOTS_BYTES, METADATA_BYTES, SECTOR};
use crate::run::Call;
use crate::settings::Settings;

/// cryptsetup's exit code when no keyslot takes the key.
pub(crate) const NO_KEY: i32 = 2;

/// A disk that comes and goes may keep a call waiting.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// Where the data begin, in sectors.
const OFFSET: u64 = DATA_OFFSET / SECTOR as u64;

const WHOLE_INPUT: &str = "--key-file=-";
const PBKDF2: [&str; 3] = [
    "--pbkdf=pbkdf2",
    // Enough for a key that is one; see `key`.
    "--pbkdf-force-iterations=1000",
    "--hash=sha256",
];

fn call<'a>(action: &str, header: &Path, key: &'a Key) -> Call<'a> {
    Call::new("cryptsetup", [action, "--batch-mode", "--disable-locks"])
        .and(option("--header", header))
        .with_input(key.as_bytes())
        .within(LIMIT)
}

fn option(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(name);
    option.push("=");
    option.push(value);
    option
}

/// Makes a header. The disk is only asked how large it is.
pub(crate) fn format<'a>(header: &Path, disk: &Path, key: &'a Key) -> Call<'a> {
    let numbers = [
        option("--offset", OFFSET.to_string()),
        option("--sector-size", BLOCK.to_string()),
        option("--luks2-metadata-size", METADATA_BYTES.to_string()),
        option("--luks2-keyslots-size", KEYSLOTS_BYTES.to_string()),
    ];
    let mut call = call("luksFormat", header, key);
    call.arguments.extend(numbers);
    call.arguments.extend(PBKDF2.map(Into::into));
    call.and("--type=luks2")
        .and("--cipher=aes-xts-plain64")
        .and("--key-size=512")
        .and(WHOLE_INPUT)
        .and(disk)
}

/// Asks whether a keyslot takes the key.
pub(crate) fn try_key<'a>(header: &Path, key: &'a Key) -> Call<'a> {
    call("open", header, key)
        .and("--type=luks2")
        .and("--test-passphrase")
        .and(WHOLE_INPUT)
        // It is not opened, and has to be there.
        .and(header)
}

/// Maps the data.
pub(crate) fn open<'a>(
    header: &Path,
    device: &Path,
    key: &'a Key,
    settings: &Settings,
) -> Call<'a> {
    let mut call = call("open", header, key)
        .and("--type=luks2")
        // Disks are fast and there are cores: queues cost latency.
        .and("--perf-no_read_workqueue")
        .and("--perf-no_write_workqueue");
    if settings.discards {
        call = call.and("--allow-discards");
    }
    call.and(WHOLE_INPUT).and(device).and(&settings.mapping)
}

/// Makes the mapping as large as the disk is now.
pub(crate) fn resize<'a>(header: &Path, key: &'a Key, settings: &Settings) -> Call<'a> {
    call("resize", header, key)
        .and(WHOLE_INPUT)
        .and(&settings.mapping)
}

/// Puts another key in the place of one. `lines` are the old and the new one, see [`Key::lines`]: without
/// a key file, cryptsetup reads one line for each.
pub(crate) fn change_key<'a>(header: &Path, lines: &'a [u8]) -> Call<'a> {
    let arguments = ["luksChangeKey", "--batch-mode", "--disable-locks"];
    let mut call = Call::new("cryptsetup", arguments)
        .with_input(lines)
        .within(LIMIT);
    call.arguments.extend(PBKDF2.map(Into::into));
    call.and(header)
}

/// Removes the mapping. `cryptsetup close` would first read the header that is on the disk now, whoever
/// has written it; the device mapper knows all that is needed.
pub(crate) fn close(settings: &Settings) -> Call<'static> {
    Call::new("dmsetup", ["remove", settings.mapping.as_str()])
}
