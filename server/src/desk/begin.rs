//! The first round trip: a challenge for a machine that offers keys, or for a node on its own connection. Stores
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use holdfast_appraisal::Policy;
use holdfast_evidence::tpm::PcrSet;
use holdfast_evidence::tpm::endorsement::ExpiredIssuers;
use holdfast_evidence::tpm::{
    Endorsers, IdentityMaterial, Invitation, KnownTpm, NodeKeyProof, PcrSelection, Uninvited, Wanted,
};
use holdfast_evidence::{Challenge, EvidenceKind, ItemState, Purpose};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use super::evidence::{EvidenceRefused, tpm};
use super::offers::{Makers, Offer};
use super::{CallerRefused, Desk, Failure};
use crate::budget::Source;
use crate::clock;
use crate::listen::Connection;
use crate::store::{Node, NodeTarget, Serves, Sha256};

/// What an agent offers for one kind of evidence.
#[derive(Clone, Debug)]
pub struct Material {
    /// `tpm`.
    pub kind: String,
    /// As that kind encodes it.
    pub bytes: Vec<u8>,
}

/// A challenge on its way.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The sealed challenge.
    pub seal: Vec<u8>,
    /// Its nonce.
    pub nonce: Vec<u8>,
    /// When it is void.
    pub expires_at: UnixTime,
    /// One per kind: what must be answered.
    pub asks: Vec<Material>,
    /// From which byte on the list of measured files is wanted; `None` if it is not.
    pub measured_files: Option<u64>,
}

/// By which way a machine comes in, and what it is asked for.
struct Invited {
    purpose: Purpose,
    states: Vec<ItemState>,
    asks: Vec<Material>,
    /// What a TPM that enrols offered.
    offer: Option<Offer>,
}

/// A TPM that was invited.
struct InvitedTpm {
    purpose: Purpose,
    invitation: Invitation,
    /// The kinds of evidence that the machine proved before.
    proved: BTreeSet<EvidenceKind>,
    offer: Option<Offer>,
}

impl Invited {
    fn add_tpm(&mut self, invitation: Invitation) {
        let (ask, state) = invitation.into_parts();
        self.states.push(state);
        self.asks.push(Material { kind: EvidenceKind::Tpm.as_str().to_owned(), bytes: ask.encode() });
    }

    fn add(&mut self, kind: EvidenceKind, selection: PcrSelection) {
        let bytes = if kind.quotes_pcrs() { selection.encode() } else { Vec::new() };
        self.states.extend(ItemState::plain(kind, selection));
        self.asks.push(Material { kind: kind.as_str().to_owned(), bytes });
    }
}

impl Desk {
    /// Draws a challenge.
    ///
    /// # Errors
    /// [`Failure`]: over budget, not a machine or node that this server could admit, or a fault of ours.
    pub async fn begin(
        &self,
        connection: &Arc<Connection>,
        materials: Vec<Material>,
        has_measured_files: bool,
    ) -> Result<Begun, Failure> {
        match connection.peer() {
            // Whoever has a certificate of ours has a budget of his own: a rack behind one address does not share one.
            Some(peer) => self.machines.take(Sha256::of(&peer.spki).0, Instant::now())?,
            None => self.sources.take(Source::of(connection.remote().ip()), Instant::now())?,
        }
        let _place = self.cpu.enter(1).await?;
        let Invited { purpose, states, asks, offer } = match materials.as_slice() {
            [] => self.invite_renewal(connection).await?,
            offered => self.invite_machine(connection, offered).await?,
        };
        let measured_files = match has_measured_files {
            true => self.measured_files_wanted(&purpose, &states).await?,
            false => None,
        };
        let rng = SystemRandom::new();
        let crypto = |_| Failure::Crypto { action: "draw a challenge" };
        let now = clock::now();
        let lifetime = self.settings.challenge_lifetime;
        let challenge =
            Challenge::draw(self.trust_domain.clone(), purpose, states, now, lifetime, &rng).map_err(crypto)?;
        connection.note_drawn(challenge.id());
        if let Some(offer) = offer {
            self.offers.keep(challenge.id(), offer);
        }
        let seal = challenge.seal(&self.seals, &rng).map_err(crypto)?;
        let (nonce, expires_at) = (challenge.nonce().to_vec(), challenge.expires_at());
        Ok(Begun { seal, nonce, expires_at, asks, measured_files })
    }

