//! How many SVIDs one node has signed for its workloads: each is an entry of the record, which forgets nothing, and an agent
//! in wrong hands could ask without end. Measured by what the node's entries need, several times over; judges nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use tracing::warn;

use crate::budget::{Entitlements, OverBudget, Rate, Short};
use crate::clock;
use crate::live::StandingNode;
use crate::store::{EntryLives, NodeNumber, Store, StoreFault};

/// X.509-SVIDs of every node, beside those of its entries: an agent makes a thousand before anybody asks.
const X509_OF_NODE: Rate = Rate { per_second: 4.0, burst: 1024.0 };
/// X.509-SVIDs of one entry in the life of one, and as many at once. An agent replaces them before half of it is over: two
/// or three. The others are for agents that start again, entries that change, and authorities that are tainted.
const X509_OF_ENTRY: f64 = 8.0;
/// JWT-SVIDs of every node, beside those of its entries: as many a second as an agent lets one entry have, so that one noisy
/// workload leaves its neighbours theirs.
const JWT_OF_NODE: Rate = Rate { per_second: 16.0, burst: 1024.0 };
/// JWT-SVIDs of one entry in the life of one, and as many at once: an agent holds those of 128 audiences, and replaces them
/// at half of it.
const JWT_OF_ENTRY: f64 = 256.0;
/// JWT-SVIDs of all entries together in that time: an agent holds 4,096.
const JWT_OF_ENTRIES: f64 = 8192.0;
/// JWT-SVIDs of one entry where there are very many: those of eight audiences.
const JWT_OF_ENTRY_MIN: f64 = 16.0;
/// When whoever asks while others find out what his node is entitled to may come back.
const SOON: Duration = Duration::from_secs(1);

/// Which of the two is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SvidKind {
    /// X.509-SVIDs of workloads.
    X509,
    /// JWT-SVIDs of workloads.
    Jwt,
}

impl SvidKind {
    /// The label of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "workload",
            Self::Jwt => "jwt",
        }
    }
}

/// Why a node may have nothing signed now.
#[derive(Debug, thiserror::Error)]
pub enum NoBudget {
    /// It has had more signed than its entries need.
    #[error(transparent)]
    Over(OverBudget),
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl NoBudget {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Over(_) => "issuance.over_budget",
            Self::Store(fault) => fault.code(),
        }
    }
}

/// The budgets of all nodes.
pub struct SigningBudget {
    store: Arc<dyn Store>,
    x509: PerNode,
    jwt: PerNode,
}

struct PerNode {
    shares: Entitlements<NodeNumber>,
    /// Seconds, for entries that say nothing.
    ttl_default: i64,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
struct Asks {
    node: NodeNumber,
    evidence_expires: UnixTime,
    now: UnixTime,
}

impl SigningBudget {
    /// Full budgets. X.509-SVIDs and JWT-SVIDs whose entry names no time live so many seconds.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, x509_ttl_default: i64, jwt_ttl_default: i64) -> Self {
        let of = |everybody, ttl_default| PerNode { shares: Entitlements::new(everybody), ttl_default };
        Self { store, x509: of(X509_OF_NODE, x509_ttl_default), jwt: of(JWT_OF_NODE, jwt_ttl_default) }
    }

    /// Takes so many signatures off the node's budget, all or none. Operators hear of a node that is over it once a minute.
    ///
    /// # Errors
    /// [`NoBudget`].
    pub async fn take(&self, node: &StandingNode, kind: SvidKind, amount: u32) -> Result<(), NoBudget> {
        let asks = Asks { node: node.number(), evidence_expires: node.evidence_expires(), now: clock::now() };
        let (over, refused) = match self.taken(asks, kind, amount, Instant::now()).await? {
            Ok(()) => return Ok(()),
            Err(Short::Over { over, refused }) => (over, refused),
            Err(Short::Unknown) => (OverBudget::after(SOON), None),
        };
        let no = NoBudget::Over(over);
        metrics::counter!("holdfast_svids_over_budget_total", "kind" => kind.as_str()).increment(u64::from(amount));
        if let Some(refused) = refused {
            let (node, kind, code) = (node.spiffe_id(), kind.as_str(), no.code());
            warn!(%node, kind, refused, code, "node asks for more SVIDs than its entries need, not signed");
        }
        Err(no)
    }

