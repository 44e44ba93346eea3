//! A machine with a data disk, made of files, and programs that do to it what the real ones do.

#![allow(dead_code, unused_imports, reason = "each test program uses a part")]

#[path = "../../../encrypted-disk/tests/support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub(crate) use support::Machine;
pub(crate) use support::machine::{BOOT, DATA};

/// The disk's serial.
pub(crate) const SERIAL: &str = "60022480aa";

pub(crate) const KEY: &str = "00112233445566778899aabbccddeeff";
pub(crate) const OTHER_KEY: &str = "ffeeddccbbaa99887766554433221100";

const PROGRAMS: [&str; 8] = [
    "blkid",
    "wipefs",
    "cryptsetup",
    "mkfs.ext4",
    "e2fsck",
    "resize2fs",
    "systemd-mount",
    "dmsetup",
];

/// All of them: each says when it begins and ends.
const PROGRAM: &str = r#"#!/bin/sh
root=ROOT
name=${0##*/}
code=0
echo "begin $name $*" >> $root/calls
case $name in
blkid) code=2 ;;
wipefs) cat $root/signatures 2> /dev/null ;;
cryptsetup)
    cat > /dev/null
    for word in "$@"; do
        case $word in --header=*) header=${word#--header=} ;; esac
    done
    case "$*" in
    luksFormat*) cp $root/header "$header" ;;
    luksChangeKey*) [ ! -e $root/keeps-key ] || code=1 ;;
    *--test-passphrase*) ;;
    open*)
        for place in $root/sys/block/dm-5 $root/sys/devices/sdb-block/holders/dm-5; do
            mkdir -p $place/dm
            echo data > $place/dm/name
            echo CRYPT-LUKS2-0-data > $place/dm/uuid
            echo 253:5 > $place/dev
        done
        mkdir -p $root/sys/block/dm-5/slaves
        ln -s $root/sys/devices/sdb-block $root/sys/block/dm-5/slaves/sdb ;;
    esac ;;
mkfs.ext4) while [ -e $root/slow ]; do sleep 0.05; done ;;
e2fsck) [ ! -e $root/fsck ] || code=$(cat $root/fsck) ;;
systemd-mount)
    case "$*" in
    *--umount*)
        mounts=$(grep -v ' /persistent ' $root/proc/self/mountinfo)
        echo "$mounts" > $root/proc/self/mountinfo ;;
    *) echo '90 22 253:5 / /persistent rw - ext4 /dev/mapper/data rw' >> $root/proc/self/mountinfo ;;
    esac ;;
dmsetup) rm -r $root/sys/block/dm-5 $root/sys/devices/sdb-block/holders/dm-5 ;;
esac
echo "end $name" >> $root/calls
exit $code
"#;

/// Puts the programs into the machine; where.
pub(crate) fn programs(machine: &Machine) -> String {
    let root = machine.root.path().to_str().unwrap();
    let path = format!("{root}/bin:/usr/bin:/bin");
    if machine.path("bin").exists() {
        return path;
    }
    let header = support::header::header(support::header::JSON.as_bytes());
    fs::write(machine.path("header"), header).unwrap();
    machine.write("calls", "");
    machine.write("bin/program", &PROGRAM.replace("ROOT", root));
    let program = machine.path("bin/program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in PROGRAMS {
        symlink(&program, machine.path("bin").join(name)).unwrap();
    }
    path
}

/// Everything that began and ended, in order.
pub(crate) fn calls(machine: &Machine) -> Vec<String> {
    let calls = fs::read_to_string(machine.path("calls")).unwrap();
    calls.lines().map(str::to_owned).collect()
}

/// How often a program began.
pub(crate) fn began(machine: &Machine, call: &str) -> usize {
    let begin = format!("begin {call}");
    let calls = calls(machine);
    calls.iter().filter(|it| it.starts_with(&begin)).count()
}

/// Whether no program began before the one before it had ended.
pub(crate) fn is_one_at_a_time(calls: &[String]) -> bool {
    let pairs = calls.chunks(2);
    pairs.into_iter().all(|pair| match pair {
        [begin, end] => begin.starts_with("begin ") && end.starts_with("end "),
        _ => true,
    })
}

pub(crate) fn root(machine: &Machine) -> PathBuf {
    Path::to_owned(machine.root.path())
}
