//! The lives of this server's intermediates: what is due is done, and what an operator commands, one after another.
//!
//! The order is always the same: the record and the store first, then the files, then what signs. A crash between two of
//! them is mended at the next start, by what the store says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::MutexGuard;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::current::{Authority, LIST_LIFETIME_FIRST, OpeningFault};
use super::files::replace;
use super::life::{self, Command, LifeRefusal, Living as _, Schedule, Stage, Step};
use super::request::NewKey;
use super::rotation_fault::RotationFault;
use super::upstream::{Request, Upstream, mint};
use super::{Bundle, Issuer, KeyId};
use crate::store::{Actor, Operation, Store, X509Authority, X509Change, X509State};

/// How often the lives are looked at: an intermediate of a test lives for seconds.
const EVERY: Duration = Duration::from_secs(1);
/// Steps that one look at the lives may take.
const STEPS_MAX: u32 = 16;
/// Seconds beyond its last SVID that an old authority stays at most: what clocks differ by.
const SETTLE_SECONDS: i64 = 60;
/// Seconds between two tries at an upstream authority that fails: a twentieth of the intermediate's life, within these.
const RETRY_SECONDS: (i64, i64) = (2, 300);

/// How intermediates are replaced.
#[derive(Clone)]
pub struct Rotation {
    /// Who signs them; `None`: an operator, with `init`.
    pub upstream: Option<Arc<dyn Upstream>>,
    /// Seconds that they live.
    pub lifetime: i64,
    /// Seconds between publishing a root and signing below it.
    pub lead: i64,
}

impl Rotation {
    /// By an operator alone.
    #[must_use]
    pub const fn by_hand() -> Self {
        Self { upstream: None, lifetime: 0, lead: 0 }
    }

    fn schedule(&self) -> Schedule {
        Schedule { lifetime: self.lifetime, lead: self.lead, settle: self.lead.min(SETTLE_SECONDS) }
    }
}

impl Authority {
    /// Does what is due.
    ///
    /// # Errors
    /// [`RotationFault`]; what there is goes on signing, and the next look tries again.
    pub async fn tend(&self, store: &dyn Store, now: UnixTime) -> Result<(), RotationFault> {
        let mut turn = self.turn.lock().await;
        let schedule = self.rotation.schedule();
        for _ in 0..STEPS_MAX {
            let state = store.x509_authorities().await?;
            self.measure(&state, now);
            let is_ours = |one: &&X509Authority| one.server == self.server;
            // One that is revoked signs nothing: it is as good as gone.
            let revoked = Some(self.issuer()).filter(|issuer| issuer.is_revoked());
            let signs = |one: &&X509Authority| {
                one.life.stage != Stage::Active
                    || revoked.as_ref().is_none_or(|issuer| issuer.path().key_id != one.key_id)
            };
            let ours: Vec<_> = state.authorities.iter().filter(is_ours).filter(signs).collect();
            let step = if self.rotation.upstream.is_some() { schedule.due(ours, [], now) } else { None };
            match step {
                Some(Step::Prepare) if self.may_ask(now) => {
                    match self.make_next(turn, store, Actor::Server, now).await {
                        Ok((_, back)) => turn = back,
                        Err(fault) => {
                            self.ask_later(now, self.rotation.lifetime);
                            return Err(fault);
                        }
                    }
                }
                Some(Step::Activate(id)) => self.take_up(store, &id, Actor::Server, now).await?,
                _ => match self.over(&state, schedule.settle, now) {
                    Some(one) => self.retire(store, &state, one, now).await?,
                    None => break,
                },
            }
        }
        self.forget_marks(store, schedule.settle, now).await
    }

