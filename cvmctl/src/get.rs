//! `cvmctl get`: asks a node for something, if it proves on this connection what it runs.
//!
//! I/O: network; reads expected values, images and roots; writes the files that are asked for, the
//! answer to standard output, and what was found to standard error.

mod answer;
mod connection;
mod request;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use attestation::fetch::Fetched;
use attestation::tls::{BoxError, VerifiedPeer};
use attestation::{Collateral, CollateralSource, Proven};

pub(crate) use self::request::GetArguments;
use crate::evidence_dir::{self, Kept, Overlooked};
use crate::exhibit::{Challenge, Exhibit};
use crate::judgement::{self, CollateralPlace, Judgement, Occasion, Standard};
use crate::moment::Moment;
use crate::report::{Outcome, Report};
use crate::{expectations, http, output_file, runtime};
use answer::Answer;
use connection::{Open, Witness, Witnessed};
use request::Request;

/// Runs the command. With `--json`, an error is a document, too.
pub(crate) fn run(arguments: GetArguments) -> anyhow::Result<Report> {
    let is_json = arguments.json;
    let report = Request::try_from(arguments)
        .and_then(|request| runtime::start(request.logs_debug)?.block_on(get(&request)));
    judgement::or_document(report, is_json)
}

/// The story: connect, have evidence shown, judge it, ask only who is trusted, and keep it all.
async fn get(request: &Request) -> anyhow::Result<Report> {
    if let Some(directory) = &request.save {
        evidence_dir::check_vacant(directory)?;
    }
    let references = request.expectations.load(request.timeout).await?;
    // One time for everything, so that what is kept can be judged again as of the same.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let relying = request.trust.load(Arc::new(move || now))?;
    let standard = Standard {
        policy: expectations::policy(&references, &relying.tcb)?,
        tcb: relying.tcb,
        is_waived: request.expectations.no_expectations,
        kind: request.kind,
    };

    let limit = request.timeout;
    let witness = Witness(relying.verifier);
    let opening = connection::open(request, &witness, now);
    let late = || {
        format!(
            "{} has not shown evidence within {limit:?}",
            request.node.url
        )
    };
    let open = tokio::time::timeout(limit, opening).await;
    let Open { connected, address } = open.with_context(late)??;
    let peer = connected.peer.map(VerifiedPeer::into_claims);
    let witnessed = peer.context("expected evidence, got none")?;
    let (exhibit, proof) = exhibit(witnessed, connected.certificate)?;
    let place = collateral_place(request, &exhibit, &proof, &relying.collateral).await;
    let occasion = occasion(request, &exhibit, address, now, place);

    let collateral = match request.save {
        Some(_) => kept_collateral(&exhibit, &proof, &relying.collateral).await,
        None => None,
    };
    let mut judgement = Judgement::of(exhibit.kind, proof, &standard);
    if let (Some(path), Some(proven)) = (&request.out_measurements, judgement.proven()) {
        output_file::write(path, &judgement::measurements_file(&proven.verified)?)?;
    }
    let answer = match judgement.outcome {
        Outcome::Good => {
            let asking = http::get(connected.stream, connected.http, &request.node.url);
            let answer = tokio::time::timeout(limit, asking).await;
            let late = || format!("no answer within {limit:?}");
            Some(answer.with_context(late).flatten().and_then(Answer::of))
        }
        // Nothing is said to a node that is not trusted.
        Outcome::Bad | Outcome::Undecided => None,
    };
    let answer = match answer {
        Some(Err(error)) => {
            let url = &request.node.url;
            judgement.withhold(format!("; but {url} was not answered: {error:#}"));
            None
        }
        answer => answer.and_then(Result::ok),
    };
    let written = match (&request.out_response, &answer) {
        (Some(path), Some(answer)) => answer.write(path),
        _ => Ok(()),
    };
    if let Err(error) = &written {
        judgement.withhold(format!("; but its answer is lost: {error:#}"));
    }
    // What is kept says how it ended, also if that is an error.
    if let Some(directory) = &request.save {
        let kept = Kept {
            url: occasion.url.clone(),
            address: occasion.address.clone(),
            time: occasion.time,
            exhibit,
            collateral,
            references,
            overlooked: Overlooked::of(&request.trust.platform, standard.is_waived),
        };
        evidence_dir::save(directory, &kept, judgement.verdict())?;
    }
    written?;
    answer::report(request, &judgement, &occasion, answer.as_ref())
}

/// Puts together what was shown, in the form in which it can be kept; and says whether that would
/// be verified as the connection was.
fn exhibit(
    witnessed: Witnessed,
    certificate: Vec<u8>,
) -> anyhow::Result<(Exhibit, Result<Proven, BoxError>)> {
    let challenge = Challenge::of(&witnessed.binding).context("expected a nonce or a session")?;
    let exhibit = Exhibit {
        kind: witnessed.kind,
        document: witnessed.document,
        certificate: Some(certificate),
        challenge,
    };
    ensure!(
        exhibit.binding()? == witnessed.binding,
        "the evidence is of another connection than its certificate"
    );
    Ok((exhibit, witnessed.proof))
}

/// Where the collateral that the verification took is from: told apart only if it can be.
async fn collateral_place(
    request: &Request,
    exhibit: &Exhibit,
    proof: &Result<Proven, BoxError>,
    source: &CollateralSource,
) -> CollateralPlace {
    let place = request.trust.collateral.place();
    let CollateralPlace::Service {
        service,
        kept_in: Some(directory),
    } = &place
    else {
        return place;
    };
    let Some(fetched) = fetched(exhibit, source).await else {
        return place;
    };
    let is_same = |proven: &Proven| proven.collateral == fetched.collateral;
    match proof.as_ref().is_ok_and(is_same) {
        true if fetched.is_from_file => CollateralPlace::Kept {
            directory: directory.clone(),
            at: Moment(fetched.at),
        },
        true => CollateralPlace::Service {
            service: service.clone(),
            kept_in: None,
        },
        false => place,
    }
}

/// What was fetched a moment ago, which is still there.
async fn fetched(exhibit: &Exhibit, source: &CollateralSource) -> Option<Fetched> {
    let CollateralSource::Service(service) = source else {
        return None;
    };
    let binding = exhibit.binding().ok()?;
    let evidence = exhibit.shown(&binding).evidence().ok()?;
    service.fetched_for(evidence.td_quote()).await.ok()
}

fn occasion(
    request: &Request,
    exhibit: &Exhibit,
    address: String,
    now: u64,
    collateral: CollateralPlace,
) -> Occasion {
    Occasion {
        url: Some(request.node.url.to_string()),
        address: Some(address),
        protocol: exhibit.challenge.protocol(),
        kind: exhibit.kind,
        document_size: exhibit.document.len(),
        time: Moment(now),
        has_key: exhibit.certificate.is_some(),
        collateral,
        is_replay: false,
        notes: Vec::new(),
    }
}

/// The collateral that the verification took; also if it ended in a refusal, as far as there is
/// any.
async fn kept_collateral(
    exhibit: &Exhibit,
    proof: &Result<Proven, BoxError>,
    source: &CollateralSource,
) -> Option<Collateral> {
    match (proof, source) {
        (Ok(proven), _) => Some(Collateral::clone(&proven.collateral)),
        (_, CollateralSource::Given(collateral)) => Some(Collateral::clone(collateral)),
        (_, CollateralSource::Service(_)) => {
            let fetched = fetched(exhibit, source).await?;
            Some(Collateral::clone(&fetched.collateral))
        }
    }
}
