//! The clock, with programs in chronyc's place and readings in the clocks'.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::{Instant, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

/// The image's date, seconds after 1970.
const BUILT: u64 = 1_793_491_200;
/// When the server was last heard in the recorded answer.
const COMPARED: u64 = 1_795_336_298;

const NONE: &str = include_str!("testdata/tracking-none.csv");
const FOLLOWING: &str = include_str!("testdata/tracking-following.csv");

/// A machine: its root, with a program in chronyc's place that does what a shell script says.
struct Machine {
    root: TempDir,
    /// Seconds after 1970, and after the machine's start.
    now: Rc<Cell<(u64, u64)>>,
}

impl Machine {
    fn new(script: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        let epoch = fs::File::create(root.path().join("usr/lib/clock-epoch")).unwrap();
        let built = UNIX_EPOCH + Duration::from_secs(BUILT);
        epoch.set_modified(built).unwrap();
        let now = Rc::new(Cell::new((COMPARED, 0)));
        let machine = Self { root, now };
        machine.install(script);
        machine
    }

    /// Puts another program in chronyc's place, as a whole.
    fn install(&self, script: &str) {
        let (new, path) = (self.path("new"), self.path("chronyc"));
        fs::write(
            &new,
            format!(
                "#!/bin/sh\nPATH=/usr/bin:/bin\ncd {}\n{script}\n",
                self.path("").display()
            ),
        )
        .unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn settings(&self) -> Settings {
        Settings {
            root: self.root.path().into(),
            chronyc: self.path("chronyc"),
            socket: "/run/chrony/chronyd.sock".into(),
            poll: Duration::from_millis(10),
            interval: Duration::from_millis(10),
            danger_unsynchronised: false,
        }
    }

    fn clock(&self) -> Clock<impl FnMut() -> Reading + use<>> {
        self.clock_with(self.settings())
    }

    fn clock_with(&self, settings: Settings) -> Clock<impl FnMut() -> Reading + use<>> {
        let (now, begin) = (Rc::clone(&self.now), Instant::now());
        let read = move || Reading {
            time: UNIX_EPOCH + Duration::from_secs(now.get().0),
            monotonic: begin + Duration::from_secs(now.get().1),
            uncertainty: Duration::ZERO,
        };
        Clock::open(settings, read).unwrap()
    }
}

fn prints(text: &str) -> String {
    format!("printf '%s' '{text}'")
}

async fn state_and_detail(machine: &Machine) -> (State, String) {
    let mut said = None;
    let mut clock = machine.clock();
    clock
        .measure(true, &mut |event| {
            if let Event::State { state, detail } = event {
                said = Some((state, detail.to_owned()));
            }
        })
        .await;
    said.unwrap()
}

#[tokio::test]
async fn plausible_time_is_waited_for() {
    let machine = Machine::new("");
    machine.now.set((BUILT - 1, 0));
    let mut clock = machine.clock();
    let now = Rc::clone(&machine.now);
    let mut said = Vec::new();
    clock
        .wait_until_plausible(|event| {
            said.push(event.to_string());
            // systemd, or somebody else, sets the clock.
            now.set((BUILT, 0));
        })
        .await;
    assert_eq!(
        said,
        [
            "clock: waiting for a plausible time: it shows 2026-10-31T23:59:59Z, before the image was built (2026-11-01T00:00:00Z)",
            "clock: stepped by +1.000 s",
            "clock: plausible"
        ]
    );
}

/// A boot waits beside other things, perhaps on another thread.
#[test]
fn waiting_can_be_spawned() {
    fn spawned(_: impl Send) {}
    let machine = Machine::new("");
    let mut clock = Clock::open(machine.settings(), Reading::now).unwrap();
    spawned(clock.wait_until_plausible(|_| ()));
    spawned(clock.wait_until_synchronised(|_| ()));
    spawned(clock.watch(|_| ()));
}

#[test]
fn image_without_a_date_is_none() {
    let root = tempfile::tempdir().unwrap();
    let settings = Settings {
        root: root.path().into(),
        ..Settings::default()
    };
    assert!(Clock::open(settings, Reading::now).is_err());
}

#[tokio::test]
async fn synchronisation_is_waited_for() {
    let machine = Machine::new("echo '506 Cannot talk to daemon'; exit 1");
    let mut clock = machine.clock();
    let mut said = Vec::new();
    let mut measured = 0;
    clock
        .wait_until_synchronised(|event| match event {
            Event::State { state, .. } => {
                said.push(state);
                match state {
                    State::Unknown => machine.install(&prints(NONE)),
                    State::Unsynchronised => machine.install(&prints(FOLLOWING)),
                    _ => {}
                }
            }
            Event::Measured(_) => measured += 1,
            other => panic!("{other}"),
        })
        .await;
    assert_eq!(
        said,
        [State::Unknown, State::Unsynchronised, State::Synchronised]
    );
    assert!(measured >= 2);
}

#[tokio::test]
async fn synchronisation_is_not_waited_for_if_the_configuration_says_so() {
    let machine = Machine::new("touch was-run; exit 1");
    let settings = Settings {
        danger_unsynchronised: true,
        ..machine.settings()
    };
    let mut said = Vec::new();
    let mut clock = machine.clock_with(settings);
    clock
        .wait_until_synchronised(|event| said.push(event.to_string()))
        .await;
    let expected = "clock: danger_unsynchronised is set: the host's time is believed";
    assert_eq!(said, [expected]);
    assert!(!Path::exists(&machine.path("was-run")));
}

#[tokio::test]
async fn watching_tells_of_changes_and_steps_once() {
    let machine = Machine::new(&prints(FOLLOWING));
    let mut clock = machine.clock();
    clock.wait_until_synchronised(|_| ()).await;
    let now = Rc::clone(&machine.now);
    let (mut said, polls) = (Vec::new(), Cell::new(0));
    let watching = clock.watch(|event| {
        if let Event::Measured(_) = event {
            polls.set(polls.get() + 1);
            match polls.get() {
                // Silence; then the clock is set back.
                2 => now.set((COMPARED + 10_000, 10_000)),
                4 => now.set((COMPARED + 9_000, 10_001)),
                6 => now.set((COMPARED + 1_000, 10_002)),
                _ => {}
            }
        } else {
            said.push(event.to_string());
        }
    });
    let enough = async {
        while polls.get() < 9 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        never = watching => match never {},
        () = enough => {}
    }
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[0].starts_with("clock: no time server answers any more: by 127.0.0.1"));
    assert_eq!(said[1], "clock: stepped by -1001.000 s");
    assert_eq!(said[2], "clock: stepped by -8001.000 s");
    assert!(said[3].starts_with("clock: synchronised: by 127.0.0.1"));
}

