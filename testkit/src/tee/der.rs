//! The few forms of DER that certificates' extensions and RSA keys need.
//!
//! I/O: none.

/// One element: tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len().to_be_bytes();
    match content.len() {
        short @ ..=0x7f => bytes.push(short as u8),
        _ => {
            let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | length.len() as u8);
            bytes.extend(length);
        }
    }
    bytes.extend(content);
    bytes
}

/// `SEQUENCE` of these elements.
pub(super) fn sequence(elements: &[Vec<u8>]) -> Vec<u8> {
    element(0x30, &elements.concat())
}

/// Non-negative `INTEGER`, given big endian.
pub(super) fn integer(magnitude: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = magnitude
        .iter()
        .copied()
        .skip_while(|byte| *byte == 0)
        .collect();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    element(0x02, &content)
}

/// `OCTET STRING`.
pub(super) fn octets(content: &[u8]) -> Vec<u8> {
    element(0x04, content)
}

/// `BOOLEAN`.
pub(super) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0 }])
}

/// `ENUMERATED`.
pub(super) fn enumerated(value: u8) -> Vec<u8> {
    element(0x0a, &[value])
}

/// `OBJECT IDENTIFIER`; at least two arcs, the first two below 40.
pub(super) fn object_identifier(arcs: &[u64]) -> Vec<u8> {
    let [first, second, rest @ ..] = arcs else {
        return element(0x06, &[]);
    };
    let mut content = vec![(first * 40 + second) as u8];
    for arc in rest {
        let mut groups = vec![(arc & 0x7f) as u8];
        let mut left = arc >> 7;
        while left > 0 {
            groups.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        content.extend(groups.iter().rev());
    }
    element(0x06, &content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_as_other_encoders_write_them() {
        assert_eq!(integer(&[]), [2, 1, 0]);
        assert_eq!(integer(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(octets(&[7; 0x80])[..4], [4, 0x81, 0x80, 7]);
        assert_eq!(octets(&[7; 0x100])[..5], [4, 0x82, 1, 0, 7]);
        // 1.2.840.113741.1.13.1, as it stands in Intel's certificates.
        let intel = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 1, 0x0d, 1];
        assert_eq!(object_identifier(&[1, 2, 840, 113_741, 1, 13, 1]), intel);
    }
}
