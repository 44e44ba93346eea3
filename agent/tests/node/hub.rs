//! A hub: has a name, verifies who speaks to it, and tells them what it has seen.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use attestation::relying_party::{CollateralSource, EvidenceVerifier, Proven};
use attestation::tls::limits::Bounds;
use attestation::tls::{Acceptor, Http, Identity, Nobody, ServerSettings, Timeouts};
use attestation::{Collateral, TrustRoots, Verifier};
use attested_http::body::full;
use attested_http::server::Limits;
use attested_http::{Body, Claims, Peer, Server};
use hyper::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::machine::Machine;

/// Ends with the test.
pub(crate) struct Hub {
    pub(crate) address: SocketAddr,
    pub(crate) roots: NamedTempFile,
    identity: Identity,
    serving: JoinHandle<()>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Hub {
    /// A hub called `localhost` that talks to machines of this one's maker only.
    pub(crate) async fn start(machine: &Machine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "authority of a test");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut roots = NamedTempFile::new().unwrap();
        roots.write_all(authority.pem().as_bytes()).unwrap();

        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        let identity = Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        };
        Self {
            address: listener.local_addr().unwrap(),
            roots,
            serving: serve(listener, &identity, machine),
            identity,
        }
    }

    /// Ends it, connections and all.
    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }

    /// Starts it again where it was.
    pub(crate) async fn start_again(&mut self, machine: &Machine) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = serve(listener, &self.identity, machine);
    }

    /// The drop-in that has a node obey it.
    pub(crate) fn drop_in(&self, protocol: &str) -> String {
        self.drop_in_at(
            &format!("https://localhost:{}/base", self.address.port()),
            protocol,
        )
    }

    pub(crate) fn drop_in_at(&self, url: &str, protocol: &str) -> String {
        let roots = self.roots.path().display();
        format!(
            "[hub]\nurl = \"{url}\"\nprotocol = \"{protocol}\"\nroots = \"{roots}\"\n\
             listen = \"127.0.0.1:0\"\n"
        )
    }
}

fn serve(listener: TcpListener, identity: &Identity, machine: &Machine) -> JoinHandle<()> {
    let settings = ServerSettings {
        identity: Identity {
            chain: identity.chain.clone(),
            key: identity.key.clone_key(),
        },
        attester: None::<Nobody>,
        verifier: Some(verifier(machine)),
        http: vec![Http::Http2, Http::Http1],
        bounds: Bounds::default(),
        timeouts: Timeouts::SERVER,
    };
    let acceptor = Acceptor::new(settings).unwrap();
    let server = Server::new(listener, acceptor, answer, Limits::default());
    let never = std::future::pending();
    tokio::spawn(async move { drop(server.run(never, None, || {}).await) })
}

fn verifier(machine: &Machine) -> EvidenceVerifier {
    let roots =
        TrustRoots::danger_trust_instead(machine.tee.root().to_vec(), vec![machine.ak_root()]);
    let collateral = Collateral::parse(machine.tee.collateral().to_json().as_bytes()).unwrap();
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    EvidenceVerifier::new(
        Verifier::new(roots),
        CollateralSource::Given(Arc::new(collateral)),
        Arc::new(now),
    )
}

/// Tells the client what it has proven and asked for.
async fn answer(request: Request<Body>, peer: Peer<Proven>) -> Response<Body> {
    let verified = peer.verified.unwrap();
    let registers = verified.claims().registers();
    let header = |name: &str| {
        let values = request.headers().get_all(name).iter();
        values
            .map(|value| value.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let answer = json!({
        "path": request.uri().path_and_query().unwrap().as_str(),
        "host": request.uri().host().map_or_else(|| header("host").join(","), str::to_owned),
        "http": format!("{:?}", request.version()),
        "protocol": format!("{:?}", peer.protocol),
        "pcr4": registers[&4].to_string(),
        "forwarded": header("x-forwarded-for"),
        "claims": header("x-flashbots-measurement"),
    });
    Response::new(full(answer.to_string()))
}
