//! What evidence said, as bytes for the store: a machine's own facts written anew, those of a log that was seen lately
//! taken as they were written for the machine before.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use holdfast_appraisal::facts::{HeldFacts, LogFacts, NotStored};
use tracing::warn;

use crate::store::{FactBody, KeptFacts};

/// Logs whose bodies are kept at hand: as many as the appraiser keeps.
const LOGS_MAX: usize = 64;

/// Bodies of logs that were seen lately.
#[derive(Debug, Default)]
pub(super) struct LogBodies(Mutex<Vec<(Weak<LogFacts>, FactBody)>>);

impl LogBodies {
    /// The facts as they are kept. Facts that are too large to be kept decide all the same; what-if then does not know
    /// the machine.
    pub(super) fn kept(&self, held: &HeldFacts) -> Option<KeptFacts> {
        let own = held.own_body().map(FactBody::new);
        let log = held.log().map(|log| self.body(log)).transpose();
        match (own, log) {
            (Ok(own), Ok(log)) => Some(KeptFacts { own, log }),
            (Err(problem), _) | (_, Err(problem)) => {
                warn!(code = problem.code(), error = %problem, "facts of a machine are not kept");
                metrics::counter!("holdfast_facts_not_kept_total", "code" => problem.code()).increment(1);
                None
            }
        }
    }

    fn body(&self, log: &Arc<LogFacts>) -> Result<FactBody, NotStored> {
        let this = Arc::downgrade(log);
        // A poisoned lock only means that another thread panicked; the list is whole.
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, body)) = held.iter().find(|(of, _)| of.ptr_eq(&this)) {
            return Ok(body.clone());
        }
        drop(held);
        let body = FactBody::new(log.body()?);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(of, _)| of.strong_count() > 0);
        if held.len() >= LOGS_MAX {
            held.remove(0);
        }
        held.push((this, body.clone()));
        Ok(body)
    }
}