    /// Puts back what was taken for SVIDs that did not come into the record. Never called for what may stand in it, such as
    /// a request that was broken off: who breaks off would pay nothing.
    pub fn give_back(&self, node: NodeNumber, kind: SvidKind, amount: u32) {
        self.of(kind).shares.give_back(&node, amount);
    }

    async fn taken(
        &self,
        asks: Asks,
        kind: SvidKind,
        amount: u32,
        at: Instant,
    ) -> Result<Result<(), Short>, StoreFault> {
        let PerNode { shares, ttl_default } = self.of(kind);
        match shares.take(asks.node, amount, at) {
            Err(Short::Unknown) => {
                let lives = self.store.entry_lives(asks.node, asks.now).await?;
                let left = asks.evidence_expires.since(asks.now);
                shares.grant(asks.node, entitled(kind, &lives, *ttl_default, left), at);
                Ok(shares.take(asks.node, amount, at))
            }
            taken => Ok(taken),
        }
    }

    const fn of(&self, kind: SvidKind) -> &PerNode {
        match kind {
            SvidKind::X509 => &self.x509,
            SvidKind::Jwt => &self.jwt,
        }
    }
}

/// Evidence that is about to end is renewed, and what is granted outlives it: nobody has a rate of its last seconds.
const EVIDENCE_LEFT_MIN: i64 = 60;

/// What a node with these entries may have signed: so much at once, and as much again in the life that an SVID would have
/// that is signed now, which the node's evidence ends in so many seconds at the latest.
fn entitled(kind: SvidKind, lives: &[EntryLives], ttl_default: i64, evidence_left: i64) -> Rate {
    let entries: f64 = lives.iter().map(|one| number(one.entries)).sum();
    let (of_node, of_entry) = match kind {
        SvidKind::X509 => (X509_OF_NODE, X509_OF_ENTRY),
        SvidKind::Jwt => (JWT_OF_NODE, (JWT_OF_ENTRIES / entries.max(1.0)).clamp(JWT_OF_ENTRY_MIN, JWT_OF_ENTRY)),
    };
    let each_second = lives.iter().map(|one| {
        let named = match kind {
            SvidKind::X509 => one.x509_svid_ttl,
            SvidKind::Jwt => one.jwt_svid_ttl,
        };
        let life = if named > 0 { named } else { ttl_default }.min(evidence_left.max(EVIDENCE_LEFT_MIN)).max(1);
        number(one.entries) / number(life.cast_unsigned())
    });
    Rate {
        per_second: of_node.per_second + of_entry * each_second.sum::<f64>(),
        burst: of_node.burst + of_entry * entries,
    }
}

