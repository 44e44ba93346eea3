//! What a machine of Azure tells its host.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use testkit::azure::wireserver::{Faults, GoalState, Health, Wireserver};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What Azure writes on its chassis, `spec/azure-sim.md`.
const ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77\n";

const PATIENCE: Duration = Duration::from_secs(90);

/// A boot with this drop-in on a machine of Azure.
fn boot(files: &Path, drop_in: &str, wireserver: &Wireserver) -> Child {
    let dmi = files.join("sys/class/dmi/id");
    fs::create_dir_all(&dmi).unwrap();
    fs::write(dmi.join("chassis_asset_tag"), ASSET_TAG).unwrap();
    let config = files.join("conf.d");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("50-test.toml"), drop_in).unwrap();
    Command::new(env!("CARGO_BIN_EXE_cvm-agent"))
        .arg("boot")
        .args(["--root".as_ref(), files])
        .args(["--config".as_ref(), config.as_path()])
        .args(["--wireserver", &format!("http://{}", wireserver.address())])
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stderr(fs::File::create(files.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn health(wireserver: &Wireserver) -> Health {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(health) = wireserver.health() {
            return health;
        }
        assert!(Instant::now() < end, "{:?}", wireserver.exchanges());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_image_that_can_never_boot_says_so_and_why() {
    let files = tempfile::tempdir().unwrap();
    let wireserver = Wireserver::start(GoalState::of_machine("node"), Faults::default()).unwrap();
    let mut boot = boot(files.path(), "[clock]\nunknown = 1\n", &wireserver);
    let Health::NotReady(details) = health(&wireserver).await else {
        panic!("{:?}", wireserver.reports());
    };
    for expected in ["50-test.toml", "unknown"] {
        assert!(details.description.contains(expected), "{details:?}");
    }
    let status = timeout(PATIENCE, boot.wait()).await.unwrap().unwrap();
    assert!(!status.success());
}

#[tokio::test]
async fn a_host_that_does_not_answer_does_not_keep_a_broken_image_from_ending() {
    let files = tempfile::tempdir().unwrap();
    let wireserver = Wireserver::start(GoalState::of_machine("node"), Faults::default()).unwrap();
    let mut boot = boot(files.path(), "nonsense", &wireserver);
    drop(wireserver);
    let status = timeout(PATIENCE, boot.wait()).await.unwrap().unwrap();
    assert!(!status.success());
    let log = fs::read_to_string(files.path().join("log")).unwrap();
    assert!(log.contains("check-in: given up"), "{log}");
}

#[tokio::test]
async fn a_machine_that_is_up_says_so_though_it_waits() {
    let files = tempfile::tempdir().unwrap();
    let wireserver = Wireserver::start(GoalState::of_machine("node"), Faults::default()).unwrap();
    // No image's date: the boot waits for a clock that it can judge.
    let _boot = boot(files.path(), "", &wireserver);
    assert_eq!(health(&wireserver).await, Health::Ready);
}