#[tokio::test]
async fn chronyc_is_asked_for_tracking_at_the_socket() {
    let machine = Machine::new(&format!(
        "echo \"$*\" > arguments; env > environment; {}",
        prints(FOLLOWING)
    ));
    let (state, _) = state_and_detail(&machine).await;
    assert_eq!(state, State::Synchronised);
    let arguments = fs::read_to_string(machine.path("arguments")).unwrap();
    assert_eq!(arguments, "-c -n -h /run/chrony/chronyd.sock tracking\n");
    let environment = fs::read_to_string(machine.path("environment")).unwrap();
    assert!(!environment.contains("CARGO"), "{environment}");
}

#[tokio::test]
async fn programs_that_fail_are_no_answer() {
    for (script, expected) in [
        (
            "echo 'Could not open connection to daemon' >&2; exit 1",
            "exit status: 1: Could not open connection to daemon",
        ),
        (
            "echo '506 Cannot talk to daemon'; exit 1",
            "exit status: 1: 506 Cannot talk to daemon",
        ),
        ("", "expected 14 values, got 1"),
        ("echo hello", "expected 14 values, got 1"),
        ("kill -9 $$", "signal: 9"),
        ("exec yes", "signal: 13 (SIGPIPE): y"),
        ("exec yes >&2", "signal: 13 (SIGPIPE): y"),
        ("head -c 4096 /dev/zero; exit 1", "exit status: 1: \\0"),
    ] {
        let machine = Machine::new(script);
        let (state, detail) = state_and_detail(&machine).await;
        assert_eq!(state, State::Unknown, "{script}");
        assert!(detail.contains(expected), "{script}: {detail}");
        assert!(detail.len() < 500, "{detail}");
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
    let machine = Machine::new("");
    fs::remove_file(machine.path("chronyc")).unwrap();
    let (state, detail) = state_and_detail(&machine).await;
    assert_eq!(state, State::Unknown);
    assert!(detail.contains("No such file"), "{detail}");
}

/// The clock jumps to the limit as soon as there is nothing else to do.
#[tokio::test(start_paused = true)]
async fn program_that_hangs_is_ended() {
    let machine = Machine::new("echo $$ > new-pid; mv new-pid pid; exec sleep 1000");
    let runs = async {
        while !machine.path("pid").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::future::pending().await
    };
    let (state, detail) = tokio::select! {
        biased;
        said = state_and_detail(&machine) => said,
        never = runs => never,
    };
    assert_eq!(state, State::Unknown);
    assert!(detail.contains("did not end within 15 s"), "{detail}");
    let pid = fs::read_to_string(machine.path("pid")).unwrap();
    let command_line = format!("/proc/{}/cmdline", pid.trim());
    // Nobody's, or one of a process that has ended and was not waited for.
    while fs::read(&command_line).is_ok_and(|line| !line.is_empty()) {
        std::thread::sleep(Duration::from_millis(10));
    }
}
