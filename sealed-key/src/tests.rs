//! With a software TPM that boots images: registers that are extended, and reset with the machine.

mod failing;
mod forging;
mod opening;
mod tools;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use attester::tpm::Tpm;
use measurements::Digest;
use tempfile::TempDir;
use testkit::needed;
use testkit::tpm::control::Channel;

use crate::turn::Turn;
use crate::{Key32, Registers, Sealed};

/// Gets a command and who obeys it, gives the answer.
type Between = Box<dyn Fn(&[u8], &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> + Send>;

struct Machine {
    tpm: testkit::tpm::Tpm,
    channel: Arc<Channel>,
    between: Arc<Mutex<Between>>,
    directory: TempDir,
}

impl Machine {
    /// `None` if there is no software TPM, which in CI is a failure.
    fn start() -> Option<Self> {
        if !needed::programs(&["swtpm"]) {
            return None;
        }
        let directory = TempDir::new().unwrap();
        let tpm = testkit::tpm::Tpm::start(&directory.path().join("state"), directory.path());
        let tpm = tpm.unwrap();
        tpm.power_on().unwrap();
        let channel = Channel::connect(tpm.socket(), Duration::from_secs(20)).unwrap();
        let machine = Self {
            tpm,
            channel: Arc::new(channel),
            between: Arc::new(Mutex::new(Box::new(|command, tpm| tpm(command)))),
            directory,
        };
        let (listener, obey) = (
            UnixListener::bind(machine.socket()).unwrap(),
            machine.obey(),
        );
        thread::spawn(move || {
            for program in listener.incoming().map_while(Result::ok) {
                let obey = obey.clone();
                thread::spawn(move || serve(program, obey));
            }
        });
        Some(machine)
    }

    fn obey(&self) -> impl Fn(&[u8]) -> Vec<u8> + Clone + Send + 'static {
        let (channel, between) = (Arc::clone(&self.channel), Arc::clone(&self.between));
        move |command: &[u8]| {
            let tpm = |command: &[u8]| channel.transact(command).unwrap();
            between.lock().unwrap()(command, &tpm)
        }
    }

    /// The same on TCP, for tools that a shell connects; gives the port.
    fn listen_on_tcp(&self) -> u16 {
        let (listener, obey) = (TcpListener::bind("127.0.0.1:0").unwrap(), self.obey());
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for program in listener.incoming().map_while(Result::ok) {
                let obey = obey.clone();
                thread::spawn(move || serve(program, obey));
            }
        });
        port
    }

    /// What comes between this crate and the TPM from now on.
    fn between(&self, hook: impl Fn(&[u8], &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> + Send + 'static) {
        *self.between.lock().unwrap() = Box::new(hook);
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("commands.sock")
    }

    fn tpm(&self) -> Tpm {
        Tpm::new(self.socket())
    }

    /// Turns the machine off and on with another image.
    fn boot(&self, image: u8) -> Registers {
        self.tpm.power_on().unwrap();
        for register in [4, 9, 11] {
            self.extend(register, image);
        }
        let values = self.tpm.client().read_pcrs().unwrap();
        let [pcr4, pcr9, pcr11] = [4, 9, 11].map(|register| values.value(register).0);
        Registers { pcr4, pcr9, pcr11 }
    }

    fn extend(&self, register: u8, value: u8) {
        self.tpm
            .client()
            .extend_pcr(register, &Digest([value; 32]))
            .unwrap();
    }

    /// What is loaded: transient objects, and sessions.
    fn loaded(&self) -> Vec<u32> {
        let mut handles = Vec::new();
        // `TPM2_GetCapability` of `TPM_CAP_HANDLES`, at most 64 from the first of a kind.
        for first in [0x8000_0000_u32, 0x0200_0000, 0x0300_0000] {
            let mut command = vec![0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 1];
            command.extend(first.to_be_bytes());
            command.extend(64_u32.to_be_bytes());
            let response = self.channel.transact(&command).unwrap();
            assert_eq!(response[6..10], [0; 4]);
            let listed = response[19..].chunks(4);
            handles.extend(listed.map(|h| u32::from_be_bytes(h.try_into().unwrap())));
        }
        handles
    }

    async fn turn(&self) -> Turn {
        Turn::open(&self.tpm()).await.unwrap()
    }

    /// What somebody can do in any image: an object for any images, with a key that he knows. Says truly who
    /// made it.
    async fn plant(&self, key: &Key32, images: &[Registers]) -> Sealed {
        let mut turn = self.turn().await;
        let maker = turn.registers().await.unwrap();
        let primary = turn.primary().await.unwrap();
        let planted = crate::seal::create(&mut turn, &primary, key, images.to_vec(), maker).await;
        turn.flush().await;
        planted.unwrap()
    }
}

/// Serves a program until it goes.
fn serve(mut program: impl Read + Write, obey: impl Fn(&[u8]) -> Vec<u8>) {
    loop {
        let mut command = vec![0; 10];
        if program.read_exact(&mut command).is_err() {
            return;
        }
        let size = u32::from_be_bytes(command[2..6].try_into().unwrap());
        command.resize(size.try_into().unwrap(), 0);
        program.read_exact(&mut command[10..]).unwrap();
        if program.write_all(&obey(&command)).is_err() {
            return;
        }
    }
}

fn code(command: &[u8]) -> u32 {
    u32::from_be_bytes(command[6..10].try_into().unwrap())
}

/// A response that is nothing but this code.
fn refusal(code: u32) -> Vec<u8> {
    [&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
