//! Chains that were verified already, by their id: a renewal with the same certificates costs one signature. Those of
//! Nitro documents live for the three hours of a leaf, those above attestation keys of Azure and Google Cloud for years.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_evidence::nitro::VerifiedChain;
use holdfast_evidence::x509::VerifiedPath;

/// Chains that are kept; each is some hundred bytes, one an enclave or instance.
const CHAINS_MAX: usize = 4_096;

/// The chains.
#[derive(Debug, Default)]
pub(in crate::desk) struct KeptChains {
    /// Of documents.
    pub(super) nitro: Kept<VerifiedChain>,
    /// Above attestation keys.
    pub(super) keys: Kept<VerifiedPath>,
}

/// Chains of one form.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<HashMap<[u8; 32], Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// The chain of this id, if it is here. Whether it still counts is the verifier's to ask.
    pub(super) fn get(&self, id: &[u8; 32]) -> Option<Arc<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Keeps a chain. When there is no place, all go: each is verified anew once.
    pub(super) fn keep(&self, id: [u8; 32], chain: &Arc<T>) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() >= CHAINS_MAX && !chains.contains_key(&id) {
            chains.clear();
        }
        chains.insert(id, Arc::clone(chain));
    }
}