    /// The node on its own connection, without a word about itself: all that it once proved is asked for again.
    async fn invite_renewal(&self, connection: &Connection) -> Result<Invited, Failure> {
        let (node, purpose) = self.renewing(connection).await?.ok_or(CallerRefused::NotANode)?;
        let mut invited = Invited { purpose, states: Vec::new(), asks: Vec::new(), offer: None };
        for kind in kinds(&node) {
            if kind == EvidenceKind::Tpm {
                // What cannot be read back is as good as forgotten: the machine enrols from the start.
                let known = tpm::remembered(&node.known).ok_or(CallerRefused::NotANode)?;
                let invitation = self.invite_known(&node, known, &invited.purpose)?;
                invited.add_tpm(invitation);
            } else {
                invited.add(kind, self.selection()?);
            }
        }
        Ok(invited)
    }

    /// A machine with what it offers: a node on its own connection or another, or a stranger. Of what it offers, that
    /// is asked for which a rule needs or which it proved before.
    async fn invite_machine(&self, connection: &Connection, offered: &[Material]) -> Result<Invited, Failure> {
        let mut materials = BTreeMap::new();
        for material in offered {
            let kind = material.kind.parse::<EvidenceKind>().map_err(|_| CallerRefused::Kind)?;
            if materials.insert(kind, material.bytes.as_slice()).is_some() {
                return Err(CallerRefused::Kind.into());
            }
        }
        let renewing = self.renewing(connection).await?;
        let mut needed = self.rules.get().evidence_kinds();
        needed.extend(renewing.iter().flat_map(|(node, _)| kinds(node)));
        if !needed.contains(&EvidenceKind::Tpm) {
            materials.remove(&EvidenceKind::Tpm);
        }
        // A TPM comes first: whether it is known decides by which way the machine comes in.
        let tpm = match materials.get(&EvidenceKind::Tpm) {
            Some(bytes) => Some(self.invite_tpm(connection, bytes).await?),
            None => None,
        };
        let (purpose, mut invitation, offer) = match (tpm, renewing) {
            (Some(InvitedTpm { purpose, invitation, proved, offer }), _) => {
                needed.extend(proved);
                (purpose, Some(invitation), offer)
            }
            (None, Some((_, purpose))) => (purpose, None, None),
            (None, None) => (Purpose::Enrol, None, None),
        };
        materials.retain(|kind, _| needed.contains(kind));
        let mut invited = Invited { purpose, states: Vec::new(), asks: Vec::new(), offer };
        for (kind, bytes) in materials {
            match (kind, invitation.take_if(|_| kind == EvidenceKind::Tpm)) {
                (_, Some(invitation)) => invited.add_tpm(invitation),
                // What these are is in the evidence itself.
                (_, None) if bytes.is_empty() => invited.add(kind, self.selection()?),
                (_, None) => return Err(CallerRefused::Kind.into()),
            }
        }
        if invited.states.is_empty() {
            return Err(CallerRefused::Kind.into());
        }
        Ok(invited)
    }

    /// The node whose own connection this is.
    async fn renewing(&self, connection: &Connection) -> Result<Option<(Node, Purpose)>, Failure> {
        let Some(peer) = connection.peer() else { return Ok(None) };
        let node = self.store.node(NodeTarget::SpiffeId(peer.spiffe_id.clone())).await?;
        Ok(node.and_then(|node| renewal(connection, &node).map(|purpose| (node, purpose))))
    }

