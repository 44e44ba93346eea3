//! What `--fault` can make wrong, by name.
//!
//! I/O: none.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testkit::azure::disk::{Content, Place};
use testkit::azure::host::{AzureHost, VtpmFault};
use testkit::azure::imds;
use testkit::azure::wireserver::Faults;
use testkit::tee;

/// One thing that is wrong with the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: the list is wanted.
    Help,
    Vtpm(VtpmFault),
    /// Always, or only at the first request.
    Metadata(imds::Fault, bool),
    Wireserver(Faults),
    Evidence(tee::Fault),
    Disk(DiskFault),
}

/// What is wrong with the data disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DiskFault {
    Never,
    ReadOnly,
    Vanishes(Duration),
    Content(Content),
}

/// Faults of the vTPM.
const VTPM: [(&str, VtpmFault); 2] = [
    ("no-tpm", VtpmFault::Missing),
    ("wrong-ak", VtpmFault::WrongAk),
];

/// Faults of the metadata service that have no number.
const METADATA: [(&str, imds::Fault); 9] = [
    ("hang", imds::Fault::Hang),
    ("slow-drip", imds::Fault::Drip(Duration::from_millis(250))),
    ("cut-off", imds::Fault::CutOff),
    ("close", imds::Fault::Close),
    ("garbage", imds::Fault::Garbage),
    ("not-base64", imds::Fault::NotBase64),
    ("no-quote", imds::Fault::NoQuote),
    ("stale-quote", imds::Fault::OtherReport),
    ("oversized", imds::Fault::Oversized),
];

/// Where a disk that looks blank at its beginning is not.
const FAR_IN: u64 = 64 << 20;

