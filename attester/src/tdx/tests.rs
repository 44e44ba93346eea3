//! The kernel's side, played: requests that behave as configfs's do, and those that do not.
//!
//! A directory made below a temporary one has no attributes, so what the kernel would do with them is
//! played behind [`Entry`], and by named pipes where the real I/O is meant.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::time::SystemTime;

use attestation::{TrustRoots, Verifier};
use testkit::tee::Tee;

use super::*;

/// For somebody who waits.
fn td_quote(entry: &mut impl Entry, report_data: &[u8; 64]) -> Result<Vec<u8>, TdxError> {
    super::td_quote(entry, report_data, || false)
}

/// What happens at one reading of `outblob`.
#[derive(Clone, Copy)]
enum Event {
    Quote,
    Padded,
    /// Somebody else writes other report data first.
    Race,
    Fails(ErrorKind),
    Garbage,
    OtherReportData,
}

struct Kernel {
    tee: Tee,
    provider: &'static str,
    generation: u64,
    report_data: [u8; 64],
    events: VecDeque<Event>,
    reads: usize,
}

impl Kernel {
    fn with(events: &[Event]) -> Self {
        Self {
            tee: Tee::new(1, SystemTime::now()),
            provider: "tdx_guest\n",
            generation: 3,
            report_data: [0; 64],
            events: events.iter().copied().collect(),
            reads: 0,
        }
    }

    fn quote(&self, report_data: [u8; 64]) -> Vec<u8> {
        self.tee.quote(&self.tee.td_report(report_data))
    }
}

impl Entry for Kernel {
    fn write(&mut self, attribute: &str, value: &[u8]) -> io::Result<()> {
        assert_eq!(attribute, "inblob");
        self.report_data = value.try_into().map_err(|_| ErrorKind::InvalidInput)?;
        self.generation += 1;
        Ok(())
    }

    fn read(&mut self, attribute: &str, most: usize) -> io::Result<Vec<u8>> {
        let value = match attribute {
            "provider" => self.provider.into(),
            "generation" => format!("{}\n", self.generation).into_bytes(),
            "outblob" => {
                self.reads += 1;
                match self.events.pop_front().unwrap_or(Event::Quote) {
                    Event::Quote => self.quote(self.report_data),
                    Event::Padded => {
                        let mut quote = self.quote(self.report_data);
                        quote.resize(8000, 0);
                        quote
                    }
                    Event::Race => {
                        self.generation += 1;
                        self.quote([0x66; 64])
                    }
                    Event::Fails(kind) => return Err(kind.into()),
                    Event::Garbage => vec![7; 1000],
                    Event::OtherReportData => self.quote([0x66; 64]),
                }
            }
            _ => return Err(ErrorKind::NotFound.into()),
        };
        assert!(value.len() <= most);
        Ok(value)
    }
}

#[test]
fn a_quote_of_the_report_data_is_taken_without_padding() {
    for event in [Event::Quote, Event::Padded] {
        let mut kernel = Kernel::with(&[event]);
        let quote = td_quote(&mut kernel, &[9; 64]).unwrap();
        assert_eq!(quote, kernel.quote([9; 64]));
        assert_eq!(kernel.reads, 1);
    }
}

#[test]
fn a_request_that_somebody_else_wrote_to_is_made_again() {
    let mut kernel = Kernel::with(&[Event::Race, Event::Race]);
    assert_eq!(
        td_quote(&mut kernel, &[9; 64]).unwrap(),
        kernel.quote([9; 64])
    );
    assert_eq!(kernel.reads, 3);
    let mut kernel = Kernel::with(&[Event::Race; 100]);
    let result = td_quote(&mut kernel, &[9; 64]);
    assert!(matches!(result, Err(TdxError::Raced)), "{result:?}");
    assert_eq!(kernel.reads, 5);
}

#[test]
fn a_busy_host_is_asked_again_and_a_refusal_is_final() {
    for kind in [
        ErrorKind::ResourceBusy,
        ErrorKind::WouldBlock,
        ErrorKind::TimedOut,
    ] {
        let mut kernel = Kernel::with(&[Event::Fails(kind)]);
        assert!(td_quote(&mut kernel, &[9; 64]).is_ok(), "{kind}");
        let mut kernel = Kernel::with(&[Event::Fails(kind); 100]);
        let error = td_quote(&mut kernel, &[9; 64]).unwrap_err();
        assert_eq!(error.to_string(), "read outblob of the kernel's TSM report");
        assert_eq!(kernel.reads, 5);
    }
    let mut kernel = Kernel::with(&[Event::Fails(ErrorKind::InvalidInput)]);
    assert!(td_quote(&mut kernel, &[9; 64]).is_err());
    assert_eq!(kernel.reads, 1);
}

