//! What chronyd says about the clock.
//!
//! chronyd calls a clock that it has once set synchronised for as long as it runs, even when no
//! server has answered for days: only the error that it allows for grows, slowly. So three things have
//! to hold here: chronyd has set the clock by another machine's, its bound on the error is small, and it
//! has heard of a server not long ago.
//!
//! I/O: none.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

/// Largest error of a clock that counts as synchronised: what certificates, tokens and a chain with slots of
/// twelve seconds easily bear.
const LARGEST_ERROR: f64 = 1.0;

/// How long no server may have answered: eight polls at chronyd's longest interval (1024 s), after which it
/// takes a server for unreachable.
const LONGEST_SILENCE: Duration = Duration::from_secs(8 * 1024);

/// Reference ID of a machine that follows no other (127.127.1.1, `local` in `chrony.conf`).
const ITSELF: u32 = 0x7f7f_0101;

/// How many values chronyc's line has.
const FIELDS: usize = 14;

/// Longest name of a server that is passed on.
const MAX_SOURCE: usize = 64;

/// `chronyc tracking`; the manual of chronyc(1) explains each value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tracking {
    /// Which server the clock follows; 0 for none.
    pub(crate) reference_id: u32,
    /// Its address.
    pub(crate) source: String,
    /// How many servers there are up to one with a clock of its own, this machine included; 0 for none.
    pub(crate) stratum: u8,
    /// When the clock was last compared, by this clock.
    pub(crate) compared: Option<SystemTime>,
    /// How many seconds the clock is behind (ahead, if negative), and chronyd is correcting now.
    pub(crate) offset: f64,
    /// The offset at the last comparison, and a long-term average of it, in seconds.
    pub(crate) last_offset: f64,
    pub(crate) rms_offset: f64,
    /// The rate by which the clock would be wrong without chronyd (its drift), in parts per million; fast if
    /// positive.
    pub(crate) frequency: f64,
    /// How far the rate of the server in use is off from that, and the bound on the rate's error.
    pub(crate) residual_frequency: f64,
    pub(crate) skew: f64,
    /// Of all the network up to that clock, in seconds.
    pub(crate) root_delay: f64,
    pub(crate) root_dispersion: f64,
    /// Between the two last comparisons, in seconds.
    pub(crate) update_interval: f64,
    /// Whether chronyd says that the clock is synchronised.
    pub(crate) is_set: bool,
}

/// Whether the clock is synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It follows servers, to within a second.
    Synchronised,
    /// It did, and goes on at the rate that was known; no server answers.
    Unattended,
    /// It does not.
    Unsynchronised,
    /// chronyd does not say.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Synchronised => "synchronised",
            Self::Unattended => "no time server answers any more",
            Self::Unsynchronised => "not synchronised",
            Self::Unknown => "the time service does not answer",
        })
    }
}

impl fmt::Display for Tracking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reference_id == 0 {
            return f.write_str("no time server was chosen yet");
        }
        write!(
            f,
            "by {} of stratum {}, off by {:+.6} s, at most {:.6} s, drift {:+.3} ppm (skew {:.3})",
            match self.reference_id {
                ITSELF => "itself",
                _ => &self.source,
            },
            self.stratum,
            -self.offset,
            self.error_bound(),
            self.frequency,
            self.skew,
        )
    }
}

