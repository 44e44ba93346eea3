//! Response codes, in words.
//!
//! Names: TPM 2.0 Library, Part 2, "TPM_RC"; the crate `tpm2-protocol` takes the numbers apart. What
//! they mean for somebody with a broken machine stands here.
//!
//! I/O: none.

use std::fmt;

use tpm2_protocol::data::{TpmRc, TpmRcBase};

/// What a TPM said instead of doing what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCode(pub u32);

impl ResponseCode {
    /// Whether the same command may well succeed a moment later: `TPM_RC_RETRY`,
    /// `TPM_RC_TESTING`, `TPM_RC_YIELDED` (Part 2, "TPM_RC", warnings).
    pub fn is_transient(self) -> bool {
        matches!(
            self.base(),
            Some(TpmRcBase::Retry | TpmRcBase::Testing | TpmRcBase::Yielded)
        )
    }

    /// Whether there is no key or NV index of this number: `TPM_RC_HANDLE`, and for an NV index that
    /// was never written `TPM_RC_NV_UNINITIALIZED`.
    pub fn is_absent(self) -> bool {
        matches!(
            self.base(),
            Some(TpmRcBase::Handle | TpmRcBase::NvUninitialized)
        )
    }

    /// Which code it is, without the number of the handle, parameter or session that it is about; `None`
    /// for one that is not defined.
    pub fn base(self) -> Option<TpmRcBase> {
        TpmRc::try_from(self.0).ok().map(|code| code.base())
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(code) = TpmRc::try_from(self.0) else {
            return write!(f, "{:#05x}, which is not defined", self.0);
        };
        write!(f, "{:#05x}, {code}", self.0)?;
        match meaning(code.base()) {
            Some(meaning) => write!(f, ": {meaning}"),
            None => Ok(()),
        }
    }
}

fn meaning(code: TpmRcBase) -> Option<&'static str> {
    Some(match code {
        TpmRcBase::Handle => "there is no key or NV index with this number",
        TpmRcBase::NvUninitialized => "the NV index exists, but nothing was ever written to it",
        TpmRcBase::NvAuthorization | TpmRcBase::AuthType => {
            "the NV index may not be used with the owner's authorization"
        }
        TpmRcBase::AuthFail | TpmRcBase::BadAuth => "a password is set, expected an empty one",
        TpmRcBase::Lockout => "the TPM is locked after too many wrong passwords",
        TpmRcBase::NvLocked => "the NV index is locked",
        TpmRcBase::NvRange => "the NV index is smaller than what was asked for",
        TpmRcBase::NvRate => "the TPM limits how often NV memory is written",
        TpmRcBase::NvUnavailable => "the TPM's NV memory does not answer",
        TpmRcBase::Initialize => "the TPM has not been started by the firmware",
        TpmRcBase::Failure => "the TPM has failed and needs a reset",
        TpmRcBase::Disabled | TpmRcBase::Hierarchy => "the hierarchy or command is disabled",
        TpmRcBase::CommandCode => "the TPM does not know the command",
        TpmRcBase::Integrity => "it is damaged, or another TPM made it",
        TpmRcBase::Ticket => "the TPM did not give this ticket",
        TpmRcBase::PolicyFail => "the policy is not fulfilled",
        TpmRcBase::Key | TpmRcBase::Scheme => "the key cannot sign in this way",
        TpmRcBase::Retry => "the TPM could not start the command and says to try again",
        TpmRcBase::Testing => "the TPM still tests itself",
        TpmRcBase::Yielded => "the TPM did something else first and says to try again",
        TpmRcBase::Memory | TpmRcBase::ObjectMemory | TpmRcBase::SessionMemory => {
            "the TPM is out of memory"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_explained() {
        for (code, expected) in [
            (
                0x18b,
                "0x18b, [TPM_RC_HANDLE, handle[1]]: there is no key or NV index with this number",
            ),
            (
                0x922,
                "0x922, TPM_RC_RETRY: the TPM could not start the command and says to try again",
            ),
            (0x127, "0x127, TPM_RC_PCR"),
            (0xdead_beef, "0xdeadbeef, which is not defined"),
        ] {
            assert_eq!(ResponseCode(code).to_string(), expected);
        }
    }

    #[test]
    fn only_three_warnings_are_worth_another_try() {
        let transient: Vec<u32> = (0..0x1000)
            .filter(|code| ResponseCode(*code).is_transient())
            .collect();
        assert_eq!(transient, [0x908, 0x90a, 0x922]);
    }

    #[test]
    fn an_absent_index_is_told_from_a_forbidden_one() {
        assert!(ResponseCode(0x18b).is_absent());
        assert!(ResponseCode(0x14a).is_absent());
        assert!(!ResponseCode(0x149).is_absent());
    }
}