#[test]
fn what_nobody_waits_for_is_not_tried_again() {
    let mut kernel = Kernel::with(&[Event::Fails(ErrorKind::ResourceBusy); 100]);
    let asked = Cell::new(0);
    let is_over = || asked.replace(asked.get() + 1) == 2;
    let error = super::td_quote(&mut kernel, &[9; 64], is_over).unwrap_err();
    assert!(matches!(error, TdxError::Attribute { .. }), "{error:?}");
    assert_eq!(kernel.reads, 2);
    let mut kernel = Kernel::with(&[]);
    let error = super::td_quote(&mut kernel, &[9; 64], || true).unwrap_err();
    assert!(matches!(error, TdxError::Timeout { .. }), "{error:?}");
    assert_eq!((kernel.reads, kernel.generation), (0, 3));
}

#[test]
fn other_quotes_and_other_providers_are_refused() {
    let mut kernel = Kernel::with(&[Event::Garbage]);
    let result = td_quote(&mut kernel, &[9; 64]);
    assert!(matches!(result, Err(TdxError::TdQuote(_))), "{result:?}");
    let mut kernel = Kernel::with(&[Event::OtherReportData]);
    let result = td_quote(&mut kernel, &[9; 64]);
    assert!(matches!(result, Err(TdxError::ReportData)), "{result:?}");
    let mut kernel = Kernel::with(&[]);
    kernel.provider = "sev_guest\n";
    let error = td_quote(&mut kernel, &[9; 64]).unwrap_err();
    let expected = "the kernel's TSM reports come from \"sev_guest\", expected \"tdx_guest\"";
    assert_eq!(error.to_string(), expected);
    assert_eq!(kernel.reads, 0);
}

