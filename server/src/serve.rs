//! The agent port with everything behind it: builds the authority, the desk, the streams, and keeps them up to date.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use holdfast_identity::TrustDomain;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::{self, AttestationService, NodeService};
use crate::authority::{
    ActFault, Authority, AuthorityFault, AuthorityFiles, OpeningFault, Rotation, TokenAuthority, TokenSettings,
    UpstreamSettings,
};
use crate::budget::Gate;
use crate::clock;
use crate::config::{Config, Simulated};
use crate::desk::{
    CurrentRules, Desk, DeskParts, DeskSettings, OUR_ATTEMPTS_MAX, SigningBudget, TokenSigner, WorkloadSigner,
    seal_ring,
};
use crate::dispatch::{self, Dispatch};
use crate::endorse::{EndorseSettings, Endorser};
use crate::federation::CurrentFederations;
use crate::listen::{ListenFault, ListenLimits, Listener, TlsSettings};
use crate::live::LiveNodes;
use crate::revocation::{CurrentLists, CurrentWithdrawn, ListKeeper, ListSettings};
use crate::space::Space;
use crate::store::{Store, StoreFault, Subscription};
use crate::sync::Subscribers;

/// How often connections and evidence that ended are swept, and gauges set.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often the authority looks whether something is due, and strangers' counts go to the store.
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// CSRs that are checked and signed at one time.
const SIGNINGS_MAX: u32 = 256;

/// What the agent port is told by configuration.
#[derive(Clone)]
pub struct ServeOptions {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where `init` has put this server's part of the authority.
    pub data_dir: PathBuf,
    /// The agent port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key that seals challenges; made where it is missing.
    pub challenge_key: PathBuf,
    /// Whether roots of class `simulated` are trusted.
    pub allow_simulated: bool,
    /// Where vendors' endorsements come from.
    pub endorse: EndorseSettings,
    /// Seconds that a workload SVID lives whose entry names no time.
    pub x509_svid_ttl: i64,
    /// How JWT-SVIDs are signed.
    pub tokens: TokenSettings,
    /// How intermediates are replaced.
    pub rotation: Rotation,
    /// Of the port.
    pub listen_limits: ListenLimits,
    /// Of attestation.
    pub desk: DeskSettings,
    /// How revocation lists are made and shown.
    pub lists: ListSettings,
    /// Whether there is room on the disk.
    pub space: Space,
}

impl From<&Config> for ServeOptions {
    fn from(config: &Config) -> Self {
        Self {
            trust_domain: config.trust_domain.clone(),
            data_dir: config.data_dir.clone(),
            listen: config.listen,
            challenge_key: config.challenge_key.clone(),
            allow_simulated: config.simulated == Simulated::Allowed,
            endorse: config.endorse.clone(),
            x509_svid_ttl: config.lifetimes.x509_svid,
            tokens: config.tokens.clone(),
            rotation: Rotation {
                upstream: config.upstream.as_ref().map(UpstreamSettings::authority),
                lifetime: config.lifetimes.intermediate,
                lead: config.lifetimes.x509_svid,
            },
            listen_limits: config.limits.listen.clone(),
            desk: DeskSettings {
                our_attempts: OUR_ATTEMPTS_MAX,
                challenge_lifetime: config.lifetimes.challenge,
                node_svid_ttl_max: config.lifetimes.node_svid,
                per_source: config.limits.begin_per_source,
                verifications_max: config.limits.verifications_max,
            },
            lists: config.lists.clone(),
            space: Space::default(),
        }
    }
}

/// What keeps the agent port from coming up.
#[derive(Debug, thiserror::Error)]
pub enum ServeFault {
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The JWT authority.
    #[error(transparent)]
    Tokens(#[from] ActFault),
    /// The listener.
    #[error(transparent)]
    Listen(#[from] ListenFault),
}

impl From<OpeningFault> for ServeFault {
    fn from(fault: OpeningFault) -> Self {
        match fault {
            OpeningFault::Authority(fault) => Self::Authority(fault),
            OpeningFault::Store(fault) => Self::Store(fault),
        }
    }
}

impl ServeFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Authority(fault) => fault.code(),
            Self::Store(fault) => fault.code(),
            Self::Tokens(fault) => fault.code(),
            Self::Listen(fault) => fault.code(),
        }
    }
}

/// The agent port, bound and ready.
pub struct Server {
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    tokens: Arc<TokenAuthority>,
    desk: Arc<Desk>,
    endorser: Endorser,
    live: Arc<LiveNodes>,
    federations: CurrentFederations,
    keeper: ListKeeper,
    listener: Listener,
    router: Router,
    dispatch: Dispatch,
    changes: Subscription,
}

