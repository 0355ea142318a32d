//! The desk: takes a challenge, its answer and the evidence; verifies, appraises, drafts, records, signs. In that order.
//!
//! Decodes no message and opens no socket: `api` and `listen` do.

mod allowance;
mod begin;
mod complete;
mod decide;
mod evidence;
mod explain;
mod failure;
mod freezing;
mod keeping;
mod kept_facts;
mod logs;
mod measured_files;
mod offers;
mod rules;
mod seal_key;
mod signing_budget;
mod strangers;
mod tokens;
mod whose;
mod workload;

pub use allowance::OUR_ATTEMPTS_MAX;
use allowance::{Allowance, Unlisted};
pub use begin::{Begun, Material};
pub use complete::{Admitted, Answer, Completed, Opened};
pub use evidence::EvidenceRefused;
use evidence::KeptChains;
pub use failure::{CallerRefused, Failure, MessageRefused, Reply};
use keeping::KnownTrust;
use kept_facts::LogBodies;
pub use logs::KnownLogs;
use offers::Offers;
pub use rules::{CompiledPolicy, CurrentRules, Rules};
pub use seal_key::seal_ring;
pub use signing_budget::{NoBudget, SigningBudget, SvidKind};
pub use strangers::Strangers;
pub use tokens::{TokenRequest, TokenSigner, WorkloadToken};
pub use workload::{SigningEnds, SvidRefused, SvidRequest, WorkloadSigner, WorkloadSvid};

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_appraisal::Appraiser;
use holdfast_evidence::SealRing;
use holdfast_identity::TrustDomain;
use ring::rand::{SecureRandom, SystemRandom};
use tracing::{debug, error};

use crate::authority::Authority;
use crate::budget::{Buckets, Gate, Rate, Source};
use crate::endorse::Endorser;
use crate::listen::Connection;
use crate::live::LiveNodes;
use crate::space::Space;
use crate::store::{AttemptId, Store};

/// Sources whose budgets are told apart.
const SOURCES_MAX: usize = 65_536;
/// Machines whose budgets are told apart.
const MACHINES_MAX: usize = 65_536;
/// Verified attempts of one machine. Ten a second are a hundredth of a core; an agent in a restart loop makes fewer.
const MACHINE_RATE: Rate = Rate { per_second: 10.0, burst: 600.0 };
/// Evidence in memory, in units of 64 KiB: 64 MiB for known nodes, and as much for callers without a certificate.
const MEMORY_UNITS: u32 = 1_024;
/// Callers that may wait for a place at a gate.
const WAITING_MAX: usize = 4_096;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the desk is told by configuration.
#[derive(Clone, Debug)]
pub struct DeskSettings {
    /// Seconds from drawing a challenge to its end.
    pub challenge_lifetime: i64,
    /// Longest life of a node SVID in seconds, whatever the policy says.
    pub node_svid_ttl_max: i64,
    /// Challenges, and answers, of one source without a certificate of ours.
    pub per_source: Rate,
    /// Verifications at one time.
    pub verifications_max: u32,
    /// Attempts of one machine of ours that change nothing, and are written in a day: [`OUR_ATTEMPTS_MAX`].
    pub our_attempts: u32,
}

/// The desk.
pub struct Desk {
    trust_domain: TrustDomain,
    settings: DeskSettings,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    rules: Arc<CurrentRules>,
    live: Arc<LiveNodes>,
    space: Space,
    appraiser: Appraiser,
    seals: SealRing,
    logs: KnownLogs,
    kept_logs: LogBodies,
    chains: KeptChains,
    offers: Offers,
    allowance: Allowance,
    unlisted: Unlisted,
    barred: Unlisted,
    refused: Unlisted,
    trusts: KnownTrust,
    endorser: Endorser,
    strangers: Strangers,
    sources: Buckets<Source>,
    answers: Buckets<Source>,
    machines: Buckets<[u8; 32]>,
    cpu: Gate,
    memory: Gate,
    memory_of_strangers: Gate,
}