impl Tracking {
    /// Parses what `chronyc -c -n tracking` prints: one line of values with commas between them.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let values: Vec<&str> = line.split(',').take(FIELDS + 1).collect();
        let count = values.len();
        let Ok(values) = <[&str; FIELDS]>::try_from(values) else {
            bail!("expected {FIELDS} values, got {count}");
        };
        let [
            reference_id,
            source,
            stratum,
            compared,
            offset,
            last_offset,
            rms_offset,
            frequency,
            residual_frequency,
            skew,
            root_delay,
            root_dispersion,
            update_interval,
            leap,
        ] = values;
        ensure!(
            source.len() <= MAX_SOURCE && source.chars().all(|c| c.is_ascii_graphic()),
            "expected the address of a server, got {source:?}"
        );
        Ok(Self {
            reference_id: u32::from_str_radix(reference_id, 16)
                .with_context(|| format!("expected a reference ID, got {reference_id:?}"))?,
            source: source.to_owned(),
            stratum: stratum
                .parse()
                .with_context(|| format!("expected a stratum, got {stratum:?}"))?,
            compared: time(compared)?,
            offset: number(offset)?,
            last_offset: number(last_offset)?,
            rms_offset: positive(rms_offset)?,
            frequency: number(frequency)?,
            residual_frequency: number(residual_frequency)?,
            skew: positive(skew)?,
            root_delay: positive(root_delay)?,
            root_dispersion: positive(root_dispersion)?,
            update_interval: positive(update_interval)?,
            is_set: match leap {
                "Normal" | "Insert second" | "Delete second" => true,
                "Not synchronised" => false,
                other => bail!("expected a leap status, got {other:?}"),
            },
        })
    }

    /// How far the clock is off at most, in seconds, if the servers are right (chronyc(1), "tracking").
    pub(crate) fn error_bound(&self) -> f64 {
        self.offset.abs() + self.root_dispersion + self.root_delay / 2.0
    }

    /// Whether the clock is synchronised at this time.
    pub(crate) fn state(&self, now: SystemTime) -> State {
        let follows = self.is_set && ![0, ITSELF].contains(&self.reference_id);
        let Some(compared) = self.compared.filter(|_| follows) else {
            return State::Unsynchronised;
        };
        if self.error_bound() > LARGEST_ERROR {
            return State::Unsynchronised;
        }
        // A comparison in the future was before the clock was set back.
        match now.duration_since(compared) {
            Ok(silence) if silence > LONGEST_SILENCE => State::Unattended,
            _ => State::Synchronised,
        }
    }
}

fn number(text: &str) -> Result<f64> {
    let number: f64 = text
        .parse()
        .with_context(|| format!("expected a number, got {text:?}"))?;
    ensure!(number.is_finite(), "expected a finite number, got {text:?}");
    Ok(number)
}

fn positive(text: &str) -> Result<f64> {
    let number = number(text)?;
    ensure!(number >= 0.0, "expected no negative number, got {text:?}");
    Ok(number)
}

