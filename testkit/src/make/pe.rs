//! Changes section headers of a UKI in ways that ukify does not offer.
//!
//! Deliberately not the parser of `measurements`, which is what is tested: this one trusts the
//! file. Microsoft, PE Format: "Section Table (Section Headers)".
//!
//! I/O: none.

use super::MakeError;

const HEADER: usize = 40;
/// Sections begin at whole pages in memory, which is therefore how far one may reach.
const PAGE: u32 = 4096;

/// Where the fields of a section's header are.
#[derive(Clone, Copy, Debug)]
struct Section {
    header: usize,
    virtual_size: u32,
    address: u32,
    stored: u32,
    offset: u32,
}

/// Puts `contents` in place of a section's, which is as long or longer.
pub(super) fn replace(uki: &mut [u8], name: &str, contents: &[u8]) -> Result<(), MakeError> {
    let section = find(uki, name)?;
    let start = section.offset as usize;
    let stored = uki
        .get_mut(start..start + section.stored as usize)
        .filter(|stored| contents.len() <= stored.len())
        .ok_or(MakeError::Uki(
            "the section has no room for what is to be in it",
        ))?;
    stored.fill(0);
    for (place, byte) in stored.iter_mut().zip(contents) {
        *place = *byte;
    }
    let size = u32::try_from(contents.len()).map_err(|_| MakeError::Uki("too much"))?;
    set_virtual_size(uki, section, size)
}

/// Makes a section as large in memory as the page that it ends in, but for a few bytes, so that
/// it is larger there than in the file.
pub(super) fn stretch(uki: &mut [u8], name: &str) -> Result<(), MakeError> {
    let section = find(uki, name)?;
    let larger = section.virtual_size.next_multiple_of(PAGE) - 5;
    if larger <= section.stored {
        return Err(MakeError::Uki("the section fills its page"));
    }
    set_virtual_size(uki, section, larger)
}

/// Cuts off in memory what of a section lies over the next one; returns how many were cut.
///
/// ukify writes a longer `.sbat` into the stub's own section, and does not look what comes behind
/// it in memory: with the stub of systemd 252, whose sections are 256 bytes apart, `.sdmagic`.
pub(super) fn part(uki: &mut [u8]) -> Result<usize, MakeError> {
    let all = sections(uki)?;
    let mut cut = 0;
    for section in &all {
        let behind = all.iter().map(|other| other.address);
        let next = behind.filter(|address| *address > section.address).min();
        let room = next.map(|next| next - section.address);
        if let Some(room) = room.filter(|room| section.virtual_size > *room) {
            set_virtual_size(uki, *section, room)?;
            cut += 1;
        }
    }
    Ok(cut)
}

fn set_virtual_size(uki: &mut [u8], section: Section, size: u32) -> Result<(), MakeError> {
    let field = section.header + 8;
    uki.get_mut(field..field + 4)
        .ok_or(MakeError::Uki("it is short"))?
        .copy_from_slice(&size.to_le_bytes());
    Ok(())
}

/// The first section of this name.
fn find(uki: &[u8], name: &str) -> Result<Section, MakeError> {
    let is_named = |section: &Section| {
        let label = uki.get(section.header..section.header + 8);
        label.is_some_and(|label| {
            label
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.iter().all(|b| *b == 0))
        })
    };
    let found = sections(uki)?.into_iter().find(is_named);
    found.ok_or(MakeError::Uki("no such section"))
}

fn sections(uki: &[u8]) -> Result<Vec<Section>, MakeError> {
    let read = || -> Option<Vec<Section>> {
        let pe = u32_at(uki, 0x3c)? as usize;
        let count = u16_at(uki, pe + 6)?;
        let table = pe + 24 + usize::from(u16_at(uki, pe + 20)?);
        let section = |number| {
            let header = table + usize::from(number) * HEADER;
            Some(Section {
                header,
                virtual_size: u32_at(uki, header + 8)?,
                address: u32_at(uki, header + 12)?,
                stored: u32_at(uki, header + 16)?,
                offset: u32_at(uki, header + 20)?,
            })
        };
        (0..count).map(section).collect()
    };
    read().ok_or(MakeError::Uki("it is short"))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three sections of 512 bytes in the file, at these addresses, of this size in memory.
    fn uki(sections: [(&str, u32, u32); 3]) -> Vec<u8> {
        let mut uki = vec![0; 512];
        uki[0x3c] = 0x40;
        uki[0x46] = 3;
        let table = 0x40 + 24;
        for (number, (name, address, size)) in sections.into_iter().enumerate() {
            let header = table + number * HEADER;
            uki[header..header + name.len()].copy_from_slice(name.as_bytes());
            uki[header + 8..header + 12].copy_from_slice(&size.to_le_bytes());
            uki[header + 12..header + 16].copy_from_slice(&address.to_le_bytes());
            uki[header + 16..header + 20].copy_from_slice(&512u32.to_le_bytes());
            let offset = u32::try_from(uki.len()).unwrap();
            uki[header + 20..header + 24].copy_from_slice(&offset.to_le_bytes());
            uki.resize(uki.len() + 512, b'x');
        }
        uki
    }

    const PAGES: [(&str, u32, u32); 3] = [
        (".a", 0x1000, 10),
        (".cmdline", 0x2000, 20),
        (".c", 0x3000, 30),
    ];

    #[test]
    fn contents_are_replaced_and_the_rest_is_zero() {
        let mut uki = uki(PAGES);
        replace(&mut uki, ".cmdline", b"quiet").unwrap();
        assert_eq!(&uki[1024..1030], b"quiet\0");
        assert_eq!(uki[1535], 0);
        assert_eq!(uki[1536], b'x');
        assert_eq!(find(&uki, ".cmdline").unwrap().virtual_size, 5);
        assert!(replace(&mut uki, ".cmdline", &[0; 513]).is_err());
        assert!(replace(&mut uki, ".cmd", b"").is_err());
    }

    #[test]
    fn stretched_section_ends_in_its_page() {
        let mut uki = uki(PAGES);
        stretch(&mut uki, ".a").unwrap();
        assert_eq!(find(&uki, ".a").unwrap().virtual_size, 4091);
        assert_eq!(part(&mut uki).unwrap(), 0);
    }

    #[test]
    fn overlapping_section_is_cut() {
        let mut uki = uki([(".a", 0x1000, 0x134), (".b", 0x1100, 9), (".c", 0x1200, 9)]);
        assert_eq!(part(&mut uki).unwrap(), 1);
        assert_eq!(find(&uki, ".a").unwrap().virtual_size, 0x100);
        assert_eq!(find(&uki, ".b").unwrap().virtual_size, 9);
    }

    #[test]
    fn short_file_is_an_error() {
        assert!(part(&mut uki(PAGES)[..150]).is_err());
        assert!(part(&mut []).is_err());
    }
}
