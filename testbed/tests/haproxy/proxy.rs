//! HAProxy with the layer's configuration, on addresses of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertificateParams, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rendered::{CONFIGURATION, PRIVILEGED, content, sample};
use crate::upstream::Upstream;

/// Far more than anything here should take, on a slow machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Proxy {
    directory: TempDir,
    child: Child,
    pub(crate) user: SocketAddr,
    pub(crate) system: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// Where the upstreams have to be.
    pub(crate) user_upstream: SocketAddr,
    pub(crate) system_upstream: SocketAddr,
    pub(crate) certificate: CertificateDer<'static>,
    loaded: usize,
    /// While they are wanted.
    pub(crate) upstreams: Vec<Upstream>,
}

/// A certificate as the node's: its own trust anchor; and the file that HAProxy reads.
pub(crate) fn certificate() -> (CertificateDer<'static>, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["node.example".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.self_signed(&key).unwrap();
    let file = format!("{}{}", certificate.pem(), key.serialize_pem());
    (certificate.der().clone(), file)
}

/// Limits that a test reaches. The sample's are those of real nodes.
pub(crate) fn limited(limits: &[(&str, u64)], privileged: &[&str]) -> Value {
    let mut values = sample();
    for (limit, value) in limits {
        values["haproxy"][format!("rate_limit_{limit}")] = json!(value.to_string());
    }
    values["haproxy"]["rate_limit_privileged_ips"] = json!(privileged);
    values
}

impl Proxy {
    /// With upstreams that answer at once.
    pub(crate) fn start(values: &Value) -> Self {
        Self::start_before(values, Some(Duration::ZERO))
    }

    /// With upstreams that answer after a pause, or none. One that came later would be found within 5 s.
    pub(crate) fn start_before(values: &Value, pause: Option<Duration>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = own_address();
        let at = |port: u16| SocketAddr::from((address, port));
        let mut proxy = Self {
            user: at(10443),
            system: at(15544),
            metrics: at(8405),
            user_upstream: at(5543),
            system_upstream: at(5542),
            certificate: CertificateDer::from(Vec::new()),
            child: Command::new("true").spawn().unwrap(),
            directory,
            loaded: 0,
            upstreams: Vec::new(),
        };
        let upstreams = [proxy.user_upstream, proxy.system_upstream].into_iter();
        let upstreams = upstreams.filter_map(|it| Some(Upstream::start(it, pause?)));
        proxy.upstreams = upstreams.collect();
        proxy.write(values);
        proxy.certify();
        let log = fs::File::create(proxy.path("log")).unwrap();
        proxy.child = Command::new("haproxy")
            .args(["-W", "-db", "-f"])
            .arg(proxy.path("haproxy.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        proxy.wait_until_loaded();
        proxy
    }

    /// Renders the configuration anew.
    pub(crate) fn write(&self, values: &Value) {
        let health = format!("unix@{}", self.path("health.sock").display());
        let certificate = self.path("haproxy.pem").display().to_string();
        let mut text = content(values, CONFIGURATION);
        for (image, here, times) in [
            ("0.0.0.0:443,[::]:443", self.user.to_string(), 1),
            ("0.0.0.0:5544,[::]:5544", self.system.to_string(), 1),
            ("127.0.0.1:5543", self.user_upstream.to_string(), 1),
            ("127.0.0.1:5542", self.system_upstream.to_string(), 1),
            ("127.0.0.1:8405", self.metrics.to_string(), 1),
            ("unix@/run/haproxy/health.sock", health, 1),
            ("/run/cvm-agent/identity/haproxy.pem", certificate, 2),
        ] {
            assert_eq!(text.matches(image).count(), times, "{image}");
            text = text.replace(image, &here);
        }
        fs::write(self.path("haproxy.cfg"), text).unwrap();
        fs::write(self.path("privileged.txt"), content(values, PRIVILEGED)).unwrap();
    }

    /// Another certificate, which a reload takes up.
    pub(crate) fn certify(&mut self) {
        let (certificate, file) = certificate();
        fs::write(self.path("haproxy.pem"), file).unwrap();
        self.certificate = certificate;
    }

    /// As `systemctl reload` does it.
    pub(crate) fn reload(&mut self) {
        self.ask_to_reload();
        self.wait_until_loaded();
    }

    /// The same of a configuration that is refused.
    pub(crate) fn reload_in_vain(&self) {
        self.ask_to_reload();
        wait(|| self.log().contains("Error(s) found in configuration file"));
    }

    fn ask_to_reload(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let master = Pid::from_raw(pid);
        kill(master, Signal::SIGUSR2).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// One more worker has its configuration, and listens.
    fn wait_until_loaded(&mut self) {
        self.loaded += 1;
        let wanted = self.loaded;
        let is_loaded = || self.log().matches("Loading success").count() >= wanted;
        wait(|| is_loaded() && self.is_waiting() && TcpStream::connect(self.metrics).is_ok());
    }

    /// Whether the master takes signals: it starts itself again when it has nothing to do but wait.
    fn is_waiting(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let has_reload = |mask: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(mask));
            let bits = u64::from_str_radix(line.unwrap().trim(), 16).unwrap();
            bits >> (Signal::SIGUSR2 as u32 - 1) & 1 == 1
        };
        has_reload("SigCgt:") && !has_reload("SigBlk:")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// An address that no other test has: this process's and this call's own.
fn own_address() -> Ipv4Addr {
    static CALLS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, CALLS.fetch_add(1, Ordering::Relaxed))
}
