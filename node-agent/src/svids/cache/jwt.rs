//! What the cache does for JWT-SVIDs: tokens go with the entries and the keys that they are of.

use holdfast_identity::UnixTime;

use super::super::tokens::{JwtToken, NoToken, Tokens, Wanted};
use super::super::{JwtBundle, Withdrawal};
use super::{Standing, SvidCache};

impl SvidCache {
    /// JWT-SVIDs, and who waits for them.
    pub(in crate::svids) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What the server answered to whoever waits for a JWT-SVID: it counts if the entry is still there.
    pub(in crate::svids) fn take_token(&self, wanted: &Wanted, answer: Result<(JwtToken, UnixTime), NoToken>) {
        let inner = self.lock();
        let is_whose = |token: &JwtToken| inner.entries.get(&wanted.0).is_some_and(|e| e.spiffe_id == token.spiffe_id);
        let answer = match answer {
            Ok((token, _)) if inner.standing != Standing::Admitted || !is_whose(&token) => Err(NoToken::Gone),
            answer => answer,
        };
        self.tokens.answer(wanted, answer);
    }

    /// These JWT-SVIDs of `trust_domain`, which is the own one, are withdrawn.
    pub fn learn_withdrawn(&self, trust_domain: &str, said: &Withdrawal) {
        self.tokens.withdraw(trust_domain, said);
    }

    /// The keys that verify JWT-SVIDs of this trust domain are these now. Tokens of tainted ones are let go of.
    pub fn learn_jwt_bundle(&self, bundle: &JwtBundle) {
        let mut inner = self.lock();
        self.tokens.learn_authorities(&bundle.good(), bundle.tainted());
        let keys = bundle.keys();
        if inner.jwt_bundles.insert(keys.trust_domain().to_string(), keys.clone()).as_ref() != Some(keys) {
            self.publish_locked(&mut inner);
        }
    }
}