/// Exact up to 2^32, which neither entries nor seconds reach.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Parent;
    use crate::store::conformance::{admit, enrolment, entry, open};

    const HOUR: i64 = 3600;

    fn entries(entries: u64, x509_svid_ttl: i64, jwt_svid_ttl: i64) -> EntryLives {
        EntryLives { x509_svid_ttl, jwt_svid_ttl, entries }
    }

    /// Whether an agent with so many entries of that life gets all it asks for: everything three times over at the start
    /// (a new agent, entries that change, an authority that is tainted), then everything each time that `replaced` of a life
    /// is over, twenty times, in batches.
    fn is_enough(kind: SvidKind, of_entry: u32, count: u32, ttl: i64, replaced: f64) -> bool {
        let shares = Entitlements::new(X509_OF_NODE);
        let (mut now, lives) = (Instant::now(), [entries(count.into(), ttl, ttl)]);
        shares.grant(1, entitled(kind, &lives, HOUR, 2 * HOUR), now);
        let everything = |now: Instant| {
            let (whole, rest) = (count * of_entry / 64, count * of_entry % 64);
            (0..whole).map(|_| 64).chain([rest]).all(|batch| shares.take(1, batch, now).is_ok())
        };
        let times = if kind == SvidKind::X509 { 3 } else { 1 };
        (0..times).all(|_| everything(now))
            && (0..20).all(|_| {
                now += Duration::try_from_secs_f64(replaced * number(ttl.cast_unsigned())).unwrap();
                shares.grant(1, entitled(kind, &lives, HOUR, 2 * HOUR), now);
                everything(now)
            })
    }

    #[test]
    fn an_honest_agent_is_never_refused() {
        for count in [1, 10, 100, 1_000, 10_000] {
            for ttl in [2, 10, 60, HOUR] {
                assert!(is_enough(SvidKind::X509, 1, count, ttl, 0.4), "{count} entries of {ttl} s");
            }
        }
        // As many tokens as an agent holds, however they are spread.
        for (count, audiences) in [(1, 128), (10, 128), (32, 128), (100, 40), (1_000, 4), (4_096, 1), (10_000, 1)] {
            for ttl in [10, 60, 300] {
                assert!(is_enough(SvidKind::Jwt, audiences, count, ttl, 0.5), "{count} x {audiences}, {ttl} s");
            }
        }
    }

    #[test]
    fn a_budget_follows_the_number_of_entries_and_how_long_their_svids_live() {
        let of = |lives: &[EntryLives]| entitled(SvidKind::X509, lives, HOUR, 2 * HOUR);
        assert_eq!(of(&[]), X509_OF_NODE);
        assert_eq!(of(&[entries(900, 0, 0)]), Rate { per_second: 6.0, burst: 8224.0 });
        assert_eq!(of(&[entries(900, 0, 60), entries(10, 20, 0)]), Rate { per_second: 10.0, burst: 8304.0 });
        let tokens = |lives: &[EntryLives]| entitled(SvidKind::Jwt, lives, 256, 2 * HOUR);
        assert_eq!(tokens(&[]), JWT_OF_NODE);
        assert_eq!(tokens(&[entries(2, 10, 0)]), Rate { per_second: 18.0, burst: 1536.0 });
        assert_eq!(tokens(&[entries(1_024, 0, 128)]), Rate { per_second: 144.0, burst: 17_408.0 });
    }

    #[test]
    fn svids_that_end_with_the_evidence_are_replaced_as_often() {
        let of = |left| entitled(SvidKind::X509, &[entries(100, 0, 0)], HOUR, left).per_second;
        assert!((of(100) - 12.0).abs() < 1e-9, "{}", of(100));
        // What is granted outlives evidence that is about to end: nobody has a rate of its last seconds.
        assert!((of(60) - of(1)).abs() < 1e-9 && (of(-5) - of(1)).abs() < 1e-9, "{} {}", of(1), of(-5));
    }

    #[tokio::test]
    async fn a_node_has_what_its_entries_need_and_nothing_of_anothers() {
        let (_directory, store) = open().await;
        let (node, other) = (admit(&*store, enrolment(1)).await, admit(&*store, enrolment(2)).await);
        let by = |text: &str| Parent::Id(text.parse().unwrap());
        let create = async |name: &str| {
            let draft = entry(name, by("spiffe://td/holdfast/node/tpm/1"));
            store.create_entry(draft, crate::store::Actor::Server, node.attested_at).await.unwrap().unwrap();
        };
        create("a").await;
        let budget = SigningBudget::new(store.clone(), HOUR, 300);
        let now = node.attested_at;
        let at = Instant::now();
        let asks = |number| Asks { node: number, evidence_expires: now.plus(2 * HOUR), now };
        let all = async |number, kind, seconds| {
            let at = at + Duration::from_secs(seconds);
            let mut taken = 0;
            while budget.taken(asks(number), kind, 8, at).await.unwrap().is_ok() {
                taken += 8;
            }
            taken
        };
        assert_eq!(all(node.number, SvidKind::X509, 0).await, 1032);
        assert_eq!(all(node.number, SvidKind::Jwt, 0).await, 1280, "tokens are counted by themselves");
        assert_eq!(all(other.number, SvidKind::X509, 0).await, 1024);
        create("b").await;
        assert_eq!(all(node.number, SvidKind::X509, 2).await, 16, "another entry, and two seconds");
        budget.give_back(node.number, SvidKind::X509, 8);
        assert_eq!(all(node.number, SvidKind::X509, 2).await, 8);
    }
}
