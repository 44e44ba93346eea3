//! The message in which `flashbots-ratls/1` carries evidence, as first application data.
//!
//! A 32-bit big-endian length, then in SCALE a string (the kind) and a byte vector (the
//! document). Who has nothing to prove sends kind `none` and no document.
//!
//! I/O: reads and writes the stream it is given.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::error::{HandshakeError, ProtocolError};
use crate::evidence::EvidenceKind;

/// Most bytes of a message without its length, in existing implementations too.
pub const LONGEST_MESSAGE: usize = 64 * 1024;

/// The kind of who has nothing to prove.
const NONE: &str = "none";

/// Why a message cannot be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MessageError {
    /// Longer than is read.
    #[error("message of {actual} bytes, expected at most {LONGEST_MESSAGE}")]
    TooLong {
        /// Length in front of it.
        actual: usize,
    },
    /// Not a string and a byte vector.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// A kind that is not known here.
    #[error("evidence of unknown kind {0:?}")]
    Kind(String),
}

/// Evidence as sent: its kind and document.
pub type Sent = Option<(EvidenceKind, Vec<u8>)>;

/// Reads one message, nothing beyond it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Sent, HandshakeError> {
    let length = stream.read_u32().await.map_err(HandshakeError::Tls)?;
    let actual = usize::try_from(length).unwrap_or(usize::MAX);
    if actual > LONGEST_MESSAGE {
        return Err(ProtocolError::from(MessageError::TooLong { actual }).into());
    }
    let mut message = vec![0; actual];
    stream
        .read_exact(&mut message)
        .await
        .map_err(HandshakeError::Tls)?;
    Ok(parse(&message).map_err(ProtocolError::from)?)
}

/// Sends one message.
pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    evidence: Option<(EvidenceKind, &[u8])>,
) -> Result<(), HandshakeError> {
    let frame = frame(evidence).ok_or_else(|| {
        let document = evidence.map_or(0, |(_, document)| document.len());
        HandshakeError::Attester(format!("document of {document} bytes does not fit").into())
    })?;
    let written: io::Result<()> = async {
        stream.write_all(&frame).await?;
        stream.flush().await
    }
    .await;
    written.map_err(HandshakeError::Tls)
}

/// The whole message; `None` if it is too long to be read by anybody.
fn frame(evidence: Option<(EvidenceKind, &[u8])>) -> Option<Vec<u8>> {
    let (kind, document) = match evidence {
        Some((kind, document)) => (kind.name(), document),
        None => (NONE, &[][..]),
    };
    let mut body = Vec::new();
    for part in [kind.as_bytes(), document] {
        body.extend(compact(part.len())?);
        body.extend_from_slice(part);
    }
    if body.len() > LONGEST_MESSAGE {
        return None;
    }
    let mut frame = u32::try_from(body.len()).ok()?.to_be_bytes().to_vec();
    frame.append(&mut body);
    Some(frame)
}

/// Reads the message of which the length was taken off.
///
/// # Errors
///
/// [`MessageError`] if it is of another form or kind.
pub fn parse(mut message: &[u8]) -> Result<Sent, MessageError> {
    let kind = part(&mut message).ok_or(MessageError::Malformed("kind"))?;
    let document = part(&mut message).ok_or(MessageError::Malformed("document"))?;
    if !message.is_empty() {
        return Err(MessageError::Malformed("bytes after the document"));
    }
    let kind = std::str::from_utf8(kind).map_err(|_| MessageError::Malformed("kind"))?;
    if kind == NONE {
        return match document {
            [] => Ok(None),
            _ => Err(MessageError::Malformed("a document of kind none")),
        };
    }
    let known = EvidenceKind::from_name(kind);
    // What is unknown is quoted, so not all of it.
    let known = known.ok_or_else(|| MessageError::Kind(kind.chars().take(32).collect()))?;
    Ok(Some((known, document.to_vec())))
}

/// A byte vector: compact length, bytes.
fn part<'a>(message: &mut &'a [u8]) -> Option<&'a [u8]> {
    let first = *message.first()?;
    // The two low bits say how many bytes the length takes; the rest is its value times four.
    let size: usize = match first & 0b11 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => return None,
    };
    let (bytes, rest) = message.split_at_checked(size)?;
    let value = bytes
        .iter()
        .rev()
        .fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    let length = usize::try_from(value >> 2).ok()?;
    // One length has one encoding.
    if compact(length)? != bytes {
        return None;
    }
    let (part, rest) = rest.split_at_checked(length)?;
    *message = rest;
    Some(part)
}

/// A length in SCALE's compact encoding; `None` beyond what four bytes hold.
fn compact(length: usize) -> Option<Vec<u8>> {
    let value = u32::try_from(length)
        .ok()
        .filter(|value| value >> 30 == 0)?;
    let (mode, size) = match value {
        0..=0x3f => (0, 1),
        0x40..=0x3fff => (1, 2),
        _ => (2, 4),
    };
    let bytes = (value << 2 | mode).to_le_bytes();
    bytes.get(..size).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_on_the_wire() {
        assert_eq!(frame(None).unwrap(), b"\0\0\0\x06\x10none\0");
        let frame = frame(Some((EvidenceKind::DcapTdx, b"{}"))).unwrap();
        assert_eq!(frame, b"\0\0\0\x0c\x20dcap-tdx\x08{}");
    }

    #[tokio::test]
    async fn what_is_written_is_read_at_every_size() {
        for size in [1, 0x3f, 0x40, 0x3fff, 0x4000, LONGEST_MESSAGE - 14] {
            let document = vec![7; size];
            let sent = Some((EvidenceKind::AzureTdx, &*document));
            let mut bytes = Vec::new();
            write(&mut bytes, sent).await.unwrap();
            let mut bytes = &*bytes;
            let received = read(&mut bytes).await.unwrap();
            assert_eq!(received, Some((EvidenceKind::AzureTdx, document)));
            assert!(bytes.is_empty());
        }
    }

    #[tokio::test]
    async fn too_long_is_neither_sent_nor_waited_for() {
        let document = vec![7; LONGEST_MESSAGE - 13];
        let sent = Some((EvidenceKind::AzureTdx, &*document));
        let error = write(&mut Vec::new(), sent).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Attester(_)), "{error}");

        let mut bytes = &[0, 1, 0, 1][..];
        let error = read(&mut bytes).await.unwrap_err();
        let expected = MessageError::TooLong { actual: 65_537 };
        assert!(
            matches!(&error, HandshakeError::Protocol(ProtocolError::Message(message)) if *message == expected),
            "{error}"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let malformed = |what| Err(MessageError::Malformed(what));
        for (message, expected) in [
            (&b""[..], malformed("kind")),
            (b"\x10non", malformed("kind")),
            (b"\x11\0none\0", malformed("kind")),
            (b"\x03none\0", malformed("kind")),
            (b"\x08\xff\xff\0", malformed("kind")),
            (b"\x10none", malformed("document")),
            (b"\x10none\x04", malformed("document")),
            (b"\x10none\x04x", malformed("a document of kind none")),
            (b"\x10none\0x", malformed("bytes after the document")),
            (b"\x0ctpm\0", Err(MessageError::Kind("tpm".to_owned()))),
        ] {
            assert_eq!(parse(message), expected, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(message: Vec<u8>) {
            let _ = parse(&message);
        }
    }
}