    /// A TPM with its keys: one that we know by its attestation key, on its own connection or another, or a stranger's.
    async fn invite_tpm(&self, connection: &Connection, bytes: &[u8]) -> Result<InvitedTpm, Failure> {
        let material = IdentityMaterial::parse(bytes).map_err(EvidenceRefused::from)?;
        let ak = material.ak().map_err(EvidenceRefused::from)?;
        if let Some(node) = self.store.node(NodeTarget::AkName(ak.name().to_vec())).await?
            && let Some(known) = tpm::remembered(&node.known)
        {
            let purpose = renewal(connection, &node).unwrap_or(Purpose::Return);
            let invitation = self.invite_known(&node, known, &purpose)?;
            return Ok(InvitedTpm { purpose, invitation, proved: kinds(&node), offer: None });
        }
        if material.endorsement.is_empty() {
            return Err(CallerRefused::UnknownKey.into());
        }
        let rules = self.rules.get();
        let roots = rules.roots(EvidenceKind::Tpm);
        let (platforms, devices) = (rules.roots(Serves::Platforms), rules.roots(Serves::Devices));
        let wanted = Wanted { selection: self.selection()?, known_firmware_log: None };
        // A TPM outlives the intermediates that certified it, and is not certified anew.
        let endorsers = Endorsers {
            roots: &roots,
            expired_issuers: ExpiredIssuers::Accepted,
            platforms: &platforms,
            devices: &devices,
        };
        let at = clock::now();
        match Invitation::new(&material, &wanted, endorsers, at, &SystemRandom::new()) {
            Ok(invitation) => {
                let makers = (!material.ownership.is_empty()).then_some(Makers { platforms, devices });
                let offer = Some(Offer { material: bytes.to_vec(), roots, makers, at });
                Ok(InvitedTpm { purpose: Purpose::Enrol, invitation, proved: BTreeSet::new(), offer })
            }
            Err(Uninvited::Evidence(unverified)) => Err(EvidenceRefused::from(unverified).into()),
            Err(Uninvited::Fault(_)) => Err(Failure::Crypto { action: "draw a secret" }),
        }
    }

    fn invite_known(&self, node: &Node, known: KnownTpm, purpose: &Purpose) -> Result<Invitation, Failure> {
        let known = tpm::as_trusted_now(known, &self.rules.get());
        let wanted =
            Wanted { selection: self.selection()?, known_firmware_log: node.firmware_log.map(|digest| digest.0) };
        let node_key = match purpose {
            // The handshake was signed with the key on record.
            Purpose::Renew { spki_sha256, .. } => NodeKeyProof::OnRecord { spki_sha256: *spki_sha256 },
            // Elsewhere it may have another by now, and says only in its answer which.
            Purpose::Enrol | Purpose::Return => NodeKeyProof::Certify,
        };
        Ok(Invitation::returning(known, &wanted, node_key).map_err(EvidenceRefused::from)?)
    }

    /// What the policy in force wants quoted.
    fn selection(&self) -> Result<PcrSelection, Failure> {
        let rules = self.rules.get();
        let bank = rules.enforced_for(None).ok_or(CallerRefused::NoPolicy)?.policy.pcr_bank();
        // The observed policy's verdict is worth something only if what it needs was quoted; it must be in one bank.
        let of_bank = rules.versions().map(|version| &version.policy).filter(|policy| policy.pcr_bank() == bank);
        let pcrs = of_bank.map(Policy::required_pcrs).reduce(PcrSet::union).unwrap_or_default();
        Ok(PcrSelection { bank, pcrs })
    }
}

/// The kinds of evidence that a node once proved.
fn kinds(node: &Node) -> BTreeSet<EvidenceKind> {
    node.kinds.iter().filter_map(|kind| kind.parse().ok()).collect()
}

/// A renewal, if the connection is the node's own: its certificate carries the name and the node key on record.
fn renewal(connection: &Connection, node: &Node) -> Option<Purpose> {
    let peer = connection.peer()?;
    let own = node.spiffe_id.as_ref() == Some(&peer.spiffe_id) && node.node_key_spki == peer.spki;
    own.then(|| Purpose::Renew { node: peer.spiffe_id.clone(), spki_sha256: Sha256::of(&peer.spki).0 })
}