/// Seconds since 1970, which itself stands for never.
fn time(text: &str) -> Result<Option<SystemTime>> {
    let since = Duration::try_from_secs_f64(positive(text)?).ok();
    let time = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    let time = time.with_context(|| format!("expected a time, got {text:?}"))?;
    Ok(Some(time).filter(|time| *time != UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Printed by chronyc 4.6.1 of chronyd 4.6.1: just started; following another; one with `local`.
    const NONE: &str = include_str!("testdata/tracking-none.csv");
    const FOLLOWING: &str = include_str!("testdata/tracking-following.csv");
    const LOCAL: &str = include_str!("testdata/tracking-local.csv");

    fn state(text: &str, seconds_later: u64) -> State {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_336_298 + seconds_later);
        Tracking::parse(text).unwrap().state(now)
    }

    #[test]
    fn values_are_read() {
        let tracking = Tracking::parse(FOLLOWING).unwrap();
        assert_eq!(tracking.reference_id, 0x7f00_0001);
        assert_eq!(tracking.source, "127.0.0.1");
        assert_eq!(tracking.stratum, 4);
        let compared = UNIX_EPOCH + Duration::from_nanos(1_795_336_298_391_420_067);
        let read = tracking.compared.unwrap();
        let distance = read
            .duration_since(compared)
            .unwrap_or_else(|e| e.duration());
        assert!(distance < Duration::from_micros(1), "{distance:?}");
        let expected = [
            -0.000_000_810,
            0.000_000_129,
            0.000_000_398,
            -0.036,
            0.090,
            0.164,
        ];
        let actual = [
            tracking.offset,
            tracking.last_offset,
            tracking.rms_offset,
            tracking.frequency,
            tracking.residual_frequency,
            tracking.skew,
        ];
        assert_eq!(actual, expected);
        assert_eq!(tracking.root_delay, 0.000_005_057);
        assert_eq!(tracking.root_dispersion, 0.000_000_832);
        assert_eq!(tracking.update_interval, 1.0);
        assert!(tracking.is_set);
        let bound = 0.000_000_810 + 0.000_000_832 + 0.000_005_057 / 2.0;
        assert!((tracking.error_bound() - bound).abs() < 1e-12);
    }

    #[test]
    fn state_is_what_servers_make_of_it() {
        assert_eq!(state(NONE, 1), State::Unsynchronised);
        assert_eq!(state(LOCAL, 1), State::Unsynchronised);
        assert_eq!(state(FOLLOWING, 1), State::Synchronised);
        let unset = FOLLOWING.replace("Normal", "Not synchronised");
        assert_eq!(state(&unset, 1), State::Unsynchronised);
        let leap = FOLLOWING.replace("Normal", "Insert second");
        assert_eq!(state(&leap, 1), State::Synchronised);
    }

    #[test]
    fn clock_that_may_be_wrong_is_not_synchronised() {
        for (value, wrong) in [
            ("-0.000000810", "-1.5"),
            ("-0.000000810", "1.5"),
            ("0.000005057", "2.1"),
            ("0.000000832", "1.1"),
        ] {
            let text = FOLLOWING.replace(value, wrong);
            assert_ne!(text, FOLLOWING);
            assert_eq!(
                state(&text, 1),
                State::Unsynchronised,
                "{wrong} for {value}"
            );
        }
        let bearable = FOLLOWING.replace("-0.000000810", "-0.9");
        assert_eq!(state(&bearable, 1), State::Synchronised);
    }

    #[test]
    fn silence_is_noticed() {
        assert_eq!(state(FOLLOWING, 8 * 1024), State::Synchronised);
        assert_eq!(state(FOLLOWING, 8 * 1024 + 1), State::Unattended);
        let earlier = Tracking::parse(FOLLOWING).unwrap().state(UNIX_EPOCH);
        assert_eq!(earlier, State::Synchronised, "the clock was set back");
    }

    #[test]
    fn what_is_said_is_legible() {
        let said = |text| Tracking::parse(text).unwrap().to_string();
        assert_eq!(said(NONE), "no time server was chosen yet");
        assert_eq!(
            said(FOLLOWING),
            "by 127.0.0.1 of stratum 4, off by +0.000001 s, at most 0.000004 s, drift -0.036 ppm (skew 0.164)"
        );
        assert!(said(LOCAL).starts_with("by itself of stratum 3, "));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "\n",
            "506 Cannot talk to daemon\n",
            &FOLLOWING.repeat(2),
            &FOLLOWING.replace(",Normal", ""),
            &FOLLOWING.replace("Normal", "Normal,"),
            &FOLLOWING.replace("Normal", "Invalid"),
            &FOLLOWING.replace("7F000001", "G"),
            &FOLLOWING.replace("127.0.0.1", "a\u{1b}b"),
            &FOLLOWING.replace("127.0.0.1", &"a".repeat(65)),
            &FOLLOWING.replace(",4,", ",256,"),
            &FOLLOWING.replace("1795336298.391420067", "-1"),
            &FOLLOWING.replace("1795336298.391420067", "1e300"),
            &FOLLOWING.replace("-0.000000810", "NaN"),
            &FOLLOWING.replace("-0.000000810", "inf"),
            &FOLLOWING.replace("0.000000832", "-0.1"),
        ] {
            assert!(Tracking::parse(text).is_err(), "{text:?}");
        }
    }
}
