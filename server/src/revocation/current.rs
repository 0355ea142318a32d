//! The lists of this moment, for streams and readers; read from the store when it says that they changed.

use std::sync::{Arc, PoisonError, RwLock};

use crate::store::{IssuerKeyId, RevocationList, Store, StoreFault};

/// All lists as they are now, by issuer; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CurrentLists(Arc<RwLock<Arc<Vec<RevocationList>>>>);

impl CurrentLists {
    /// The lists of this moment, in the order of their issuers.
    #[must_use]
    pub fn get(&self) -> Arc<Vec<RevocationList>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The list of one issuer.
    #[must_use]
    pub fn of(&self, issuer: IssuerKeyId) -> Option<RevocationList> {
        self.get().iter().find(|list| list.issuer == issuer).cloned()
    }

    /// Takes the lists as the store has them now, but for those of whoever has ended: where intermediates live for
    /// seconds, there are soon more of these than agents take.
    ///
    /// # Errors
    /// [`StoreFault`]; the former lists stay.
    pub async fn read(&self, store: &dyn Store) -> Result<(), StoreFault> {
        let (mut lists, now) = (store.revocation_lists().await?, crate::clock::now());
        lists.retain(|list| list.validity.issuer_ends > now);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(lists);
        Ok(())
    }
}
