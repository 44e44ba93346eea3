//! A name server for a handful of names; all others do not exist. RFC 1035.
//!
//! I/O: none.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const HEADER: usize = 12;
/// A response, authoritative, recursion available.
const RESPONSE: u8 = 0x84;
const RECURSION_AVAILABLE: u8 = 0x80;
const NAME_ERROR: u8 = 3;
/// Type and class.
const A_IN: [u8; 4] = [0, 1, 0, 1];
/// A pointer to the question's name, the type and class of the answer, a time to live of 1 s (a test
/// may lead the name elsewhere), four bytes.
const ANSWER: [u8; 12] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4];

/// Answers a query; `None` if it is no query with one question.
pub(super) fn answer(names: &BTreeMap<String, Ipv4Addr>, query: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = query.split_at_checked(HEADER)?;
    let [id_high, id_low, flags, _, counts @ ..] = header else {
        return None;
    };
    let is_query = flags & 0xf8 == 0;
    if !is_query || !counts.starts_with(&[0, 1]) {
        return None;
    }
    let (name, length) = read_name(rest)?;
    let question = rest.get(..length.checked_add(4)?)?;
    let address = names.get(&name);
    let is_for_address = question.ends_with(&A_IN);
    let code = match address {
        Some(_) => 0,
        None => NAME_ERROR,
    };
    let found = address.filter(|_| is_for_address);
    let mut response = vec![
        *id_high,
        *id_low,
        RESPONSE | (flags & 1),
        RECURSION_AVAILABLE | code,
    ];
    response.extend([0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
    response.extend(question);
    if let Some(address) = found {
        response.extend(ANSWER);
        response.extend(address.octets());
    }
    Some(response)
}

/// A name in lower case without its last dot, and the bytes it takes.
fn read_name(bytes: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = 0usize;
    loop {
        let length = usize::from(*bytes.get(at)?);
        let begin = at.checked_add(1)?;
        at = begin.checked_add(length)?;
        match length {
            0 => return Some((labels.join("."), at)),
            1..=63 => {
                let label = std::str::from_utf8(bytes.get(begin..at)?).ok()?;
                labels.push(label.to_ascii_lowercase());
            }
            // A pointer: questions have none.
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        // EDNS, as systemd-resolved sends it.
        bytes.extend([0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn names() -> BTreeMap<String, Ipv4Addr> {
        [("hub.test".to_owned(), Ipv4Addr::new(168, 1, 2, 3))].into()
    }

    #[test]
    fn known_name_has_its_address() {
        let response = answer(&names(), &query("Hub.test", 1)).unwrap();
        assert_eq!(response[..4], [0xab, 0xcd, 0x85, 0x80]);
        assert_eq!(response[4..12], [0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(response.ends_with(&[0, 4, 168, 1, 2, 3]));
    }

    #[test]
    fn known_name_has_no_other_record() {
        let response = answer(&names(), &query("hub.test", 28)).unwrap();
        assert_eq!(response[3] & 0x0f, 0);
        assert_eq!(response[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_names_do_not_exist() {
        let response = answer(&names(), &query("example.org", 1)).unwrap();
        assert_eq!(response[3] & 0x0f, NAME_ERROR);
    }

    #[test]
    fn what_is_no_query_has_no_answer() {
        let query = query("hub.test", 1);
        for length in 0..HEADER + 14 {
            assert!(answer(&names(), &query[..length]).is_none(), "{length}");
        }
        let mut response = query.clone();
        response[2] = 0x80;
        assert!(answer(&names(), &response).is_none());
        let mut pointer = query;
        pointer[12] = 0xc0;
        assert!(answer(&names(), &pointer).is_none());
    }
}
