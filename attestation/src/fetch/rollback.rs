//! Refuses collateral that is older than what is known already: valid, signed, and yesterday's.
//!
//! Part by part, since each has dates of its own, and Intel signs judgements of former evaluations
//! anew, so that a later date does not make one newer. What was never known is not missed.
//!
//! I/O: none.

use serde::Deserialize;

use super::pcs::PcsError;
use crate::collateral::{Collateral, Dated};

/// Which part of an answer is older than what is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Older {
    /// By its date.
    #[error("the {part} was issued at {actual}, expected {expected} or later")]
    Issued {
        /// Which part.
        part: Dated,
        /// When the known one was issued, in seconds since 1970.
        expected: u64,
        /// When this one was.
        actual: u64,
    },
    /// By Intel's count of its evaluations.
    #[error("the {part} is of evaluation {actual}, expected {expected} or later")]
    Evaluation {
        /// Which part.
        part: Dated,
        /// That of the known one.
        expected: u64,
        /// That of this one.
        actual: u64,
    },
}

/// The one member of TCB info and QE identities that is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Evaluated {
    tcb_evaluation_data_number: u64,
}

/// Checks that no part of `new` is older than that of `known`.
pub(super) fn check(known: &Collateral, new: &Collateral) -> Result<(), PcsError> {
    for ((part, known), (_, new)) in known.windows()?.into_iter().zip(new.windows()?) {
        let (expected, actual) = (known.from, new.from);
        if actual < expected {
            return Err(PcsError::Older(Older::Issued {
                part,
                expected,
                actual,
            }));
        }
    }
    let (known, new) = (known.as_dcap(), new.as_dcap());
    for (part, known, new) in [
        (Dated::TcbInfo, &known.tcb_info, &new.tcb_info),
        (Dated::QeIdentity, &known.qe_identity, &new.qe_identity),
    ] {
        let (expected, actual) = (evaluation(known), evaluation(new));
        if actual < expected {
            return Err(PcsError::Older(Older::Evaluation {
                part,
                expected,
                actual,
            }));
        }
    }
    Ok(())
}

/// A part that has no number is older than one that has.
fn evaluation(json: &str) -> u64 {
    serde_json::from_str(json).map_or(0, |it: Evaluated| it.tcb_evaluation_data_number)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use testkit::tee::Tee;

    use super::*;

    const NOW: u64 = 1_790_000_000;

    fn json(now: u64) -> serde_json::Value {
        let tee = Tee::new(1, SystemTime::UNIX_EPOCH + Duration::from_secs(now));
        serde_json::from_str(&tee.collateral().to_json()).unwrap()
    }

    fn parsed(json: &serde_json::Value) -> Collateral {
        Collateral::parse(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn each_part_must_be_as_new() {
        let (old, new) = (json(NOW), json(NOW + 60));
        let known = parsed(&new);
        check(&known, &known).unwrap();
        check(&parsed(&old), &known).unwrap();
        for (member, expected) in [
            ("tcb_info", Dated::TcbInfo),
            ("qe_identity", Dated::QeIdentity),
            ("pck_crl", Dated::PckCrl),
            ("root_ca_crl", Dated::RootCrl),
        ] {
            let mut mixed = new.clone();
            mixed[member] = old[member].clone();
            let error = check(&known, &parsed(&mixed)).unwrap_err();
            let PcsError::Older(Older::Issued { part, .. }) = error else {
                panic!("{member}: {error:?}");
            };
            assert_eq!(part, expected);
        }
    }

    #[test]
    fn a_later_date_does_not_make_up_for_a_former_evaluation() {
        let (old, new) = (json(NOW), json(NOW + 60));
        for (member, expected) in [
            ("tcb_info", Dated::TcbInfo),
            ("qe_identity", Dated::QeIdentity),
        ] {
            let text = new[member].as_str().unwrap();
            let mut inner: serde_json::Value = serde_json::from_str(text).unwrap();
            let number = inner["tcbEvaluationDataNumber"].as_u64().unwrap();
            for lower in [Some(number - 1), None] {
                match lower {
                    Some(lower) => inner["tcbEvaluationDataNumber"] = lower.into(),
                    None => inner["tcbEvaluationDataNumber"]
                        .take()
                        .clone_into(&mut inner["x"]),
                }
                let mut former = new.clone();
                former[member] = inner.to_string().into();
                let error = check(&parsed(&old), &parsed(&former)).unwrap_err();
                let PcsError::Older(older) = error else {
                    panic!("{error:?}");
                };
                let actual = lower.unwrap_or(0);
                assert_eq!(
                    older,
                    Older::Evaluation {
                        part: expected,
                        expected: number,
                        actual
                    }
                );
            }
        }
    }
}
