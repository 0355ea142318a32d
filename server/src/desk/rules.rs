//! By what the desk judges at this moment: the policy in force, the one observed, and the roots. Read from the store
//! when they change, not at each attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};
use tracing::{error, warn};

use crate::endorse::Trust;
use crate::store::{
    EndorsementRole, Node, PolicyDigest, PolicyVersion, RolloutState, Serves, Store, StoreFault, Which,
};

/// A policy of the store, compiled.
#[derive(Debug)]
pub struct CompiledPolicy {
    /// The version's name in the store.
    pub digest: PolicyDigest,
    /// What it says.
    pub policy: Policy,
}

/// The rules of one moment.
#[derive(Debug, Default)]
pub struct Rules {
    /// Which version decides about whom.
    rollout: RolloutState,
    /// The versions that it names. One that does not compile is not here: about whom it decides, they are not admitted.
    versions: BTreeMap<PolicyDigest, Arc<CompiledPolicy>>,
    /// Roots, intermediates and CRLs by what they serve.
    roots: BTreeMap<Serves, Arc<Roots>>,
}

impl Rules {
    /// Rules without roots, for tests.
    #[cfg(test)]
    pub(super) fn of(
        rollout: RolloutState,
        versions: impl IntoIterator<Item = (PolicyDigest, Arc<CompiledPolicy>)>,
    ) -> Self {
        Self { rollout, versions: versions.into_iter().collect(), roots: BTreeMap::new() }
    }

    /// The version that decides about this node, or about a machine that nobody knows: by what is fixed on record of it,
    /// never by what it shows now. Without one it is not admitted.
    #[must_use]
    pub fn enforced_for(&self, node: Option<&Node>) -> Option<&Arc<CompiledPolicy>> {
        self.versions.get(&self.rollout.version_for(node.map(|node| &node.fixed))?)
    }

    /// The version whose verdict is recorded beside.
    #[must_use]
    pub fn observed(&self) -> Option<&Arc<CompiledPolicy>> {
        self.versions.get(&self.rollout.observed?)
    }

    /// Every version that decides about anybody, and the one observed.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        self.versions.values()
    }

    /// Roots, intermediates and CRLs for this; empty if there are none, and then it is not believed.
    #[must_use]
    pub fn roots(&self, serves: impl Into<Serves>) -> Arc<Roots> {
        self.roots.get(&serves.into()).cloned().unwrap_or_default()
    }

    /// Whether the root with this SHA-256 is trusted now for that.
    #[must_use]
    pub fn trusts(&self, serves: impl Into<Serves>, root: &[u8; 32]) -> bool {
        self.class_of(serves, root).is_some()
    }

    /// The class of the root with this SHA-256, if it is trusted now for that.
    #[must_use]
    pub fn class_of(&self, serves: impl Into<Serves>, root: &[u8; 32]) -> Option<TrustClass> {
        let roots = self.roots.get(&serves.into())?;
        roots.anchors().iter().find(|anchor| anchor.sha256() == root).map(Anchor::class)
    }

    /// The kinds of evidence that the rules in force, and those observed, need.
    #[must_use]
    pub fn evidence_kinds(&self) -> BTreeSet<EvidenceKind> {
        self.versions().flat_map(|one| one.policy.evidence_kinds()).collect()
    }
}

/// The rules as they are now.
#[derive(Debug)]
pub struct CurrentRules {
    rules: RwLock<Arc<Rules>>,
    allow_simulated: bool,
}

impl CurrentRules {
    /// Reads the rules. Roots of class `simulated` are left out unless `allow_simulated`.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn read(store: &dyn Store, allow_simulated: bool) -> Result<Self, StoreFault> {
        let current = Self { rules: RwLock::default(), allow_simulated };
        current.refresh(store).await?;
        Ok(current)
    }

    /// The rules of this moment.
    #[must_use]
    pub fn get(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them again.
    ///
    /// # Errors
    /// [`StoreFault`]; the former rules stay, and a verdict under a policy that was replaced is not recorded.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreFault> {
        let former = self.get();
        let rollout = store.rollout().await?.state;
        let mut versions = BTreeMap::new();
        for digest in rollout.enforcing().chain(rollout.observed) {
            let compiled = match former.versions.get(&digest) {
                Some(former) => Some(former.clone()),
                None => store.policy(digest).await?.and_then(|version| compile(&version)),
            };
            versions.extend(compiled.map(|compiled| (digest, compiled)));
        }
        let roots = self.read_roots(store).await?;
        let rules = Rules {
            rollout,
            versions,
            roots: roots.into_iter().map(|(serves, roots)| (serves, Arc::new(roots))).collect(),
        };
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(())
    }

    async fn read_roots(&self, store: &dyn Store) -> Result<BTreeMap<Serves, Roots>, StoreFault> {
        let mut all: BTreeMap<Serves, Roots> = BTreeMap::new();
        for endorsement in store.endorsements(Which::Trust).await? {
            let draft = endorsement.draft;
            let roots = all.entry(draft.serves).or_default();
            let taken = match draft.role {
                EndorsementRole::Root => match draft.class.parse::<TrustClass>() {
                    Ok(TrustClass::Simulated) if !self.allow_simulated => {
                        warn!(root = %endorsement.sha256, "simulated root is not trusted: allow_simulated is off");
                        continue;
                    }
                    Ok(class) => Anchor::new(&draft.content, class).map(|anchor| roots.add(anchor.named(draft.name))),
                    Err(_) => {
                        error!(root = %endorsement.sha256, class = draft.class, "root has an unknown class, left out");
                        continue;
                    }
                },
                EndorsementRole::Intermediate => roots.add_intermediate(&draft.content),
                EndorsementRole::Crl => roots.add_crl(&draft.content),
                EndorsementRole::Vek | EndorsementRole::Collateral => Ok(()),
            };
            if let Err(bad) = taken {
                error!(endorsement = %endorsement.sha256, role = draft.role.as_str(), error = %bad, "left out");
            }
        }
        // One vendor's root stands above both kinds of Nitro documents.
        if let Some(nitro) = all.get(&Serves::Evidence(EvidenceKind::Nitro)).cloned() {
            all.insert(EvidenceKind::NitroTpm.into(), nitro);
        }
        Ok(all)
    }
}

impl Trust for CurrentRules {
    fn roots(&self, kind: EvidenceKind) -> Arc<Roots> {
        self.get().roots(kind)
    }
}

/// Compiles a version. One that does not compile (made by a newer server, say) admits nobody.
fn compile(version: &PolicyVersion) -> Option<Arc<CompiledPolicy>> {
    let mut documents = version.documents.iter().map(|one| Document { name: &one.name, text: &one.text });
    let first = documents.next()?;
    match Policy::parse(first, &documents.collect::<Vec<_>>()) {
        Ok(policy) => Some(Arc::new(CompiledPolicy { digest: version.digest, policy })),
        Err(findings) => {
            let finding = findings.first().map(ToString::to_string).unwrap_or_default();
            error!(policy = %version.digest, findings = findings.len(), finding, "policy in force does not compile");
            None
        }
    }
}
