//! The chains that are booted.
//!
//! I/O: none.

use measurements::Assumptions;
use testkit::make::uki::{Profile, Recipe};

use super::layout::Layout;

/// One chain, whatever its stub.
#[derive(Debug)]
pub(super) struct Variant {
    /// Its name, for `--only`.
    pub(super) name: &'static str,
    /// What it shows.
    pub(super) what: &'static str,
    /// What is on the disk.
    pub(super) layout: fn() -> Layout,
}

/// Booted with the tools tree's stub, whose rules are those of the image.
pub(super) const OWN_STUB: &[Variant] = &[
    Variant {
        name: "loader-version",
        what: "systemd-boot starts the UKI of the newer version, not the one of the later name",
        layout: loader_version,
    },
    Variant {
        name: "loader-profile",
        what: "systemd-boot starts the second profile, which loader.conf says",
        layout: loader_profile,
    },
    Variant {
        name: "profiles",
        what: "a UKI with two profiles, which the firmware starts, takes the first",
        layout: profiles,
    },
    Variant {
        name: "odd-text",
        what: "a command line with all that the stub changes: white space, broken and wide text",
        layout: odd_text,
    },
    Variant {
        name: "no-text",
        what: "a UKI without a command line",
        layout: no_text,
    },
    Variant {
        name: "no-initrd",
        what: "a UKI without initrd and os-release, so that the kernel is given none",
        layout: no_initrd,
    },
    Variant {
        name: "all-sections",
        what: "a UKI with microcode, splash, key, signature; one larger in memory than on disk",
        layout: all_sections,
    },
];

/// Booted with each further stub.
pub(super) const EVERY_STUB: &[Variant] = &[
    Variant {
        name: "direct",
        what: "a plain UKI, which the firmware starts",
        layout: direct,
    },
    Variant {
        name: "loader",
        what: "a plain UKI, which systemd-boot starts",
        layout: loader,
    },
];

/// Without `console=`, newer stubs add what the machine has.
const TEXT: &str = "console=ttyS0 panic=-1";
const OS_RELEASE: &str = "ID=chain\nIMAGE_ID=chain\nNAME=\"Chain\"\nVERSION_ID=1\n";

/// Keeps stubs from 261 on from adding a secret of the machine to the initrd, which they make of
/// this file if it has 32 bytes: systemd v261 `src/boot/boot-secret.c`.
const NO_SECRET: (&str, &str) = ("loader/boot-secret-mixin", "none\n");

/// What `mangle_stub_cmdline` and `xstrn8_to_16` of systemd's stub have to do with: white space
/// of all kinds, two, three and four bytes, invalid bytes, a sequence without its end, a surrogate,
/// a C1 control, DEL, and more behind a NUL.
const ODD_TEXT: &[u8] =
    b" \t console=ttyS0\t\tpanic=-1  b=\xc3\xa4\xe2\x82\xac f=\xf0\x9f\x98\x80! \
    x=\x7f. bad=\xff\xfe\xc3y s=\xed\xa0\x80. c1=\xc2\x85. quiet \x7f\t \n\0behind";

/// A UKI with what every UKI has.
fn plain() -> Recipe {
    Recipe {
        command_line: Some(TEXT.into()),
        os_release: Some(OS_RELEASE.to_owned()),
        initrd: Some(initrd()),
        uname: Some("6.12-chain".to_owned()),
        ..Recipe::default()
    }
}

/// Never unpacked. Its length is no multiple of 4, so that what follows it is padded.
fn initrd() -> Vec<u8> {
    (0..50_001u32).map(|i| i.to_le_bytes()[0] ^ 0x5a).collect()
}

fn of_version(version: &str) -> Recipe {
    Recipe {
        os_release: Some(format!("{OS_RELEASE}IMAGE_VERSION={version}\n")),
        ..plain()
    }
}

fn with_profiles() -> Recipe {
    let profile = |id: &str, command_line| Profile {
        text: format!("ID={id}\nTITLE=Profile {id}\n"),
        command_line,
    };
    let second = profile("second", Some(format!("{TEXT} second")));
    Recipe {
        profiles: vec![profile("main", None), second],
        ..plain()
    }
}

fn direct() -> Layout {
    Layout {
        files: vec![NO_SECRET],
        ..Layout::direct(plain())
    }
}

fn loader() -> Layout {
    Layout {
        ukis: vec![("EFI/Linux/chain.efi", plain())],
        has_loader: true,
        files: vec![NO_SECRET],
        started: "EFI/Linux/chain.efi",
        ..Layout::default()
    }
}

fn loader_version() -> Layout {
    Layout {
        ukis: vec![
            ("EFI/Linux/zz.efi", of_version("1.9")),
            ("EFI/Linux/aa.efi", of_version("1.10")),
        ],
        has_loader: true,
        started: "EFI/Linux/aa.efi",
        ..Layout::default()
    }
}

fn loader_profile() -> Layout {
    Layout {
        ukis: vec![("EFI/Linux/chain.efi", with_profiles())],
        files: vec![(
            "loader/loader.conf",
            "timeout 0\ndefault chain.efi@second\n",
        )],
        assumptions: Assumptions {
            entry: Some("chain.efi".to_owned()),
            profile: 1,
            ..Assumptions::default()
        },
        ..loader()
    }
}

fn profiles() -> Layout {
    Layout::direct(with_profiles())
}

fn odd_text() -> Layout {
    Layout::direct(Recipe {
        command_line: Some(ODD_TEXT.to_vec()),
        ..plain()
    })
}

fn no_text() -> Layout {
    Layout::direct(Recipe {
        command_line: None,
        ..plain()
    })
}

fn no_initrd() -> Layout {
    Layout::direct(Recipe {
        initrd: None,
        os_release: None,
        ..plain()
    })
}

fn all_sections() -> Layout {
    Layout::direct(Recipe {
        sbat: Some("sbat,1,SBAT Version\nchain,1,Chain,chain,1,none\n".to_owned()),
        microcode: Some(initrd().into_iter().rev().take(1001).collect()),
        splash: Some(splash()),
        signature: Some(b"{\"sha256\":[]}\n".to_vec()),
        key: Some(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_vec()),
        stretched: Some(".osrel"),
        ..plain()
    })
}

/// A BMP of 8 by 8 pixels of 32 bits: BITMAPFILEHEADER, BITMAPINFOHEADER, pixels.
fn splash() -> Vec<u8> {
    let pixels = [0x10, 0x20, 0x30, 0].repeat(64);
    let mut bmp = b"BM".to_vec();
    let numbers = [
        54 + 256,
        0,
        54,
        40,
        8,
        8,
        0x20_0001,
        0,
        256,
        2835,
        2835,
        0,
        0u32,
    ];
    bmp.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bmp.extend(pixels);
    bmp
}

#[cfg(test)]
mod tests {
    use super::super::layout::FALLBACK;
    use super::*;

    #[test]
    fn what_must_be_started_is_on_the_disk() {
        for variant in OWN_STUB.iter().chain(EVERY_STUB) {
            let layout = (variant.layout)();
            let is_there = layout.ukis.iter().any(|(path, _)| *path == layout.started);
            assert!(is_there, "{}", variant.name);
            assert_eq!(layout.has_loader, layout.started != FALLBACK);
        }
    }

    #[test]
    fn splash_is_as_long_as_it_says() {
        let splash = splash();
        assert_eq!(splash.len(), 54 + 256);
        assert_eq!(splash[2..6], 310u32.to_le_bytes());
    }

    #[test]
    fn initrd_is_padded_when_something_follows() {
        assert_ne!(initrd().len() % 4, 0);
    }
}
