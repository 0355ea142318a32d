//! Authorities that nothing should rest on any more: what they signed is replaced first, and counts no more then.

use holdfast_identity::UnixTime;
use serde_json::json;
use tracing::warn;

use super::KeyId;
use super::current::Authority;
use super::issuer::end_of;
use super::life::{self, Command, Stage};
use super::rotation::{done, find};
use super::rotation_fault::RotationFault;
use crate::store::{Actor, AuthorityMark, Store, X509Authority, X509Change, X509State};

impl Authority {
    /// Has every agent replace what the old intermediate `id` signed.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn taint(
        &self,
        store: &dyn Store,
        id: &str,
        by: Actor,
        now: UnixTime,
    ) -> Result<X509Authority, RotationFault> {
        let _turn = self.turn.lock().await;
        let state = store.x509_authorities().await?;
        let one = find(&state, id)?;
        life::command(one, Command::Taint, now)?;
        let tainted = self.tainted(one);
        let change = X509Change {
            action: "x509.taint",
            subject: one.id.clone(),
            put: vec![(Some(one.life.stage), tainted.clone())],
            mark: vec![mark(&one.key_id, (false, false), now, one.life.ends)],
            ..X509Change::default()
        };
        self.change(store, change, by, now).await?;
        warn!(authority = one.id, "intermediate tainted: agents replace what it signed");
        Ok(tainted)
    }

    /// Lets nothing count any more that the tainted intermediate `id` signed.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn revoke(
        &self,
        store: &dyn Store,
        id: &str,
        by: Actor,
        now: UnixTime,
    ) -> Result<X509Authority, RotationFault> {
        let _turn = self.turn.lock().await;
        let state = store.x509_authorities().await?;
        let one = find(&state, id)?;
        life::command(one, Command::Revoke, now)?;
        let change = X509Change {
            action: "x509.revoke",
            subject: one.id.clone(),
            gone: vec![(one.life.stage, one.key_id.clone())],
            mark: vec![mark(&one.key_id, (false, true), now, one.life.ends)],
            list: self.listed(one).into_iter().collect(),
            ..X509Change::default()
        };
        self.change(store, change, by, now).await?;
        self.let_go(&one.key_id);
        warn!(authority = one.id, "intermediate revoked");
        Ok(one.clone())
    }

    /// Has every agent replace what was signed below a root that no server signs under any more.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn taint_root(&self, store: &dyn Store, id: &str, by: Actor, now: UnixTime) -> Result<(), RotationFault> {
        let _turn = self.turn.lock().await;
        let state = store.x509_authorities().await?;
        let (root, ends) = root(store, id).await?;
        if let Some(mark) = state.mark(&root) {
            let found = if mark.revoked { "revoked" } else { "tainted" };
            return Err(RotationFault::RootStage { root, found, expected: "in the bundle, and not tainted" });
        }
        let below = below(&state, &root)?;
        let mut marks = vec![mark(&root, (true, false), now, ends)];
        let old = below.iter().filter(|one| one.life.stage == Stage::Old);
        marks.extend(old.clone().map(|one| mark(&one.key_id, (false, false), now, one.life.ends)));
        let put = old.map(|one| (Some(one.life.stage), self.tainted(one))).collect();
        let ids: Vec<_> = below.iter().map(|one| one.id.as_str()).collect();
        let change = X509Change {
            action: "upstream.taint",
            subject: root.to_string(),
            detail: json!({ "below": ids }),
            put,
            mark: marks,
            ..X509Change::default()
        };
        self.change(store, change, by, now).await?;
        warn!(%root, "root tainted: agents replace what was signed below it");
        Ok(())
    }

    /// Takes a tainted root out of the bundle, for good.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn revoke_root(
        &self,
        store: &dyn Store,
        id: &str,
        by: Actor,
        now: UnixTime,
    ) -> Result<(), RotationFault> {
        let _turn = self.turn.lock().await;
        let state = store.x509_authorities().await?;
        let (root, ends) = root(store, id).await?;
        if state.mark(&root).is_none() {
            return Err(RotationFault::RootStage { root, found: "not tainted", expected: "tainted" });
        }
        let below = below(&state, &root)?;
        let mut marks = vec![mark(&root, (true, true), now, ends)];
        marks.extend(below.iter().map(|one| mark(&one.key_id, (false, true), now, one.life.ends)));
        let bundle = store.bundle().await?;
        let of_root = bundle.authorities.iter().filter(|one| KeyId::of(&one.der).as_ref() == Some(&root));
        let change = X509Change {
            action: "upstream.revoke",
            subject: root.to_string(),
            gone: below.iter().map(|one| (one.life.stage, one.key_id.clone())).collect(),
            mark: marks,
            withdraw: of_root.map(|one| one.sha256).collect(),
            ..X509Change::default()
        };
        self.change(store, change, by, now).await?;
        below.iter().for_each(|one| self.let_go(&one.key_id));
        warn!(%root, "root revoked");
        Ok(())
    }

    async fn change(
        &self,
        store: &dyn Store,
        change: X509Change,
        by: Actor,
        now: UnixTime,
    ) -> Result<(), RotationFault> {
        done(store.change_x509(change, by, now).await?)?;
        Ok(self.read_bundle(store).await?)
    }

    fn tainted(&self, one: &X509Authority) -> X509Authority {
        let mut tainted = one.clone();
        tainted.life.used_until = self.used_until(one);
        tainted.life.stage = Stage::Tainted;
        tainted
    }
}

fn mark(key_id: &KeyId, (is_root, revoked): (bool, bool), at: UnixTime, until: UnixTime) -> AuthorityMark {
    AuthorityMark { key_id: key_id.clone(), is_root, revoked, at, until }
}

/// A root of the bundle, and its end.
async fn root(store: &dyn Store, id: &str) -> Result<(KeyId, UnixTime), RotationFault> {
    let unknown = || RotationFault::UnknownRoot { id: id.chars().take(128).collect() };
    let key_id = KeyId::from_hex(id).ok_or_else(unknown)?;
    let bundle = store.bundle().await?;
    let root = bundle.authorities.iter().find(|one| KeyId::of(&one.der).as_ref() == Some(&key_id));
    let ends = root.and_then(|root| end_of(&root.der)).ok_or_else(unknown)?;
    Ok((key_id, ends))
}

/// What is below a root; a refusal where somebody signs there, or is about to.
fn below<'a>(state: &'a X509State, root: &KeyId) -> Result<Vec<&'a X509Authority>, RotationFault> {
    let below: Vec<_> = state.authorities.iter().filter(|one| one.root == *root).collect();
    match below.iter().find(|one| matches!(one.life.stage, Stage::Active | Stage::Prepared)) {
        Some(one) => Err(RotationFault::RootInUse { root: root.clone(), below: one.id.clone(), stage: one.stage() }),
        None => Ok(below),
    }
}
