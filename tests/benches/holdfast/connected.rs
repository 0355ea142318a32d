//! Agents that are connected, as many as a row wants: their side of the protocol, each with a node identity of its own on a
//! connection of its own, as a virtual TPM earned it, and with its stream open.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, bail};
use holdfast_protocol::agent as wire;
use holdfast_tests::Server;

use crate::admin::Admin;
use crate::appraise::fill;
use crate::fleet::{AT_ONCE, At, DOMAIN, Node};
use crate::pki::Ca;
use crate::virtual_tpm::VirtualTpm;

/// Agents that are connected.
pub const AGENTS: usize = 1000;

/// A fleet that is connected, with its streams open.
pub struct Fleet {
    pub nodes: Vec<Node>,
    pub admin: Admin,
    pub at: Arc<At>,
}

impl Fleet {
    pub fn machines(ca: &Ca, count: usize) -> Vec<VirtualTpm> {
        let mut machines: Vec<VirtualTpm> = (0..count).map(|_| VirtualTpm::new(ca)).collect();
        machines.iter_mut().for_each(|tpm| fill(&mut tpm.firmware.events));
        machines
    }

    pub async fn connect(server: &Server, machines: Vec<VirtualTpm>) -> anyhow::Result<Self> {
        let at = Arc::new(At::of(server)?);
        let bare = machines.into_iter().map(Node::bare).collect();
        let (nodes, _) = at.each(bare, AT_ONCE, |at, node| Box::pin(at.enrol(node))).await?;
        let (nodes, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.connect_and_renew(node))).await?;
        let (nodes, _) = at.each(nodes, AT_ONCE, |at, node| Box::pin(at.sync(node))).await?;
        Ok(Self { nodes, admin: Admin::connect(server).await?, at })
    }

    pub fn node(&mut self, index: usize) -> anyhow::Result<&mut Node> {
        let count = self.nodes.len();
        self.nodes.get_mut(index % count).context("no nodes")
    }
}

/// Waits for the message with an entry in it.
pub async fn pushed(node: &mut Node) -> anyhow::Result<wire::Entry> {
    let stream = node.stream.as_mut().context("no stream")?;
    loop {
        let message = stream.message().await?.context("the stream ended")?;
        if let Some(entry) = message.entries.into_iter().next() {
            return Ok(entry);
        }
    }
}

/// Waits for the message that takes an entry back.
pub async fn removed(node: &mut Node) -> anyhow::Result<()> {
    let stream = node.stream.as_mut().context("no stream")?;
    while stream.message().await?.context("the stream ended")?.removed_entry_ids.is_empty() {}
    Ok(())
}

/// Waits for an entry, and has its SVID signed.
pub async fn supplied(node: &mut Node, csr: &[u8]) -> anyhow::Result<Instant> {
    let entry = pushed(node).await?;
    let answer = node.link.as_ref().context("not connected")?.sign(&entry.id, csr).await?;
    match answer.outcome.context("no outcome")? {
        wire::svid_result::Outcome::Svid(_) => Ok(Instant::now()),
        wire::svid_result::Outcome::Refused(why) => bail!("not signed: {why}"),
    }
}

pub fn csr() -> anyhow::Result<Vec<u8>> {
    let key = rcgen::KeyPair::generate()?;
    Ok(rcgen::CertificateParams::default().serialize_request(&key)?.der().to_vec())
}

pub fn id(path: &str) -> String {
    format!("spiffe://{DOMAIN}/{path}")
}
