//! Tells the Azure host that the machine is ready, or why it is not.
//!
//! Azure takes the provisioning of a machine for failed, and may restart it, if it does not report to
//! the *wireserver*, a service of the host at [`WIRESERVER`] (`spec/node.md` A4). The protocol is XML
//! over plain HTTP: the machine reads its *goal state*, which names the container and the role
//! instance that it is and counts the incarnations of what it is told, and reports its health about
//! exactly these.
//!
//! Nobody is trusted here: whoever answers at that address, host or network, learns nothing but the
//! report and can change nothing but whether it is accepted. So every answer is bounded and parsed
//! without panic, and nothing in a boot may wait for it: spawn [`Wireserver::report`].
//!
//! ```no_run
//! use wireserver::{Report, Schedule, WIRESERVER, Wireserver};
//!
//! async fn check_in() -> Result<(), Box<dyn std::error::Error>> {
//!     let wireserver = Wireserver::new(WIRESERVER, Schedule::default())?;
//!     wireserver.report(&Report::Ready, |event| println!("{event}")).await?;
//!     Ok(())
//! }
//! ```
//!
//! Left out: whether this is an Azure machine (`attester::detect`), the newer protocol in JSON, and
//! everything else that a goal state asks for (extensions, certificates).
//!
//! I/O: network; draws random numbers. Proxies that the environment names are not used.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "a panic in a test is a failing test, which is what is wanted"
    )
)]

mod attempt;
mod client;
mod goal_state;
mod report;
mod schedule;

pub use attempt::{AttemptError, Step};
pub use client::{AddressError, Event, ReportError, Reported, WIRESERVER, Wireserver};
pub use goal_state::{GoalState, GoalStateError};
pub use report::{Description, Report};
pub use schedule::Schedule;
