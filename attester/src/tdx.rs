//! Evidence of a TDX machine, from its own kernel: configfs-tsm.
//!
//! Linux, Documentation/ABI/testing/configfs-tsm-report: a directory made below
//! `/sys/kernel/config/tsm/report` is a request. Report data are written to its `inblob`, the quote is
//! read from `outblob`, and `generation` counts the writes, so that a quote of somebody else's report
//! data is noticed. Removing the directory ends the request; that is always done.
//!
//! Left out: `/dev/tdx_guest` and its ioctl, which kernels before 6.7 need; our image has a newer one.
//!
//! I/O: configfs, on the runtime's threads for blocking work.

mod entry;
mod turn;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attestation::evidence::{DcapTdx, MAX_TD_QUOTE};
use attestation::td_quote::{TdQuote, TdQuoteError};
use attestation::{AttestError, Attester, Attesting, Binding, Evidence};
use tokio::task::JoinError;

use self::entry::{Directory, Entry};
use self::turn::Turn;

/// Where the kernel takes requests, below the root.
pub const REPORTS: &str = "sys/kernel/config/tsm/report";

/// What makes quotes of TDs. Others make reports of other TEEs.
const PROVIDER: &str = "tdx_guest";

/// How often somebody else may come between, or the host be busy.
const TRIES: u32 = 5;

/// The pause after a try.
const PAUSE: Duration = Duration::from_millis(100);

/// How long evidence may take, waiting for others included. The kernel gives up on the host after
/// 30 s.
const LIMIT: Duration = Duration::from_secs(60);

/// Makes evidence of the TDX machine it runs on. Clones make one request at a time.
#[derive(Clone, Debug)]
pub struct TdxAttester {
    reports: Arc<Path>,
    turn: Turn,
}

/// Why a TDX machine has no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TdxError {
    /// The kernel takes no requests, or not from this program.
    #[error("make a request in {}", path.display())]
    Request {
        /// Where they are made.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// An attribute cannot be read or written. For `outblob` that is what came of asking the host:
    /// "timed out", "busy", "invalid argument".
    #[error("{operation} {attribute} of the kernel's TSM report")]
    Attribute {
        /// `read` or `write`.
        operation: &'static str,
        /// The attribute's name.
        attribute: &'static str,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The reports are not of a TD.
    #[error("the kernel's TSM reports come from {actual:?}, expected \"tdx_guest\"")]
    Provider {
        /// Where they come from.
        actual: String,
    },
    /// The attribute is not a number.
    #[error("generation of the kernel's TSM report is {actual:?}, expected a number")]
    Generation {
        /// What it is.
        actual: String,
    },
    /// Somebody else writes to our request, again and again.
    #[error("the kernel's TSM report changed while it was read, {TRIES} times")]
    Raced,
    /// What the kernel gave is no TD quote.
    #[error("the kernel's TD quote is malformed")]
    TdQuote(#[source] TdQuoteError),
    /// The quote is of other report data.
    #[error("the kernel's TD quote is of other report data than were asked for")]
    ReportData,
    /// The kernel does not answer, or has too many others to answer before.
    #[error("no TD quote within {} s", limit.as_secs_f32())]
    Timeout {
        /// How long that was waited for.
        limit: Duration,
    },
    /// The work did not come to its end: a panic, which is an error in this program, or the runtime
    /// is shutting down.
    #[error("ask the kernel for a TD quote")]
    Ended(#[source] JoinError),
}

impl TdxAttester {
    /// Uses the kernel whose configfs is below this root: `/`, but in tests.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            reports: Arc::from(root.into().join(REPORTS)),
            turn: Turn::new(LIMIT),
        }
    }

    /// Makes evidence that is bound to `binding`, in the form of its protocol.
    ///
    /// # Errors
    ///
    /// [`TdxError`]: whatever it is, no evidence leaves the machine.
    pub async fn evidence(&self, binding: &Binding) -> Result<Evidence, TdxError> {
        let (reports, report_data) = (self.reports.clone(), binding.report_data());
        let quoting = self.turn.take(move |wanted| {
            let mut entry = Directory::create(&reports).map_err(|source| TdxError::Request {
                path: reports.to_path_buf(),
                source,
            })?;
            td_quote(&mut entry, &report_data, || wanted.is_over())
        });
        let td_quote = quoting.await?;
        Ok(Evidence::DcapTdx(DcapTdx {
            td_quote,
            user_data: binding.user_data().map(Vec::from),
        }))
    }
}

impl Attester for TdxAttester {
    fn attest<'a>(&'a self, binding: &'a Binding) -> Attesting<'a> {
        Box::pin(async move { self.evidence(binding).await.map_err(AttestError::of) })
    }
}

/// Has report data quoted, until nobody came between, or nobody waits for it any more.
fn td_quote(
    entry: &mut impl Entry,
    report_data: &[u8; 64],
    is_over: impl Fn() -> bool,
) -> Result<Vec<u8>, TdxError> {
    let provider = text(entry, "provider")?;
    if provider != PROVIDER {
        return Err(TdxError::Provider { actual: provider });
    }
    let mut busy = None;
    for tried in 0..TRIES {
        if tried > 0 {
            std::thread::sleep(PAUSE);
        }
        if is_over() {
            return Err(busy.unwrap_or(TdxError::Timeout { limit: LIMIT }));
        }
        let before = generation(entry)?;
        let quote = entry
            .write("inblob", report_data)
            .map_err(failed("write", "inblob"))
            .and_then(|()| {
                let quote = entry.read("outblob", MAX_TD_QUOTE);
                quote.map_err(failed("read", "outblob"))
            });
        match quote {
            // Our write is the only one.
            Ok(quote) if before.checked_add(1) == Some(generation(entry)?) => {
                return checked(quote, report_data);
            }
            Ok(_) => busy = None,
            Err(TdxError::Attribute {
                source,
                operation,
                attribute,
            }) if is_transient(&source) => {
                busy = Some(TdxError::Attribute {
                    operation,
                    attribute,
                    source,
                });
            }
            Err(error) => return Err(error),
        }
    }
    Err(busy.unwrap_or(TdxError::Raced))
}

/// The quote without padding, if it is one of these report data.
fn checked(mut quote: Vec<u8>, report_data: &[u8; 64]) -> Result<Vec<u8>, TdxError> {
    let parsed = TdQuote::parse(&quote).map_err(TdxError::TdQuote)?;
    if parsed.body.report_data != *report_data {
        return Err(TdxError::ReportData);
    }
    let size = parsed.size;
    quote.truncate(size);
    Ok(quote)
}

fn generation(entry: &mut impl Entry) -> Result<u64, TdxError> {
    let actual = text(entry, "generation")?;
    actual.parse().map_err(|_| TdxError::Generation { actual })
}

fn text(entry: &mut impl Entry, attribute: &'static str) -> Result<String, TdxError> {
    let bytes = entry.read(attribute, 64);
    let bytes = bytes.map_err(failed("read", attribute))?;
    Ok(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
}

fn failed(operation: &'static str, attribute: &'static str) -> impl Fn(io::Error) -> TdxError {
    move |source| TdxError::Attribute {
        operation,
        attribute,
        source,
    }
}

/// Whether the host, or who came between, may have made room a moment later: EBUSY, EAGAIN (which
/// the kernel says when a write came between), EINTR, ETIMEDOUT.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ResourceBusy
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests;
