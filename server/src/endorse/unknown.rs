//! What machines needed and nobody had: ids that a service does not know, which are not asked for again for a while,
//! and the list that an operator reads who must fetch by hand. Bounded, and in memory alone.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;

/// Ids that are remembered; beyond it the one asked for longest ago goes.
const IDS_MAX: usize = 4096;
/// How long an id is remembered after it was wanted last.
const REMEMBERED: Duration = Duration::from_secs(86_400);

/// Something that a machine needed and that is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The kind of evidence that it serves.
    pub serves: EvidenceKind,
    /// What it is about.
    pub about: String,
    /// Where the vendor's service would have it.
    pub url: String,
    /// Why it is not here: the code of the last fault, or `endorse.unknown`.
    pub code: &'static str,
    /// Whether a machine of ours wanted it, or one that an operator listed: strangers' ids go first.
    pub ours: bool,
    /// When it was wanted first.
    pub first_at: UnixTime,
    /// When it was wanted last.
    pub last_at: UnixTime,
    /// How often; 0 counts as none yet.
    pub times: u64,
}

/// The ids.
pub(super) struct Unknown {
    ids: Mutex<HashMap<String, Id>>,
    unknown_for: Duration,
}

struct Id {
    wanted: Wanted,
    touched: Instant,
    /// Until when the service need not be asked again.
    unknown_until: Option<Instant>,
}

impl Unknown {
    pub(super) fn new(unknown_for: Duration) -> Self {
        Self { ids: Mutex::default(), unknown_for }
    }

    /// Whether the service said lately that it does not know that.
    pub(super) fn is_unknown(&self, about: &str) -> bool {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(about).and_then(|id| id.unknown_until).is_some_and(|until| until > Instant::now())
    }

    /// Takes note that it is wanted, and why it is not here.
    pub(super) fn want(&self, wanted: Wanted) {
        let (now, about) = (Instant::now(), wanted.about.clone());
        let (code, at, ours) = (wanted.code, wanted.last_at, wanted.ours);
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.contains_key(&about) && ids.len() >= IDS_MAX {
            ids.retain(|_, id| now.saturating_duration_since(id.touched) < REMEMBERED);
            if ids.len() >= IDS_MAX
                && let Some(oldest) =
                    ids.iter().min_by_key(|(_, id)| (id.wanted.ours, id.touched)).map(|(about, _)| about.clone())
            {
                ids.remove(&oldest);
            }
        }
        let id = ids.entry(about).or_insert_with(|| Id { wanted, touched: now, unknown_until: None });
        (id.touched, id.wanted.last_at, id.wanted.code) = (now, at, code);
        id.wanted.ours |= ours;
        id.wanted.times += 1;
        if code == UNKNOWN {
            id.unknown_until = Some(now + self.unknown_for);
        }
    }

    /// It is here now.
    pub(super) fn found(&self, about: &str) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(about);
    }

    /// All that was wanted within a day and is not here: what is ours first, and the latest of it.
    pub(super) fn list(&self) -> Vec<Wanted> {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = ids.values().filter(|id| id.touched.elapsed() < REMEMBERED);
        let mut list: Vec<Wanted> = lately.map(|id| id.wanted.clone()).collect();
        list.sort_by(|a, b| (b.ours, b.last_at).cmp(&(a.ours, a.last_at)).then_with(|| a.about.cmp(&b.about)));
        list
    }
}

/// The service answered that it does not know the id.
pub(super) const UNKNOWN: &str = "endorse.unknown";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn want(unknown: &Unknown, about: &str, code: &'static str) {
        want_as(unknown, about, code, false);
    }

    fn want_as(unknown: &Unknown, about: &str, code: &'static str, ours: bool) {
        let (serves, about, url) = (EvidenceKind::Snp, about.to_owned(), String::new());
        unknown.want(Wanted { serves, about, url, code, ours, first_at: NOW, last_at: NOW, times: 0 });
    }

    #[test]
    fn an_unknown_id_is_unknown_for_a_while() {
        let unknown = Unknown::new(Duration::from_millis(20));
        want(&unknown, "a", UNKNOWN);
        want(&unknown, "b", "endorse.unreachable");
        assert!(unknown.is_unknown("a") && !unknown.is_unknown("b"));
        std::thread::sleep(Duration::from_millis(30));
        assert!(!unknown.is_unknown("a"));
        unknown.found("a");
        assert_eq!(unknown.list().iter().map(|wanted| wanted.about.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_number_of_ids_is_bounded_and_strangers_oldest_go_first() {
        let unknown = Unknown::new(Duration::from_secs(60));
        want_as(&unknown, "ours", UNKNOWN, true);
        for n in 0..IDS_MAX + 10 {
            want(&unknown, &n.to_string(), UNKNOWN);
        }
        assert_eq!(unknown.list().len(), IDS_MAX);
        assert!(
            unknown.is_unknown("ours") && !unknown.is_unknown("0") && unknown.is_unknown(&(IDS_MAX + 9).to_string())
        );
    }
}