    /// Looks every second, until this is aborted, and does what is due.
    pub async fn keep(self: Arc<Self>, store: Arc<dyn Store>) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = crate::clock::now();
            if let Err(fault) = self.tend(store.as_ref(), now).await {
                error!(code = fault.code(), %fault, "what is due of authorities is not done, it will be tried again");
            }
            if let Err(fault) = self.renew_own_if_due(store.as_ref(), now).await {
                error!(%fault, "the server's own certificate is not renewed, it will be tried again");
            }
        }
    }

    /// Makes the next intermediate ready, and publishes its root.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn prepare(&self, store: &dyn Store, by: Actor, now: UnixTime) -> Result<X509Authority, RotationFault> {
        let turn = self.turn.lock().await;
        self.make_next(turn, store, by, now).await.map(|(next, _)| next)
    }

    /// Signs with the prepared intermediate `id` from now on. `early`: even if agents that are away have not heard of its
    /// root.
    ///
    /// # Errors
    /// [`RotationFault`].
    pub async fn activate(
        &self,
        store: &dyn Store,
        (id, early): (&str, bool),
        by: Actor,
        now: UnixTime,
    ) -> Result<X509Authority, RotationFault> {
        let _turn = self.turn.lock().await;
        let state = store.x509_authorities().await?;
        let one = find(&state, id)?.clone();
        life::command(&one, Command::Activate, now)?;
        if one.server != self.server {
            return Err(LifeRefusal::Elsewhere { id: one.id }.into());
        }
        if !early && one.root != self.issuer().path().root_id {
            let bundle = store.bundle().await?;
            let root = bundle.authorities.iter().find(|root| KeyId::of(&root.der).as_ref() == Some(&one.root));
            let heard = root.map(|root| root.published_at.plus(self.rotation.lead));
            if let Some(heard) = heard.filter(|heard| *heard > now) {
                return Err(RotationFault::TooEarly { root: one.root, seconds: heard.since(now) });
            }
        }
        self.take_up(store, &one.id, by, now).await?;
        Ok(find(&store.x509_authorities().await?, id)?.clone())
    }

    /// Asks the upstream authority for the next one. It may take its time, and hang: meanwhile whoever taints or revokes has
    /// the turn.
    async fn make_next<'a>(
        &'a self,
        turn: MutexGuard<'_, ()>,
        store: &dyn Store,
        by: Actor,
        now: UnixTime,
    ) -> Result<(X509Authority, MutexGuard<'a, ()>), RotationFault> {
        drop(turn);
        let _asking = self.asking.lock().await;
        let upstream = self.rotation.upstream.as_ref().ok_or(RotationFault::NoUpstream)?;
        self.none_prepared(store).await?;
        let key = NewKey::generate(self.trust_domain())?;
        let asked =
            json!({ "upstream": upstream.kind(), "spki_sha256": crate::store::Sha256::of(&key.spki()).to_string() });
        let operation = Operation { action: "x509.request", subject: self.trust_domain().to_string(), detail: asked };
        store.record_operation(operation, by.clone(), now).await?;
        let request = Request {
            csr: key.request.clone(),
            trust_domain: self.trust_domain().clone(),
            ttl: self.rotation.lifetime,
            now,
        };
        let (known, asked_at) = (self.bundle().get(), Instant::now());
        let minted = mint(upstream.as_ref(), request, &key.spki(), known.authorities()).await?;
        let turn = self.turn.lock().await;
        let state = self.none_prepared(store).await?;
        // Its root is published now, not when it was asked for: agents have the whole time to hear of it.
        let now = now.plus(i64::try_from(asked_at.elapsed().as_secs()).unwrap_or(i64::MAX));
        let roots: Vec<KeyId> = minted.roots.iter().filter_map(|root| KeyId::of(root)).collect();
        if let Some(mark) = roots.iter().find_map(|root| state.mark(root)) {
            let stage = if mark.revoked { "revoked" } else { "tainted" };
            return Err(RotationFault::MarkedRoot { root: mark.key_id.clone(), stage });
        }
        let chain: Vec<CertificateDer<'_>> = minted.chain.iter().map(|der| der.as_slice().into()).collect();
        replace(&self.files.prepared(), key.with_chain(&chain), 0o600)?;
        // Read back as it will be used: what cannot be is known now, not when it is needed.
        let below = Bundle::new(self.trust_domain().clone(), minted.roots.clone(), 0);
        let issuer = Issuer::load_at(self.trust_domain(), (&self.files, &self.files.prepared()), &below, now)?;
        if let Err(fault) = self.publish_upper_of(store, &minted, now).await {
            warn!(code = fault.code(), %fault, "no revocation list of the upstream authority yet, it will be made later");
        }
        let life = life::Life { ends: minted.path.not_after, ..self.rotation.schedule().prepared(now) };
        let id = minted.path.key_id.to_string();
        let next = X509Authority {
            key_id: minted.path.key_id,
            id: id.clone(),
            der: minted.chain.into_iter().next().unwrap_or_default(),
            root: minted.path.root_id.clone(),
            server: self.server,
            life,
        };
        let detail = json!({ "root": minted.path.root_id.to_string(), "ends": life.ends.seconds() });
        let change = X509Change {
            action: "x509.prepare",
            subject: id.clone(),
            detail,
            put: vec![(None, next.clone())],
            publish: minted.roots,
            ..X509Change::default()
        };
        done(store.change_x509(change, by, now).await?)?;
        // Its revocation list is there before anything that it signs.
        if let Err(fault) = super::publish(&issuer, store, LIST_LIFETIME_FIRST, now).await {
            warn!(authority = id, %fault, "no revocation list of the prepared intermediate yet, it will be made later");
        }
        self.set_prepared(Some(Arc::new(issuer)));
        self.read_bundle(store).await?;
        info!(authority = id, root = %next.root, ends = life.ends.seconds(), "intermediate prepared");
        Ok((next, turn))
    }

    async fn none_prepared(&self, store: &dyn Store) -> Result<X509State, RotationFault> {
        let state = store.x509_authorities().await?;
        let is_prepared = |one: &&X509Authority| one.server == self.server && one.life.stage == Stage::Prepared;
        match state.authorities.iter().find(is_prepared) {
            Some(prepared) => Err(LifeRefusal::AlreadyPrepared { id: prepared.id.clone() }.into()),
            None => Ok(state),
        }
    }

    /// Changes over to the prepared intermediate.
    async fn take_up(&self, store: &dyn Store, id: &str, by: Actor, now: UnixTime) -> Result<(), RotationFault> {
        let state = store.x509_authorities().await?;
        let next = find(&state, id)?;
        let issuer = self.prepared().filter(|issuer| issuer.path().key_id == next.key_id);
        let issuer = issuer.ok_or_else(|| LifeRefusal::Elsewhere { id: id.to_owned() })?;
        if issuer.not_after() <= now {
            return Err(LifeRefusal::Ended { id: id.to_owned() }.into());
        }
        let former = self.issuer();
        let mut active = next.clone();
        (active.life.stage, active.life.activated_at) = (Stage::Active, Some(now));
        let mut put = vec![(Some(Stage::Prepared), active)];
        if let Some(mut old) = state.find(&former.path().key_id).filter(|old| old.life.stage == Stage::Active).cloned()
        {
            (old.life.stage, old.life.used_until) = (Stage::Old, former.used_until());
            put.push((Some(Stage::Active), old));
        }
        let detail = json!({ "former": former.path().key_id.to_string() });
        let change =
            X509Change { action: "x509.activate", subject: id.to_owned(), detail, put, ..X509Change::default() };
        done(store.change_x509(change, by, now).await?)?;
        if let Err(fault) = self.files.promote(&former.path().key_id) {
            // The key is in memory, and the next start finds by the store which file it is in.
            error!(code = fault.code(), %fault, "intermediate is not in its place yet");
        }
        info!(authority = id, "intermediate activated");
        self.set_prepared(None);
        self.sign_with(issuer);
        match self.renew_own(store, now).await {
            Ok(()) => Ok(()),
            Err(OpeningFault::Authority(fault)) => Err(fault.into()),
            Err(OpeningFault::Store(fault)) => Err(fault.into()),
        }
    }

    /// One whose time is over: everything it signed has ended, or it has itself.
    fn over<'a>(&self, state: &'a X509State, settle: i64, now: UnixTime) -> Option<&'a X509Authority> {
        let is_over = |end: UnixTime| now >= end.plus(settle);
        state.authorities.iter().find(|one| {
            let ours = one.server == self.server;
            match one.life.stage {
                Stage::Active => !ours && is_over(one.life.ends),
                Stage::Prepared => is_over(one.life.ends),
                Stage::Old | Stage::Tainted => is_over(one.life.ends) || (ours && is_over(self.used_until(one))),
            }
        })
    }

    /// The latest end of what an old one of ours signed: what was under way when it was replaced counts too.
    pub(super) fn used_until(&self, one: &X509Authority) -> UnixTime {
        let former = self.former();
        let held = former.iter().find(|issuer| issuer.path().key_id == one.key_id);
        held.map_or(one.life.used_until, |issuer| issuer.used_until().max(one.life.used_until))
    }

    async fn retire(
        &self,
        store: &dyn Store,
        state: &X509State,
        one: &X509Authority,
        now: UnixTime,
    ) -> Result<(), RotationFault> {
        let change = X509Change {
            action: "x509.retire",
            subject: one.id.clone(),
            detail: json!({ "stage": one.life.stage.as_str(), "used_until": self.used_until(one).seconds() }),
            gone: vec![(one.life.stage, one.key_id.clone())],
            withdraw: self.left_over(store, state, &one.key_id, &one.root).await?,
            ..X509Change::default()
        };
        done(store.change_x509(change, Actor::Server, now).await?)?;
        info!(authority = one.id, stage = one.life.stage.as_str(), "intermediate retired");
        if one.life.stage == Stage::Prepared && one.server == self.server {
            self.set_prepared(None);
        }
        self.let_go(&one.key_id);
        Ok(self.read_bundle(store).await?)
    }

    /// The root of an authority that goes, if nothing else is below it: it goes with it.
    async fn left_over(
        &self,
        store: &dyn Store,
        state: &X509State,
        going: &KeyId,
        root: &KeyId,
    ) -> Result<Vec<crate::store::Sha256>, RotationFault> {
        let is_used = state.authorities.iter().any(|other| other.key_id != *going && other.root == *root);
        if is_used || self.issuer().path().root_id == *root {
            return Ok(Vec::new());
        }
        let bundle = store.bundle().await?;
        let of_root = bundle.authorities.iter().filter(|one| KeyId::of(&one.der).as_ref() == Some(root));
        Ok(of_root.map(|one| one.sha256).collect())
    }

    async fn forget_marks(&self, store: &dyn Store, settle: i64, now: UnixTime) -> Result<(), RotationFault> {
        let state = store.x509_authorities().await?;
        let forget: Vec<_> =
            state.marks.iter().filter(|mark| now >= mark.until.plus(settle)).map(|mark| mark.key_id.clone()).collect();
        let Some(first) = forget.first() else { return Ok(()) };
        let change = X509Change { action: "x509.forget", subject: first.to_string(), forget, ..X509Change::default() };
        done(store.change_x509(change, Actor::Server, now).await?)?;
        Ok(self.read_bundle(store).await?)
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; seconds are far below 2^52")]
    fn measure(&self, state: &X509State, now: UnixTime) {
        for stage in [Stage::Prepared, Stage::Active] {
            let ends = state.authorities.iter().filter(|one| one.server == self.server && one.life.stage == stage);
            let left = ends.map(|one| one.life.ends.since(now)).min().unwrap_or(0);
            metrics::gauge!("holdfast_authority_expiry_seconds", "kind" => "intermediate", "stage" => stage.as_str())
                .set(left as f64);
        }
        let bundle = self.bundle().get();
        let ends = bundle.authorities().iter().filter_map(|root| super::issuer::end_of(root));
        if let Some(first) = ends.min() {
            metrics::gauge!("holdfast_authority_expiry_seconds", "kind" => "root", "stage" => "active")
                .set(first.since(now) as f64);
        }
    }

    fn ask_later(&self, now: UnixTime, lifetime: i64) {
        let pause = (lifetime / 20).clamp(RETRY_SECONDS.0, RETRY_SECONDS.1);
        self.ask_again.store(now.plus(pause).seconds(), std::sync::atomic::Ordering::Relaxed);
        warn!(pause_seconds = pause, "no intermediate from the upstream authority");
        metrics::counter!("holdfast_upstream_authority_failures_total").increment(1);
    }

    fn may_ask(&self, now: UnixTime) -> bool {
        now.seconds() >= self.ask_again.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// The intermediate that an operator names.
pub(super) fn find<'a>(state: &'a X509State, id: &str) -> Result<&'a X509Authority, LifeRefusal> {
    let found = KeyId::from_hex(id).and_then(|key_id| state.find(&key_id));
    found.ok_or_else(|| LifeRefusal::Unknown { id: id.chars().take(128).collect() })
}

/// Whether the store did it.
pub(super) fn done(done: bool) -> Result<(), RotationFault> {
    if done { Ok(()) } else { Err(RotationFault::Moved) }
}

impl X509Authority {
    /// Its stage as commands name it.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        self.life().stage.as_str()
    }
}
