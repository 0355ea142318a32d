//! Facts of a TPM: who it is by its endorsement keys, and what its quote and log prove. Verifies nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_evidence::tpm::event_log::BootFacts;
use holdfast_evidence::tpm::ownership::Ownership;
use holdfast_evidence::tpm::{EkIdentity, PcrSelection, PcrSet, PcrValues, TpmClaims};
use holdfast_evidence::{Provenance, TrustClass};

use super::{Explained, Fact, FactId, Facts, LogFacts, boot, ownership};
use crate::decision::MachineRecord;
use crate::value::{Value, Version, digest_of};

/// What is known of a TPM, borrowed from verified claims, or from what an offline inspection found out.
#[derive(Clone, Copy, Debug)]
pub struct TpmSources<'a> {
    /// Its endorsement keys.
    pub eks: &'a [EkIdentity],
    /// Its firmware version, as quoted.
    pub firmware_version: u64,
    /// Bank and PCRs that were quoted.
    pub selection: PcrSelection,
    /// Their values.
    pub pcrs: &'a PcrValues,
    /// The PCRs that the log replays to.
    pub replayed: PcrSet,
    /// The PCRs that nobody extended.
    pub untouched: PcrSet,
    /// What the log proves.
    pub boot: Option<&'a BootFacts>,
    /// What its maker says of the machine; `None` where nobody asked.
    pub ownership: Option<&'a Ownership>,
}

impl<'a> From<&'a TpmClaims> for TpmSources<'a> {
    fn from(claims: &'a TpmClaims) -> Self {
        Self {
            eks: &claims.eks,
            firmware_version: claims.firmware_version,
            selection: claims.selection,
            pcrs: &claims.pcrs,
            replayed: claims.replayed,
            untouched: claims.untouched,
            boot: claims.boot(),
            ownership: Some(&claims.ownership),
        }
    }
}

impl TpmSources<'_> {
    /// Who vouches for the facts: hardware, unless a simulated root stands above any of the keys.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        match self.eks.iter().map(|ek| ek.class).max() {
            None => Provenance::Unauthenticated,
            Some(TrustClass::Simulated) => Provenance::Simulated,
            Some(TrustClass::Cloud | TrustClass::Vtpm) => Provenance::Provider,
            Some(TrustClass::Discrete | TrustClass::Firmware) => Provenance::Hardware,
        }
    }

    /// The PCRs whose whole history is known.
    #[must_use]
    pub fn known(&self) -> PcrSet {
        self.replayed.union(self.untouched)
    }

    /// What the log proves, as facts. Depends on the log, [`TpmSources::known`] and [`TpmSources::provenance`] alone.
    #[must_use]
    pub fn log_facts(&self) -> LogFacts {
        self.boot.map(|facts| boot(facts, self.known(), self.provenance())).unwrap_or_default()
    }
}

/// The facts of a TPM. `record` says by which of its keys the machine is named; `log` are its
/// [`TpmSources::log_facts`], made now or kept from the last time.
#[must_use]
pub fn tpm(sources: &TpmSources<'_>, record: MachineRecord, log: Arc<LogFacts>) -> Facts {
    let mut facts = Facts::with_log(log);
    let provenance = sources.provenance();
    let mut add = |id: FactId, values: Vec<Value>| {
        if !values.is_empty() {
            facts.insert(id, Fact::of(provenance, values));
        }
    };
    let digest = |bytes: &[u8; 32]| digest_of(bytes).map(Value::Digest);
    let digests = |of: fn(&EkIdentity) -> &[u8; 32]| -> Vec<Value> {
        let distinct: BTreeSet<&[u8; 32]> = sources.eks.iter().map(of).collect();
        distinct.into_iter().filter_map(digest).collect()
    };
    let texts = |of: fn(&EkIdentity) -> &str| -> Vec<Value> {
        let distinct: BTreeSet<&str> = sources.eks.iter().map(of).filter(|text| !text.is_empty()).collect();
        distinct.into_iter().map(Value::text).collect()
    };
    let identity = match record {
        MachineRecord::Known { identity } => Some(identity),
        MachineRecord::New => sources.eks.iter().map(|ek| ek.spki_sha256).min(),
    };
    add(FactId::Machine, identity.as_ref().and_then(digest).into_iter().collect());
    let mut classes = texts(|ek| ek.class.as_str());
    let simulated = Value::text(TrustClass::Simulated.as_str());
    let is_simulated = |ownership: &Ownership| ownership.roots().any(|(_, root)| root.class == TrustClass::Simulated);
    if sources.ownership.is_some_and(is_simulated) && !classes.contains(&simulated) {
        classes.push(simulated);
    }
    add(FactId::Class, classes);
    add(FactId::EkSpki, digests(|ek| &ek.spki_sha256));
    add(FactId::EkCertificate, digests(|ek| &ek.certificate_sha256));
    add(FactId::Manufacturer, texts(|ek| &ek.manufacturer));
    add(FactId::Model, texts(|ek| &ek.model));
    add(FactId::HardwareVersion, texts(|ek| &ek.version));
    add(FactId::RootDigest, digests(|ek| &ek.root_sha256));
    add(FactId::RootName, texts(|ek| &ek.root_name));
    add(FactId::FirmwareVersion, vec![Value::Version(Version::from_u64(sources.firmware_version))]);
    for (pcr, value) in sources.pcrs.iter() {
        add(FactId::Pcr(pcr.get()), vec![Value::Digest(*value)]);
    }
    if let Some(found) = sources.ownership {
        ownership::add(found, provenance, &mut facts);
    }
    for pcr in sources.selection.pcrs.iter() {
        let explained = match (sources.replayed.contains(pcr), sources.untouched.contains(pcr)) {
            (true, _) => Explained::ByEvents,
            (false, true) => Explained::NeverExtended,
            (false, false) => Explained::Not,
        };
        facts.quoted_pcr(pcr.get(), explained);
    }
    facts
}
