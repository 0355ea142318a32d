//! Chains of Nitro documents that were verified already, by their id: within the three hours of a leaf a renewal costs one
//! signature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_evidence::nitro::VerifiedChain;

/// Chains that are kept; each is some hundred bytes, one an enclave or instance.
const CHAINS_MAX: usize = 4_096;

/// The chains.
#[derive(Debug, Default)]
pub(in crate::desk) struct KeptChains(Mutex<HashMap<[u8; 32], Arc<VerifiedChain>>>);

impl KeptChains {
    /// The chain of this id, if it is here. Whether it still counts is the verifier's to ask.
    pub(super) fn get(&self, id: &[u8; 32]) -> Option<Arc<VerifiedChain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Keeps a chain. When there is no place, all go: each is verified anew once.
    pub(super) fn keep(&self, id: [u8; 32], chain: &Arc<VerifiedChain>) {
        let mut chains = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() >= CHAINS_MAX && !chains.contains_key(&id) {
            chains.clear();
        }
        chains.insert(id, Arc::clone(chain));
    }
}
