//! Who finds endorsements, and in which order: what the machine brought, what is held, what lies in the operator's
//! directory, and only then the vendor's service. Verifies what it keeps; judges no machine.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::VerifiedVek;
use holdfast_evidence::tdx::CheckedCollateral;
use holdfast_evidence::x509::Roots;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::directory::Directory;
use super::fault::EndorseFault;
use super::flight::{Flights, NotYet};
use super::kept::{KeptCollateral, KeptVeks, Seen};
use super::pace::Asker;
use super::service::Service;
use super::settings::EndorseSettings;
use super::unknown::{Unknown, Wanted};
use crate::clock;
use crate::http::Http;
use crate::store::{EndorsementDraft, Store};

/// Fetches under way at one time.
const FLIGHTS_MAX: usize = 256;
/// How long a stranger waits for what is being fetched, at most.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(3);
/// Machines that claim to be ours and wait at one time; the others come back, and what they asked for is here then.
const CLAIMS_WAITING: usize = 64;
/// Strangers that wait at one time; the others are told at once to come back. Whoever waits may hold a place elsewhere.
const STRANGERS_WAITING: usize = 8;
/// Time between two requests to Intel's service, which sets no limit that we know.
const INTEL_INTERVAL: Duration = Duration::from_secs(1);

/// Whom the server believes at this moment.
pub trait Trust: Send + Sync {
    /// Roots, intermediates and CRLs for evidence of this kind.
    fn roots(&self, kind: EvidenceKind) -> Arc<Roots>;
}

/// What came of a fetch; nothing, where the service does not know it.
pub(super) type Found<T> = Result<Option<Arc<T>>, EndorseFault>;

/// Finds endorsements. Clones share everything.
#[derive(Clone)]
pub struct Endorser(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn Store>,
    pub(super) trust: Arc<dyn Trust>,
    pub(super) settings: EndorseSettings,
    pub(super) directory: Arc<Directory>,
    pub(super) amd: Option<Service>,
    pub(super) intel: Option<Service>,
    pub(super) unknown: Unknown,
    pub(super) kept: KeptVeks,
    pub(super) kept_collateral: KeptCollateral,
    /// VEKs that machines brought along and that are held.
    pub(super) learned: Seen,
    /// When upkeep tried what.
    pub(super) tried: Mutex<HashMap<String, Instant>>,
    claims_waiting: Arc<Semaphore>,
    strangers_waiting: Arc<Semaphore>,
    pub(super) veks: Flights<Found<VerifiedVek>>,
    pub(super) collateral: Flights<Found<CheckedCollateral>>,
}

impl Endorser {
    /// An endorser that keeps what it finds in `store`. Reads the operator's directory.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, trust: Arc<dyn Trust>, settings: EndorseSettings) -> Self {
        let http = Http::new(&settings.ca_file, settings.timeout);
        let service = |url: &Option<String>, interval| {
            let url = url.as_ref()?;
            Some(Service::new(url, http.clone(), interval, settings.per_source, settings.strangers))
        };
        Self(Arc::new(Inner {
            amd: service(&settings.amd_url, settings.amd_interval),
            intel: service(&settings.intel_url, INTEL_INTERVAL),
            directory: Directory::new(settings.directory.clone()),
            unknown: Unknown::new(settings.unknown_for),
            kept: KeptVeks::default(),
            kept_collateral: KeptCollateral::default(),
            learned: Seen::default(),
            tried: Mutex::default(),
            claims_waiting: Arc::new(Semaphore::new(CLAIMS_WAITING)),
            strangers_waiting: Arc::new(Semaphore::new(STRANGERS_WAITING)),
            veks: Flights::new(FLIGHTS_MAX),
            collateral: Flights::new(FLIGHTS_MAX),
            store,
            trust,
            settings,
        }))
    }

    /// Forgets what is in memory: an operator has imported or withdrawn something, and the store knows better.
    pub fn forget(&self) {
        self.0.kept.clear();
        self.0.kept_collateral.clear();
        self.0.learned.clear();
    }

    /// What machines needed within the last day and nobody had, the latest first.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        self.0.unknown.list()
    }
}

impl Inner {
    /// How long this caller waits, and his place while he does.
    pub(super) fn patience(&self, asker: Asker) -> (Duration, Option<OwnedSemaphorePermit>) {
        let (places, patience) = match asker {
            Asker::Ours => return (self.settings.patience, None),
            Asker::Listed { .. } => (&self.claims_waiting, self.settings.patience),
            Asker::Stranger(_) => (&self.strangers_waiting, self.settings.patience.min(STRANGERS_PATIENCE)),
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(place) => (patience, Some(place)),
            Err(_) => (Duration::ZERO, None),
        }
    }

    /// Keeps what was found and checked. That it cannot be kept harms nobody who has it now.
    pub(super) async fn keep(&self, drafts: Vec<EndorsementDraft>) {
        if let Err(fault) = self.store.keep_endorsements(drafts, clock::now()).await {
            error!(code = fault.code(), %fault, "an endorsement could not be kept");
        }
    }

    /// Takes note of what is not here. What a stranger may not even ask for is not worth a line.
    pub(super) fn want(&self, serves: EvidenceKind, about: &str, url: String, code: &'static str, asker: Asker) {
        let ours = !matches!(asker, Asker::Stranger(_));
        if !ours && code == "endorse.strangers" {
            return;
        }
        let now = clock::now();
        let about = about.to_owned();
        self.unknown.want(Wanted { serves, about, url, code, ours, first_at: now, last_at: now, times: 0 });
    }
}

impl NotYet {
    pub(super) fn fault(self, about: &str) -> EndorseFault {
        match self {
            Self::UnderWay => EndorseFault::Pending { about: about.to_owned(), retry_after: Duration::from_secs(5) },
            Self::Full => EndorseFault::Pending { about: about.to_owned(), retry_after: Duration::from_secs(30) },
        }
    }
}
