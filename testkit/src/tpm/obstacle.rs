//! A TPM that is too busy for some commands of its machine.
//!
//! I/O: none.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// `TPM_RC_RETRY`: TPM 2.0 Library, Part 2, 6.6.3. The TPM could not start the command.
const RETRY: u32 = 0x922;
/// `TPM_ST_NO_SESSIONS`, the tag of every refusal.
const NO_SESSIONS: u16 = 0x8001;

/// The codes of the commands that are not obeyed; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Obstacle(Arc<Mutex<BTreeSet<u32>>>);

impl Obstacle {
    /// Has these commands refused from now on, and no others.
    pub(super) fn set(&self, codes: impl IntoIterator<Item = u32>) {
        let busy = self.0.lock();
        *busy.unwrap_or_else(PoisonError::into_inner) = codes.into_iter().collect();
    }

    /// The refusal of a command, if it is not obeyed.
    pub(super) fn refusal(&self, command: &[u8]) -> Option<Vec<u8>> {
        let code = command.get(6..10)?.try_into().ok()?;
        let busy = self.0.lock();
        let busy = busy.unwrap_or_else(PoisonError::into_inner);
        busy.contains(&u32::from_be_bytes(code)).then(|| {
            let mut response = NO_SESSIONS.to_be_bytes().to_vec();
            response.extend(10_u32.to_be_bytes());
            response.extend(RETRY.to_be_bytes());
            response
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::TpmError;
    use super::super::wire::Fields;
    use super::*;

    #[test]
    fn only_the_named_commands_are_refused_and_only_meanwhile() {
        let quote = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x58];
        let obstacle = Obstacle::default();
        assert_eq!(obstacle.refusal(&quote), None);
        obstacle.clone().set([0x158]);
        let refusal = obstacle.refusal(&quote).unwrap();
        let error = Fields::of_response(0x158, &refusal).unwrap_err();
        assert!(matches!(error, TpmError::Refused { code: RETRY, .. }));
        let other = [0x80, 1, 0, 0, 0, 10, 0, 0, 1, 0x4e];
        assert_eq!(obstacle.refusal(&other), None);
        assert_eq!(obstacle.refusal(b"short"), None);
        obstacle.set([]);
        assert_eq!(obstacle.refusal(&quote), None);
    }
}