impl Server {
    /// Opens everything and binds the port. Nothing is accepted yet.
    ///
    /// # Errors
    /// [`ServeFault`].
    pub async fn build(options: ServeOptions, store: Arc<dyn Store>) -> Result<Self, ServeFault> {
        // First of all: no change between a reading and the first notice may be lost.
        let changes = store.changes();
        let files = AuthorityFiles::below(&options.data_dir).with_list_url(options.lists.url.clone());
        let authority = Authority::open(options.trust_domain, files, store.as_ref(), clock::now()).await?;
        let authority = Arc::new(authority.rotating(options.rotation));
        let files = AuthorityFiles::below(&options.data_dir);
        let tokens = Arc::new(TokenAuthority::open(files, options.tokens, store.as_ref(), clock::now()).await?);
        authority.read_bundle(store.as_ref()).await?;
        let keeper = ListKeeper::open(store.clone(), authority.clone(), options.lists).await?;
        let withdrawn = CurrentWithdrawn::default();
        withdrawn.read(store.as_ref(), clock::now()).await?;
        let seals = seal_ring(&options.challenge_key)?;
        let rules = Arc::new(CurrentRules::read(store.as_ref(), options.allow_simulated).await?);
        let endorser = Endorser::new(store.clone(), rules.clone(), options.endorse);
        let limits = options.listen_limits;
        let live = Arc::new(LiveNodes::new(limits.keepalive_interval + limits.keepalive_timeout + SWEEP_EVERY));
        let subscribers = Arc::new(Subscribers::default());
        let federations = CurrentFederations::read(store.as_ref()).await?;
        let counting = dispatch::counting(&authority, keeper.lists());
        authority.heed(|intermediate| counting.revokes(intermediate));
        let tls = TlsSettings::new(authority.own().clone(), &authority.bundle().get(), counting)?;
        let listener = Listener::bind(options.listen, tls.clone(), limits)?;
        let parts = DeskParts {
            store: store.clone(),
            authority: authority.clone(),
            rules: rules.clone(),
            live: live.clone(),
            seals,
            endorser: endorser.clone(),
            space: options.space,
        };
        let desk = Arc::new(Desk::new(parts, options.desk));
        let node = NodeService {
            live: live.clone(),
            store: store.clone(),
            subscribers: subscribers.clone(),
            bundle: authority.bundle().clone(),
            federations: federations.clone(),
            lists: keeper.lists().clone(),
            withdrawn: withdrawn.clone(),
            signer: WorkloadSigner::new(store.clone(), authority.clone(), options.x509_svid_ttl),
            tokens: TokenSigner::new(store.clone(), tokens.clone()),
            budget: SigningBudget::new(store.clone(), options.x509_svid_ttl, tokens.ttl()),
            gate: Gate::new(SIGNINGS_MAX, 4_096, Duration::from_secs(10)),
        };
        let router = api::router(AttestationService { desk: desk.clone() }, node);
        let dispatch = Dispatch {
            store: store.clone(),
            rules,
            authority: authority.clone(),
            federations: federations.clone(),
            lists: keeper.lists().clone(),
            withdrawn,
            tls,
            live: live.clone(),
            subscribers,
        };
        Ok(Self {
            store,
            authority,
            tokens,
            desk,
            endorser,
            live,
            federations,
            keeper,
            listener,
            router,
            dispatch,
            changes,
        })
    }

    /// The address of the agent port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The authority, for those who show its bundle.
    #[must_use]
    pub const fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// What signs JWT-SVIDs, for those who show and command it.
    #[must_use]
    pub const fn tokens(&self) -> &Arc<TokenAuthority> {
        &self.tokens
    }

    /// The revocation lists, for those who show them.
    #[must_use]
    pub const fn lists(&self) -> &CurrentLists {
        self.keeper.lists()
    }

    /// Who finds endorsements, for those who refresh them.
    #[must_use]
    pub const fn endorser(&self) -> &Endorser {
        &self.endorser
    }

    /// Foreign trust domains, for those who fetch their bundles.
    #[must_use]
    pub const fn federations(&self) -> &CurrentFederations {
        &self.federations
    }

    /// Who stands, for those who list connections.
    #[must_use]
    pub const fn live(&self) -> &Arc<LiveNodes> {
        &self.live
    }

    /// Serves agents until `stop`, then lets running requests end.
    pub async fn serve(self, stop: CancellationToken) {
        info!(address = %self.listener.address(), "agent port is up");
        let dispatching = tokio::spawn(self.dispatch.run(self.changes));
        let rotating = tokio::spawn(self.authority.clone().keep(self.store.clone()));
        let listing = tokio::spawn(self.keeper.keep(stop.clone()));
        let keeping = tokio::spawn(keep(self.store, self.authority, self.tokens, self.desk, self.live));
        self.listener.serve(self.router, stop).await;
        rotating.abort();
        keeping.abort();
        listing.abort();
        dispatching.abort();
    }
}

/// What must be done from time to time.
async fn keep(
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    tokens: Arc<TokenAuthority>,
    desk: Arc<Desk>,
    live: Arc<LiveNodes>,
) {
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        ticks.tick().await;
        let now = clock::now();
        live.sweep(now);
        measure(&authority, &live, now);
        if renewed.elapsed() < RENEW_EVERY {
            continue;
        }
        renewed = Instant::now();
        if let Err(fault) = authority.renew(store.as_ref(), now).await {
            error!(%fault, "the authority could not renew itself, it will try again in a minute");
        }
        if let Err(fault) = tokens.tend(store.as_ref(), now).await {
            error!(code = fault.code(), %fault, "the JWT authority could not do what is due, it will try again in a minute");
        }
        let minute = holdfast_identity::UnixTime(now.seconds() - now.seconds().rem_euclid(60) - 60);
        let lines = desk.strangers().take(minute);
        if !lines.is_empty()
            && let Err(fault) = store.keep_strangers(lines).await
        {
            error!(code = fault.code(), %fault, "counts of strangers are lost");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; counts and seconds are far below 2^52")]
fn measure(authority: &Authority, live: &LiveNodes, now: holdfast_identity::UnixTime) {
    metrics::gauge!("holdfast_nodes_standing").set(live.count() as f64);
    metrics::gauge!("holdfast_intermediate_expiry_seconds").set(authority.issuer().not_after().since(now) as f64);
    if let Some(end) = authority.own().not_after() {
        metrics::gauge!("holdfast_own_certificate_expiry_seconds").set(end.since(now) as f64);
    }
}
