//! The samples, what checking them finds, and a log's keeper who lies and signs it.

use holdfast_evidence::crypto::Zeroizing;
use holdfast_proof::{Bodies, Conclusion, Digest, Manifest, ProofBody, ProofBundle, Reader, Report, State, check};
use holdfast_record::{Checkpoint, Hash, InclusionProof, SigningKey};
use serde_json::Value;

pub(crate) const LOG: &str = "example.org/record";

pub(crate) fn file(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/samples/{name}.proof", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

pub(crate) fn sample(name: &str) -> ProofBundle {
    ProofBundle::parse(&file(name)).unwrap()
}

pub(crate) fn log_key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, Zeroizing::new([seed; 32])).unwrap()
}

/// What is found; in no report anything reads as verified behind what failed.
pub(crate) fn checked(bundle: &ProofBundle) -> Report {
    let report = check(bundle, &Reader { log: log_key(LOG, 7).verifier(), roots: None });
    nothing_holds_behind_a_failure(&report);
    report
}

pub(crate) fn nothing_holds_behind_a_failure(report: &Report) {
    let behind = report.steps.iter().skip_while(|step| step.state != State::Fails);
    for step in behind {
        assert!(!matches!(step.state, State::Holds | State::Vouched), "{step:?} in {report:#?}");
    }
}

/// The codes by which it is refuted; panics if it is not.
pub(crate) fn refuted(bundle: &ProofBundle) -> Vec<&'static str> {
    let report = checked(bundle);
    assert_eq!(report.conclusion, Conclusion::Refuted, "{report:#?}");
    report.failures()
}

/// A log of this entry alone.
pub(crate) fn signed(bundle: &mut ProofBundle, key: &SigningKey) {
    let root = Hash::leaf(&bundle.entry.0);
    bundle.inclusion = InclusionProof::new(0, 1, |_| Some(root)).unwrap();
    bundle.checkpoint = Checkpoint { origin: key.verifier().name().to_owned(), size: 1, root }.sign(key).unwrap();
}

/// Everything that a log's keeper can change.
pub(crate) struct Lie {
    pub(crate) entry: Value,
    pub(crate) manifest: Manifest,
    pub(crate) decision: String,
    pub(crate) bundle: ProofBundle,
}

impl Lie {
    pub(crate) fn about(name: &str) -> Self {
        let bundle = sample(name);
        Self {
            entry: serde_json::from_slice(&bundle.entry.0[1..]).unwrap(),
            manifest: Manifest::parse(&bundle.manifest.as_ref().unwrap().0).unwrap(),
            decision: bundle.decision.clone().unwrap(),
            bundle,
        }
    }

    /// Changes the decision's JSON.
    pub(crate) fn decide(&mut self, change: impl FnOnce(&mut Value)) {
        let mut decision: Value = serde_json::from_str(&self.decision).unwrap();
        change(&mut decision);
        self.decision = decision.to_string();
    }

    pub(crate) fn bodies(&self) -> Bodies {
        let mut bodies = Bodies::default();
        self.bundle.bodies.iter().for_each(|body| {
            bodies.add(body.content.0.clone());
        });
        bodies
    }

    /// Puts other bytes in the place of a body, under their own name.
    pub(crate) fn exchange(&mut self, old: Digest, content: Vec<u8>) -> Digest {
        let sha256 = Digest::of(&content);
        self.bundle.bodies.retain(|body| body.sha256 != old && body.sha256 != sha256);
        self.bundle.bodies.push(ProofBody { sha256, content: holdfast_proof::Blob(content) });
        sha256
    }

    /// Leads every digest to what was changed, and signs.
    pub(crate) fn told(mut self) -> ProofBundle {
        let decision = Digest::of(self.decision.as_bytes());
        self.manifest.decision = decision;
        self.bundle.decision = Some(self.decision);
        let manifest = self.manifest.encode();
        self.entry["decision"] = decision.to_string().into();
        self.entry["manifest"] = Digest::of(&manifest).to_string().into();
        self.bundle.manifest.as_mut().unwrap().0 = manifest;
        self.bundle.entry.0.truncate(1);
        self.bundle.entry.0.extend_from_slice(self.entry.to_string().as_bytes());
        signed(&mut self.bundle, &log_key(LOG, 7));
        self.bundle
    }
}
