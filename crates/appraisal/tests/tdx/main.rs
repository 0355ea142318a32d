//! TDX quotes from their bytes to a decision: which facts they become, who the guest is, and what policies make of it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/tdx/intel.rs"]
mod intel;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/tdx/log.rs"]
mod log;
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
#[path = "../../../evidence/tests/tdx/td.rs"]
mod td;

mod facts;
mod identity;
mod policies;

use holdfast_evidence::tdx::{TdxClaims, TdxEvidence, TdxItem};
use holdfast_evidence::{Challenge, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, Verified};
use ring::rand::SystemRandom;

use crate::log::Log;
use crate::td::{NOW, Td, at};

/// A guest's answer to a challenge of its own, with a node key of its own, verified.
fn attested(mut td: Td, log: Option<&Log>) -> Verified<TdxClaims> {
    let items = vec![ItemState::Report { kind: EvidenceKind::Tdx }];
    let domain = "example.org".parse().unwrap();
    let challenge = Challenge::draw(domain, Purpose::Enrol, items, NOW, 60, &SystemRandom::new()).unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
    let key = ProvenKey::from_csr(request.der()).unwrap();
    let bytes = log.map(Log::encode);
    if let Some(log) = log {
        td.put(at::RTMR0, log.registers().as_flattened());
    }
    let unsigned = TdxItem { quote: &td.quote(), ccel: bytes.as_deref() }.encode();
    let binding = challenge.answer(key, &[TdxEvidence::parse(&unsigned).unwrap().commitment()]).unwrap();
    td.put(at::REPORTDATA, &[0; 64]);
    td.put(at::REPORTDATA, binding.digest_of(EvidenceKind::Tdx).unwrap());
    let item = TdxItem { quote: &td.quote(), ccel: bytes.as_deref() }.encode();
    TdxEvidence::parse(&item).unwrap().verify(&td.endorsements(), &binding, NOW).unwrap()
}
