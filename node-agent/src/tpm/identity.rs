//! The chip with its two keys in place, and what the state directory remembers of it.

use std::sync::Arc;

use rcgen::{PublicKeyData, SignatureAlgorithm};
use serde::{Deserialize, Serialize};
use tss_esapi::handles::KeyHandle;

use super::actor::{Pulse, Tpm};
use super::chip::Chip;
use super::endorsement::EndorsementRecord;
use super::ownership::OwnershipRecord;
use super::{Access, TpmFault, keys, leftovers, templates};
use crate::state::StateDir;

/// The file in the state directory.
pub(super) const RECORD: &str = "tpm.json";
/// Marks that objects of ours may be in the chip: left behind by an agent that was killed.
const IN_USE: &str = "tpm.in-use";

/// The public halves of the keys that this machine attests and speaks with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmIdentity {
    /// The attestation key, TPM2B_PUBLIC.
    pub ak_public: Vec<u8>,
    /// The node key, TPM2B_PUBLIC.
    pub node_key_public: Vec<u8>,
    /// The node key, DER SubjectPublicKeyInfo.
    pub node_key_spki: Vec<u8>,
    /// Whether both keys stand in persistent handles; otherwise they are made anew at each start.
    pub persistent: bool,
}

/// What the state directory remembers of the chip. Nothing in it is secret, and nothing in it is trusted: a Name that
/// the chip does not confirm is forgotten.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// 32 bytes for the node key's `unique`, hexadecimal.
    pub(super) node_key_unique: String,
    /// TPM2B_PUBLIC of the attestation key, hexadecimal.
    pub(super) ak_public: Option<String>,
    /// TPM2B_PUBLIC of the node key, hexadecimal.
    pub(super) node_key_public: Option<String>,
    /// The endorsement certificates, once they have been read.
    pub(super) endorsement: Option<EndorsementRecord>,
    /// What makes the machine somebody's, once it has been read.
    #[serde(default)]
    pub(super) ownership: Option<OwnershipRecord>,
}

/// What the TPM thread owns.
pub(super) struct Machine {
    pub(super) access: Access,
    pub(super) state: StateDir,
    pulse: Arc<Pulse>,
    open: Option<Open>,
    closed: bool,
}

/// The open chip and its keys.
pub(super) struct Open {
    pub(super) chip: Chip,
    pub(super) ak: KeyHandle,
    pub(super) node_key: KeyHandle,
    pub(super) identity: TpmIdentity,
    pub(super) record: Record,
}

impl Machine {
    pub(super) fn new(access: Access, state: StateDir, pulse: Arc<Pulse>) -> Self {
        Self { access, state, pulse, open: None, closed: false }
    }

    /// Does `work` on the open chip. Where a key has gone or no slot is free, the chip is opened anew and cleaned, and
    /// the work is done once more.
    pub(super) fn with<T>(
        &mut self,
        mut work: impl FnMut(&mut Open, &Access, &StateDir) -> Result<T, TpmFault>,
    ) -> Result<T, TpmFault> {
        let first = self.attempt(&mut work, false);
        match first {
            Err(fault) if fault.is_out_of_slots() || fault.is_lost() => {
                tracing::warn!(code = fault.code(), error = %fault, "TPM opened anew");
                self.open = None;
                self.attempt(&mut work, true)
            }
            other => other,
        }
    }

    fn attempt<T>(
        &mut self,
        work: &mut impl FnMut(&mut Open, &Access, &StateDir) -> Result<T, TpmFault>,
        clean: bool,
    ) -> Result<T, TpmFault> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.opened(clean)?,
        };
        let result = work(&mut open, &self.access, &self.state);
        self.open = Some(open);
        result
    }

    fn opened(&mut self, clean: bool) -> Result<Open, TpmFault> {
        let mut chip = Chip::open(&self.access, Arc::clone(&self.pulse))?;
        if !self.access.interface.has_resource_manager() {
            if clean || self.state.is_marked(IN_USE) {
                let flushed = leftovers::flush(&mut chip)?;
                if flushed > 0 {
                    tracing::info!(flushed, "objects and sessions of a killed process flushed from the TPM");
                }
            }
            self.state.mark(IN_USE)?;
        }
        let mut record = self.record()?;
        let before = record.clone();
        let held = keys::hold(&mut chip, &self.access, &mut record)?;
        let identity = identity(&record, held.persistent)?;
        if before.ak_public != record.ak_public {
            // Another chip: what was read from the former one says nothing about this one.
            record.endorsement = None;
            record.ownership = None;
        }
        if before.ak_public != record.ak_public || before.node_key_public != record.node_key_public {
            self.state.write(RECORD, &record)?;
        }
        Ok(Open { chip, ak: held.ak, node_key: held.node_key, identity, record })
    }

    /// The record as it stands, or a new one with fresh bytes for `unique`, written before any key is made with them.
    fn record(&self) -> Result<Record, TpmFault> {
        if let Some(record) = self.state.read::<Record>(RECORD)? {
            return Ok(record);
        }
        let mut unique = [0; templates::COORDINATE];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut unique)
            .map_err(|_| TpmFault::Form { what: "system's random numbers", expected: "to be available" })?;
        let record = Record { node_key_unique: hex::encode(unique), ..Record::default() };
        self.state.write(RECORD, &record)?;
        Ok(record)
    }

    /// Frees what we hold in the chip.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.open.take().is_some() {
            // The library flushed what was ours when the context was dropped.
            let _ = self.state.remove(IN_USE);
        }
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }
}

fn identity(record: &Record, persistent: bool) -> Result<TpmIdentity, TpmFault> {
    let public = |hexadecimal: &Option<String>| {
        hexadecimal.as_ref().and_then(|text| hex::decode(text).ok()).ok_or(TpmFault::Form {
            what: "TPM record in the state directory",
            expected: "public areas in hexadecimal",
        })
    };
    let (ak_public, node_key_public) = (public(&record.ak_public)?, public(&record.node_key_public)?);
    let (x, y) = templates::coordinates(&node_key_public)
        .ok_or(TpmFault::Form { what: "node key's public area", expected: "a P-256 point" })?;
    Ok(TpmIdentity { ak_public, node_key_public, node_key_spki: spki(&x, &y), persistent })
}

/// DER SubjectPublicKeyInfo of a P-256 point.
fn spki(x: &[u8], y: &[u8]) -> Vec<u8> {
    /// SEC 1, uncompressed.
    struct Point(Vec<u8>);

    impl PublicKeyData for Point {
        fn der_bytes(&self) -> &[u8] {
            &self.0
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            &rcgen::PKCS_ECDSA_P256_SHA256
        }
    }
    Point([&[0x04], x, y].concat()).subject_public_key_info()
}

impl Tpm {
    /// The public halves of the attestation key and the node key, made or loaded now if they were not yet.
    ///
    /// # Errors
    /// [`TpmFault`] where the chip cannot be opened or its keys cannot be put in place.
    pub async fn identity(&self) -> Result<TpmIdentity, TpmFault> {
        self.ask(|machine| machine.with(|open, _, _| Ok(open.identity.clone()))).await
    }
}