/// Whom the desk works with.
pub struct DeskParts {
    /// What the server remembers.
    pub store: Arc<dyn Store>,
    /// Who signs.
    pub authority: Arc<Authority>,
    /// By what it judges.
    pub rules: Arc<CurrentRules>,
    /// Who stands.
    pub live: Arc<LiveNodes>,
    /// The key that seals challenges.
    pub seals: SealRing,
    /// Who finds what vendors say about hardware.
    pub endorser: Endorser,
    /// Whether there is room on the disk.
    pub space: Space,
}

impl Desk {
    /// A desk with full budgets.
    #[must_use]
    pub fn new(parts: DeskParts, settings: DeskSettings) -> Self {
        let trust_domain = parts.authority.trust_domain().clone();
        Self {
            appraiser: Appraiser::new(trust_domain.clone()),
            trust_domain,
            sources: Buckets::new(settings.per_source, SOURCES_MAX),
            answers: Buckets::new(settings.per_source, SOURCES_MAX),
            machines: Buckets::new(MACHINE_RATE, MACHINES_MAX),
            cpu: Gate::new(settings.verifications_max, WAITING_MAX, PATIENCE),
            memory: Gate::new(MEMORY_UNITS, WAITING_MAX, PATIENCE),
            memory_of_strangers: Gate::new(MEMORY_UNITS, WAITING_MAX, PATIENCE),
            refused: Unlisted::of_ours("of ours, that are refused", settings.our_attempts),
            settings,
            store: parts.store,
            authority: parts.authority,
            rules: parts.rules,
            live: parts.live,
            space: parts.space,
            seals: parts.seals,
            logs: KnownLogs::default(),
            kept_logs: LogBodies::default(),
            chains: KeptChains::default(),
            offers: Offers::default(),
            allowance: Allowance::default(),
            unlisted: Unlisted::of("that nobody listed"),
            barred: Unlisted::of("of ours, that are barred or wait"),
            trusts: KnownTrust::default(),
            endorser: parts.endorser,
            strangers: Strangers::default(),
        }
    }

    /// A name for an attempt that begins now.
    #[must_use]
    pub fn name_attempt(&self) -> AttemptId {
        let mut random = [0; 10];
        // Without randomness two attempts of one millisecond share a name; the record then refuses the second.
        let _ = SystemRandom::new().fill(&mut random);
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AttemptId::new(u64::try_from(elapsed.as_millis()).unwrap_or(0), random)
    }

    /// Takes note of an attempt that failed: a stranger's in the counts of its source, everybody's in the metrics.
    pub fn note_failure(&self, connection: &Connection, attempt: AttemptId, failure: &Failure) {
        let code = failure.code();
        let (outcome, is_ours) = match failure.reply() {
            Reply::Word(_) => ("refused", false),
            Reply::OverBudget(_) => ("over_budget", false),
            Reply::Unavailable => ("fault", true),
        };
        let decided = match failure {
            Failure::Decided { code } => Some(code.clone()),
            Failure::AwaitsApproval => Some(code.to_owned()),
            _ => None,
        };
        // What was decided and not written down is counted by its source like any stranger's.
        let label = decided.clone().unwrap_or_else(|| code.to_owned());
        metrics::counter!("holdfast_attempts_total", "way" => "", "outcome" => outcome, "code" => label).increment(1);
        let source = Source::of(connection.remote().ip());
        match (is_ours, decided) {
            (true, _) => error!(%attempt, %source, code, error = %failure, "attempt failed by a fault of ours"),
            // It stands in the record, and was logged with it.
            (false, Some(_)) => {}
            (false, None) => {
                debug!(%attempt, %source, code, error = %failure, "stranger refused");
                self.strangers.count(source, code);
            }
        }
    }

    /// Counts of strangers since the last call, for the store's sample.
    #[must_use]
    pub const fn strangers(&self) -> &Strangers {
        &self.strangers
    }
}