#[test]
fn evidence_of_both_protocols_verifies() {
    let kernel = Kernel::with(&[]);
    let roots = TrustRoots::danger_trust_instead(kernel.tee.root().to_vec(), Vec::new());
    let json = kernel.tee.collateral().to_json();
    let collateral = attestation::Collateral::parse(json.as_bytes()).unwrap();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (binding, other) in [
        (
            Binding::atls_user_data([1; 32], b"nonce"),
            Binding::atls_user_data([1; 32], b"other"),
        ),
        (
            Binding::ratls_input_data([1; 64]),
            Binding::ratls_input_data([2; 64]),
        ),
    ] {
        let evidence = Evidence::DcapTdx(DcapTdx {
            td_quote: td_quote(&mut Kernel::with(&[]), &binding.report_data()).unwrap(),
            user_data: binding.user_data().map(Vec::from),
        });
        let verifier = Verifier::new(roots.clone());
        assert!(
            verifier
                .verify(&evidence, &collateral, &binding, now)
                .is_ok()
        );
        assert!(
            verifier
                .verify(&evidence, &collateral, &other, now)
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_request_is_removed_even_if_nothing_comes_of_it() {
    let root = tempfile::tempdir().unwrap();
    let reports = root.path().join(REPORTS);
    fs::create_dir_all(&reports).unwrap();
    let attester = TdxAttester::new(root.path());
    let error = attester
        .evidence(&Binding::ratls_input_data([1; 64]))
        .await
        .unwrap_err();
    // The request was made, but nobody gave it attributes.
    assert_eq!(
        error.to_string(),
        "read provider of the kernel's TSM report"
    );
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 0);
}

#[tokio::test]
async fn a_kernel_that_takes_no_requests_is_named() {
    let root = tempfile::tempdir().unwrap();
    let attester = TdxAttester::new(root.path());
    let error = attester
        .attest(&Binding::ratls_input_data([1; 64]))
        .await
        .unwrap_err();
    let text = error.source.to_string();
    assert!(text.ends_with("sys/kernel/config/tsm/report"), "{text}");
}

#[test]
fn names_that_are_taken_are_passed_over() {
    let reports = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(reports.path()).unwrap().count();
    let one = Directory::create_with(reports.path(), || 5).unwrap();
    // Two names are taken, the third is free.
    let two = Directory::create_with(reports.path(), || 6).unwrap();
    let mut numbers = [5, 6, 7, 8].into_iter();
    let three = Directory::create_with(reports.path(), || numbers.next().unwrap()).unwrap();
    assert_eq!(numbers.next(), Some(8));
    assert_eq!(count(), 3);
    // Not for ever.
    let mut tried = 0;
    let error = Directory::create_with(reports.path(), || {
        tried += 1;
        5 + tried % 3
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(tried, 65);
    drop((one, three));
    assert_eq!(count(), 1);
    drop(two);
    assert_eq!(count(), 0);
    // And by itself, it never takes the same twice.
    let (four, five) = (
        Directory::create(reports.path()).unwrap(),
        Directory::create(reports.path()).unwrap(),
    );
    assert_eq!(count(), 2);
    drop((four, five));
}

#[test]
fn attributes_are_read_anew_and_bounded() {
    let reports = tempfile::tempdir().unwrap();
    let mut entry = Directory::create(reports.path()).unwrap();
    let path = fs::read_dir(reports.path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    fs::write(path.join("inblob"), b"").unwrap();
    entry.write("inblob", &[5; 64]).unwrap();
    assert_eq!(entry.read("inblob", 64).unwrap(), [5; 64]);
    let error = entry.read("inblob", 63).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert_eq!(
        entry.write("outblob", b"").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    fs::remove_file(path.join("inblob")).unwrap();
}

/// What the kernel does with one attribute, when it is opened.
enum Act {
    Show(&'static str, Vec<u8>),
    Store(&'static str, [u8; 64]),
}

/// Shows a value to the next who opens the attribute, and to nobody after: those get another pipe.
fn show(request: &Path, attribute: &str, value: &[u8]) {
    let path = request.join(attribute);
    let mut pipe = fs::OpenOptions::new().write(true).open(&path).unwrap();
    make_pipes(request, &["next"]);
    fs::rename(request.join("next"), path).unwrap();
    pipe.write_all(value).unwrap();
}

fn make_pipes(request: &Path, names: &[&str]) {
    let made = Command::new("mkfifo")
        .args(names)
        .current_dir(request)
        .status();
    assert!(made.unwrap().success());
}

/// Plays these acts in this order on named pipes, then removes them, as the kernel does with a
/// request's attributes.
fn play(request: &Path, acts: Vec<Act>) {
    for act in &acts {
        let (Act::Show(attribute, _) | Act::Store(attribute, _)) = act;
        match act {
            Act::Show(_, value) => show(request, attribute, value),
            Act::Store(_, expected) => {
                assert_eq!(fs::read(request.join(attribute)).unwrap(), expected);
            }
        }
    }
    for attribute in ["provider", "generation", "inblob", "outblob"] {
        fs::remove_file(request.join(attribute)).unwrap();
    }
}

#[test]
fn a_request_in_a_tree_of_files_is_served_and_removed() {
    let reports = tempfile::tempdir().unwrap();
    let mut entry = Directory::create(reports.path()).unwrap();
    let listed = fs::read_dir(reports.path()).unwrap().next().unwrap();
    let request = listed.unwrap().path();
    make_pipes(&request, &["provider", "generation", "inblob", "outblob"]);
    let kernel = Kernel::with(&[]);
    let (quote, foreign) = (kernel.quote([9; 64]), kernel.quote([0x66; 64]));
    let acts = vec![
        Act::Show("provider", b"tdx_guest\n".to_vec()),
        Act::Show("generation", b"0\n".to_vec()),
        Act::Store("inblob", [9; 64]),
        // Somebody else's write came between.
        Act::Show("outblob", foreign),
        Act::Show("generation", b"2\n".to_vec()),
        Act::Show("generation", b"2\n".to_vec()),
        Act::Store("inblob", [9; 64]),
        Act::Show("outblob", quote.clone()),
        Act::Show("generation", b"3\n".to_vec()),
    ];
    let player = std::thread::spawn(move || play(&request, acts));
    assert_eq!(td_quote(&mut entry, &[9; 64]).unwrap(), quote);
    player.join().unwrap();
    drop(entry);
    assert_eq!(fs::read_dir(reports.path()).unwrap().count(), 0);
}
