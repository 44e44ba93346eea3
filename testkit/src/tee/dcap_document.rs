//! The dcap-tdx document of aTLS; `flashbots-ratls/1` carries the bare quote.
//!
//! I/O: none.

use serde::Serialize;

use super::case::Case;
use super::fault::faults;
use super::text::base64;

faults! {
    /// What is wrong with a dcap-tdx document, the parts of which are as they should be.
    DcapDocument(DcapDocumentFault) {
        /// No byte.
        Empty,
        /// Something else than JSON.
        NotJson,
        /// The last byte is missing.
        Truncated,
        /// Another value follows.
        Trailing,
        /// The user data are another key's.
        OtherUserData,
        /// The user data are missing.
        NoUserData,
        /// The quote is missing.
        NoQuote,
    }
}

/// What a bare TDX machine says, for one connection.
#[derive(Clone, Debug)]
pub struct DcapEvidence {
    pub(super) case: Case,
    /// The TD quote; all that `flashbots-ratls/1` carries.
    pub td_quote: Vec<u8>,
    /// SHA-256 of the attested key, in an aTLS document.
    pub user_data: [u8; 32],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_quote: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data: Option<String>,
}

impl DcapEvidence {
    /// The aTLS document.
    pub fn atls_document(&self) -> Vec<u8> {
        let is = |fault: DcapDocumentFault| self.case.is(fault);
        let mut user_data = self.user_data;
        if is(DcapDocumentFault::OtherUserData) {
            user_data[0] ^= 1;
        }
        let document = Document {
            raw_quote: (!is(DcapDocumentFault::NoQuote)).then(|| base64(&self.td_quote)),
            user_data: (!is(DcapDocumentFault::NoUserData)).then(|| base64(&user_data)),
        };
        let mut document = serde_json::to_vec(&document).expect("write a document");
        match self.case {
            _ if is(DcapDocumentFault::Empty) => document.clear(),
            _ if is(DcapDocumentFault::NotJson) => document = b"no JSON".to_vec(),
            _ if is(DcapDocumentFault::Truncated) => drop(document.pop()),
            _ if is(DcapDocumentFault::Trailing) => document.extend(b"{}"),
            _ => {}
        }
        document
    }
}