/// Faults of the disk that have no number.
fn disk_faults() -> [(&'static str, DiskFault); 7] {
    [
        ("never", DiskFault::Never),
        ("read-only", DiskFault::ReadOnly),
        ("noise", DiskFault::Content(Content::Noise)),
        ("noise-far-in", DiskFault::Content(Content::NoiseAt(FAR_IN))),
        ("ext4", DiskFault::Content(Content::Ext4)),
        ("gpt", DiskFault::Content(Content::PartitionTable)),
        ("luks2", DiskFault::Content(Content::Luks2)),
    ]
}

/// Everything that `--fault` takes.
pub(super) fn help() -> String {
    let mut lines = vec!["faults:".to_owned()];
    lines.extend(VTPM.map(|(name, _)| format!("  {name}")));
    lines.push("  imds:STATUS   (or imds:once:… for the first quote alone)".to_owned());
    lines.extend(METADATA.map(|(name, _)| format!("  imds:{name}")));
    lines.push("  wireserver:ENDPOINT:REQUESTS=FAULT".to_owned());
    lines.push(
        "    ENDPOINT goal-state, health, provisioning-health, *; REQUESTS 2, 1-3, 4-;".to_owned(),
    );
    lines.push(
        "    FAULT a status, hang, close, garbage, wrong-content-type, slow-drip, oversized, cut-off"
            .to_owned(),
    );
    lines.extend(disk_faults().map(|(name, _)| format!("  disk:{name}")));
    lines.push("  disk:vanishes=SECONDS".to_owned());
    let evidence = tee::Fault::all().filter(|fault| fault.is_in_azure());
    lines.extend(evidence.map(|fault| format!("  evidence:{}", evidence_name(fault))));
    lines.join("\n")
}

/// `Layer.Case`.
fn evidence_name(fault: tee::Fault) -> String {
    fault.to_string().replace('(', ".").replace(')', "")
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || format!("no such fault: {text}; --fault help lists them");
        if text == "help" {
            return Ok(Self::Help);
        }
        if let Some(fault) = find(&VTPM, text) {
            return Ok(Self::Vtpm(fault));
        }
        let (of, name) = text.split_once(':').with_context(unknown)?;
        match of {
            "imds" => {
                let (name, is_once) = match name.strip_prefix("once:") {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let fault = match name.parse() {
                    Ok(status @ 400..=599) => imds::Fault::Status(status),
                    _ => find(&METADATA, name).with_context(unknown)?,
                };
                Ok(Self::Metadata(fault, is_once))
            }
            "wireserver" => Ok(Self::Wireserver(name.parse()?)),
            "evidence" => tee::Fault::all()
                .find(|fault| fault.is_in_azure() && evidence_name(*fault) == name)
                .map(Self::Evidence)
                .with_context(unknown),
            "disk" => match name.strip_prefix("vanishes=") {
                Some(seconds) => {
                    let seconds = seconds.parse().with_context(unknown)?;
                    Ok(Self::Disk(DiskFault::Vanishes(Duration::from_secs(
                        seconds,
                    ))))
                }
                None => {
                    let fault = find(&disk_faults(), name);
                    fault.map(Self::Disk).with_context(unknown)
                }
            },
            _ => bail!(unknown()),
        }
    }
}

fn find<T: Clone>(known: &[(&str, T)], name: &str) -> Option<T> {
    let mut known = known.iter();
    known.find_map(|(one, fault)| (*one == name).then(|| fault.clone()))
}

impl Fault {
    /// The fault of the evidence, if it is one.
    pub(super) fn of_evidence(&self) -> Option<tee::Fault> {
        match self {
            Self::Evidence(fault) => Some(*fault),
            _ => None,
        }
    }

    /// Makes the host wrong.
    pub(super) fn apply(&self, host: &mut AzureHost) -> Result<()> {
        match self {
            // What the evidence is made with has been chosen already.
            Self::Help | Self::Evidence(_) => {}
            Self::Vtpm(fault) => host.vtpm = *fault,
            Self::Metadata(fault, true) => host.metadata.first.push(*fault),
            Self::Metadata(fault, false) => host.metadata.always = Some(*fault),
            Self::Wireserver(faults) => host.wireserver.extend(faults.clone()),
            Self::Disk(DiskFault::Never) => host.disk.place = Place::Nowhere,
            Self::Disk(DiskFault::ReadOnly) => host.disk.is_read_only = true,
            Self::Disk(DiskFault::Content(content)) => host.disk.content = content.clone(),
            Self::Disk(DiskFault::Vanishes(after)) => match &mut host.disk.place {
                Place::Scsi { vanishes_after, .. } => *vanishes_after = Some(*after),
                Place::Nvme { .. } | Place::Nowhere => {
                    bail!("only a SCSI disk can be pulled out while the machine runs")
                }
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use testkit::tee::Tee;

    use super::*;

    #[test]
    fn every_listed_fault_is_known() {
        let listed = help();
        let simple = listed
            .lines()
            .map(str::trim)
            .filter(|line| !line.contains(char::is_uppercase) || line.starts_with("evidence:"));
        let simple: Vec<_> = simple.filter(|line| *line != "faults:").collect();
        assert!(simple.len() > 50, "{}", simple.len());
        for name in simple {
            assert!(name.parse::<Fault>().is_ok(), "{name}");
        }
    }

    #[test]
    fn faults_are_parsed() {
        let parse = |text: &str| text.parse::<Fault>().unwrap();
        assert_eq!(
            parse("imds:503"),
            Fault::Metadata(imds::Fault::Status(503), false)
        );
        assert_eq!(
            parse("imds:once:hang"),
            Fault::Metadata(imds::Fault::Hang, true)
        );
        let vanishes = Fault::Disk(DiskFault::Vanishes(Duration::from_secs(5)));
        assert_eq!(parse("disk:vanishes=5"), vanishes);
        assert!(matches!(
            parse("wireserver:*:1-=hang"),
            Fault::Wireserver(_)
        ));
        for text in [
            "",
            "none",
            "imds:200",
            "imds:odd",
            "disk:",
            "evidence:Odd.Case",
            "odd:x",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    #[test]
    fn faults_make_the_host_wrong() {
        let tee = Tee::new(1, SystemTime::now());
        let mut host = AzureHost::new("i.vhd".into(), tee);
        for fault in [
            "no-tpm",
            "imds:stale-quote",
            "disk:vanishes=3",
            "disk:luks2",
        ] {
            fault.parse::<Fault>().unwrap().apply(&mut host).unwrap();
        }
        assert_eq!(host.vtpm, VtpmFault::Missing);
        assert_eq!(host.metadata.always, Some(imds::Fault::OtherReport));
        assert_eq!(host.disk.content, Content::Luks2);
        let vanishes = "disk:vanishes=3".parse::<Fault>().unwrap();
        host.disk.place = Place::Nowhere;
        assert!(vanishes.apply(&mut host).is_err());
    }
}
