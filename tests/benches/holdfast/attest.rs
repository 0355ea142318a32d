//! Machines of every kind but a TPM's against a server process over loopback: enrolments a second, each on a connection of
//! its own, and re-attestations on the connection of the node.

use std::sync::Arc;

use anyhow::Context as _;
use holdfast_evidence::tpm::PcrSelection;
use holdfast_evidence::{BindingFields, EvidenceKind, binding_digest};
use holdfast_tests::{Programs, Server, WorkDir};

use crate::fleet::{AT_ONCE, At, DOMAIN, LIMITS};
use crate::guests::{Guest, Site};
use crate::link::{Answer, Begun, Link};
use crate::report::Row;
use crate::stage::Asked;

/// Machines of each kind.
const MACHINES: usize = 200;
/// Re-attestations of each machine on its open connection.
const RENEWALS: usize = 2;

/// A machine with what it was given.
struct Node {
    guest: Guest,
    key: rcgen::KeyPair,
    chain: Vec<Vec<u8>>,
    link: Option<Link>,
}

/// Both rows of a kind.
pub fn measure(kind: EvidenceKind, site: fn(usize) -> anyhow::Result<Site>) -> anyhow::Result<Vec<Row>> {
    let Site { guests, policy, roots, collateral, ours } = site(MACHINES)?;
    let (programs, work) = (Programs::beside_this_one()?, WorkDir::new()?);
    let server = Server::init_with(&programs, &work, DOMAIN, LIMITS)?.start(&work.path().join("server.log"))?;
    let place = |name: &str, content: &[u8]| {
        let path = work.path().join(name);
        std::fs::write(&path, content).map(|()| path.display().to_string())
    };
    let serves = if kind == EvidenceKind::NitroTpm { "nitro" } else { kind.as_str() };
    for (at, der) in roots.iter().enumerate() {
        let root =
            place(&format!("root-{at}.pem"), pem::encode(&pem::Pem::new("CERTIFICATE", der.clone())).as_bytes())?;
        server.operator(&["endorsements", "import", "--class", "simulated", "--for", serves, &root])?;
    }
    if let Some(collateral) = collateral {
        server.operator(&["endorsements", "import", &place("collateral.json", &collateral)?])?;
    }
    server.operator(&["node", "allow", "--csv", &place("inventory.csv", ours.join("\n").as_bytes())?])?;
    server.operator(&["policy", "apply", &place("bench.toml", policy.as_bytes())?])?;
    let at = Arc::new(At::of(&server)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let nodes = guests.into_iter().map(Node::new).collect::<anyhow::Result<_>>()?;
    runtime.block_on(rows(&at, kind, nodes)).with_context(|| {
        let log = std::fs::read_to_string(work.path().join("server.log")).unwrap_or_default();
        format!("{kind}: {}; {log}", server.operator(&["attempt", "strangers"]).unwrap_or_default())
    })
}

async fn rows(at: &Arc<At>, kind: EvidenceKind, nodes: Vec<Node>) -> anyhow::Result<Vec<Row>> {
    let (nodes, mut enrolled) = at.each(nodes, AT_ONCE, |at, node| Box::pin(node.enrol(at))).await?;
    let (nodes, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(node.connect(at))).await?;
    let (mut nodes, mut renewed) = at.each(nodes, AT_ONCE, |at, node| Box::pin(node.renew(at))).await?;
    for _ in 1..RENEWALS {
        let (same, round) = at.each(nodes, AT_ONCE, |at, node| Box::pin(node.renew(at))).await?;
        nodes = same;
        renewed.add(round);
    }
    let what = |what: &str, cpu: f64| format!("{what}; {cpu:.2} ms of the server's CPU for each");
    let enrolment = what("TLS, begin and complete on a new connection, SVID issued", enrolled.server_cpu());
    let renewal = what("begin and complete on the node's open connection, SVID issued", renewed.server_cpu());
    Ok(vec![
        enrolled.rate(&format!("attest_{kind}"), &enrolment, MACHINES),
        renewed.rate(&format!("reattest_{kind}"), &renewal, MACHINES),
    ])
}

impl Node {
    fn new(guest: Guest) -> anyhow::Result<Self> {
        Ok(Self { guest, key: rcgen::KeyPair::generate()?, chain: Vec::new(), link: None })
    }

    async fn enrol(mut self, at: Arc<At>) -> anyhow::Result<Self> {
        let link = Link::open(at.address, None).await?;
        let csr = rcgen::CertificateParams::default().serialize_request(&self.key)?.der().to_vec();
        self.chain = self.attest(&at, &link, Some(csr)).await?;
        Ok(self)
    }

    async fn connect(mut self, at: Arc<At>) -> anyhow::Result<Self> {
        let link = Link::open(at.address, Some((self.chain.as_slice(), &self.key.serialize_der()))).await?;
        self.link = Some(link);
        Ok(self)
    }

    async fn renew(mut self, at: Arc<At>) -> anyhow::Result<Self> {
        let link = self.link.take().context("not connected")?;
        self.chain = self.attest(&at, &link, None).await?;
        self.link = Some(link);
        Ok(self)
    }

    /// One attestation; a certificate request comes along where the connection does not prove the key.
    async fn attest(&mut self, at: &At, link: &Link, csr: Option<Vec<u8>>) -> anyhow::Result<Vec<Vec<u8>>> {
        let spki = rcgen::PublicKeyData::subject_public_key_info(&self.key);
        let (guest, material) = (&mut self.guest, csr.is_some().then(Vec::new));
        let kind = guest.kind;
        let answer = |begun: &Begun| {
            let asked = asked(guest, at, begun, &spki)?;
            Ok(Answer { node_key_spki: spki.clone(), csr: csr.unwrap_or_default(), item: (guest.answer)(&asked)? })
        };
        Ok(link.attest(kind.as_str(), material, answer).await?.certificate_chain)
    }
}

/// What the guest must have signed.
fn asked(guest: &Guest, at: &At, begun: &Begun, spki: &[u8]) -> anyhow::Result<Asked> {
    let selection = if kind_quotes(guest.kind) { PcrSelection::parse(&begun.ask)? } else { guest.nothing() };
    let binding = binding_digest(&BindingFields {
        trust_domain: &at.domain,
        kinds: &[guest.kind],
        nonce: &begun.nonce,
        ak_name: guest.ak.as_ref().map(<[u8; 32]>::as_slice).unwrap_or_default(),
        node_key_spki: spki,
        ek_certificates: &[],
        selection: &begun.ask,
        firmware_log: guest.log.as_ref(),
        others: &[],
    });
    Ok(Asked { nonce: begun.nonce, binding: binding.to_vec(), selection })
}

fn kind_quotes(kind: EvidenceKind) -> bool {
    matches!(kind, EvidenceKind::Azure | EvidenceKind::Gcp)
}
