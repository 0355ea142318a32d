//! What would another rollout decide about the latest evidence of every node? Reads the facts on record, a page of nodes
//! at a time, the facts of a log once for all nodes that share it, and asks on every core. Changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use holdfast_appraisal::Ownership;
use holdfast_appraisal::decision::{Approval, InventoryAnswer, Listing, MachineRecord};
use holdfast_appraisal::facts::{HeldFacts, LogFacts, owner_marks};
use holdfast_appraisal::ima::ImaState;
use tokio::sync::mpsc;

use super::lists::Lists;
use super::question::{Effect, Question, Side, Word, absent};
use crate::store::{Node, NodeFacts, NodeFilter, NodeNumber, Sha256, Store, StoreFault};

/// Nodes that are read and asked at a time.
const PAGE: u32 = 512;
/// Bytes of logs that are held at a time: those of a few hundred builds.
const LOG_BYTES_MAX: usize = 128 << 20;
/// Nodes that stand for a group.
const SAMPLES_MAX: usize = 5;

/// What is heard while the fleet is asked.
#[derive(Debug)]
pub enum Heard {
    /// So many nodes were asked, of so many.
    Progress(u64, u64),
    /// One node's answer.
    Node(Box<Answer>),
}

/// One node's answer.
#[derive(Debug)]
pub struct Answer {
    /// The node.
    pub node: Node,
    /// What the rollout that stands says.
    pub now: Side,
    /// What the other would.
    pub then: Side,
    /// What that does to it.
    pub effect: Effect,
    /// Its evidence, but for the facts themselves.
    pub evidence: Option<NodeFacts>,
}

/// Nodes to which the same happens for the same reasons.
#[derive(Clone, Debug)]
pub struct Group {
    /// How many.
    pub nodes: u64,
    /// Some of them, by name.
    pub samples: Vec<String>,
    /// The verdict of the first, with what was expected and found of it.
    pub then: Side,
}

/// The answer of the fleet.
#[derive(Debug, Default)]
pub struct WhatIf {
    /// By effect, and by what the other rollout says.
    pub groups: BTreeMap<(Effect, Side), Group>,
    /// Logs whose facts were read.
    pub logs: u64,
    /// Lists of measured files that were judged again.
    pub lists: u64,
    /// And those that were not, as [`Question::lists_within`] had passed: their machines are unknown.
    pub lists_left: u64,
    /// How long it took.
    pub milliseconds: u64,
}

impl WhatIf {
    /// Nodes by effect.
    #[must_use]
    pub fn effects(&self) -> BTreeMap<Effect, u64> {
        let mut effects = BTreeMap::new();
        for ((effect, _), group) in &self.groups {
            *effects.entry(*effect).or_default() += group.nodes;
        }
        effects
    }

    /// Nodes that are admitted now and may not be then.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.effects().into_iter().filter(|(effect, _)| effect.loses()).map(|(_, nodes)| nodes).sum()
    }

    /// Nodes that are admitted now.
    #[must_use]
    pub fn admitted(&self) -> u64 {
        self.effects().into_iter().filter(|(effect, _)| effect.is_admitted_now()).map(|(_, nodes)| nodes).sum()
    }

    /// How many of a thousand admitted nodes are lost, rounded up.
    #[must_use]
    pub fn lost_per_mille(&self) -> u64 {
        (self.lost() * 1000).div_ceil(self.admitted().max(1))
    }

    fn add(&mut self, answer: &Answer) {
        let group = self.groups.entry((answer.effect, answer.then.clone())).or_insert_with(|| Group {
            nodes: 0,
            samples: Vec::new(),
            then: answer.then.clone(),
        });
        group.nodes += 1;
        if group.samples.len() < SAMPLES_MAX {
            group.samples.push(name(&answer.node));
        }
    }
}

/// How a node is called: by its SPIFFE ID, or by its number.
pub(crate) fn name(node: &Node) -> String {
    node.spiffe_id.as_ref().map_or_else(|| node.number.0.to_string(), ToString::to_string)
}

/// Asks every node. `hear` is told while that goes on, and ends it by closing.
///
/// # Errors
/// [`StoreFault`].
pub async fn what_if(
    store: &dyn Store,
    question: Arc<Question>,
    hear: Option<mpsc::Sender<Heard>>,
) -> Result<WhatIf, StoreFault> {
    let began = Instant::now();
    let mut fleet = WhatIf::default();
    let total = store.count_nodes(question.at).await?.states.iter().map(|(_, nodes)| *nodes).sum();
    let until = question.lists_within.and_then(|within| began.checked_add(within));
    let (mut logs, mut lists) = (Logs::default(), Lists::until(until));
    let (mut after, mut done) = (NodeNumber(0), 0_u64);
    loop {
        let filter = NodeFilter { state: None, after: Some(after), limit: PAGE };
        let nodes = store.nodes(filter, question.at).await?;
        let Some(last) = nodes.last().map(|node| node.number) else { break };
        let mut facts: HashMap<NodeNumber, NodeFacts> = HashMap::new();
        for held in store.facts_of_nodes(after, PAGE).await? {
            facts.insert(held.node, held);
        }
        let mut asked = Vec::with_capacity(nodes.len());
        for node in nodes {
            let evidence = facts.remove(&node.number);
            let log = match evidence.as_ref().and_then(|evidence| evidence.log) {
                Some(digest) => logs.get(store, digest).await?,
                None => Some(Arc::default()),
            };
            let states = match question.needs_ima() {
                true => store.measured_files(node.number).await?,
                false => None,
            };
            asked.push((node, evidence.map(|evidence| (evidence, states)), log));
        }
        let of_page = asked.len() as u64;
        let mut read = read(asked).await?;
        for (n, Read { node, held, states, .. }) in (0..).zip(&mut read) {
            let Some(held) = held.as_ref().filter(|_| question.needs_ima()) else { continue };
            let judged = lists.judged;
            let mut found = lists.judge(store, node.number, held, states, &question.policies_for(node)).await?;
            // What was found just now is of the quote on record; what was kept may be of one before.
            found.append(states);
            *states = found;
            if judged < lists.judged
                && let Some(hear) = &hear
                && hear.send(Heard::Progress(done + n, total)).await.is_err()
            {
                return Ok(fleet);
            }
        }
        done += of_page;
        for answer in ask(store, &question, read).await? {
            fleet.add(&answer);
            if let Some(hear) = &hear
                && hear.send(Heard::Node(Box::new(answer))).await.is_err()
            {
                return Ok(fleet);
            }
        }
        if let Some(hear) = &hear
            && hear.send(Heard::Progress(done, total)).await.is_err()
        {
            return Ok(fleet);
        }
        after = last;
    }
    (fleet.logs, fleet.lists, fleet.lists_left) = (logs.read, lists.judged, lists.left);
    fleet.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(fleet)
}

/// A node with its evidence as it was read, and what was found in its list of measured files; without a log where that
/// could not be.
type Asked = (Node, Option<(NodeFacts, Option<String>)>, Option<Arc<LogFacts>>);

/// A node with the facts of its evidence, what was found in its list of measured files, and what the inventory may list.
struct Read {
    node: Node,
    evidence: Option<NodeFacts>,
    held: Option<HeldFacts>,
    states: Vec<ImaState>,
    marks: Vec<[u8; 32]>,
}

/// Reads the facts of a page of nodes, on every core.
async fn read(nodes: Vec<Asked>) -> Result<Vec<Read>, StoreFault> {
    spread(nodes, |(node, evidence, log)| {
        let (evidence, states) = evidence.unzip();
        let states = states.flatten().as_deref().map(ImaState::parse_all).unwrap_or_default();
        let held = evidence.as_ref().zip(log).map(|(evidence, log)| HeldFacts::read_back(&evidence.own, log));
        let held = held.and_then(Result::ok);
        let marks = held.iter().flat_map(|held| owner_marks(&held.facts));
        let marks = marks.flat_map(|mark| [mark.digest].into_iter().chain(mark.bare)).collect();
        Read { node, evidence, held, states, marks }
    })
    .await
}

/// Asks a page of nodes: looks up what the inventory lists, and judges on every core.
async fn ask(store: &dyn Store, question: &Arc<Question>, read: Vec<Read>) -> Result<Vec<Answer>, StoreFault> {
    let digests: BTreeSet<Sha256> = read.iter().flat_map(|read| &read.marks).map(|mark| Sha256(*mark)).collect();
    let listed = Arc::new(store.listed(digests.into_iter().collect()).await?);
    let question = question.clone();
    spread(read, move |Read { node, evidence, held, states, marks }| {
        let Some(held) = held else {
            let side = || Side::of(Word::Unknown, "");
            let known = match (node.stands(question.at), question.leaves(&node)) {
                (true, true) => Effect::StillAdmitted,
                (true, false) => Effect::NoEvidence,
                (false, _) => Effect::StillRefused,
            };
            let effect = absent(&node, question.at).unwrap_or(known);
            return Answer { node, now: side(), then: side(), effect, evidence: None };
        };
        let answer = |digest| {
            let listing = if *listed.get(&Sha256(digest))? { Listing::ListedBare } else { Listing::Listed };
            Some(InventoryAnswer { digest, listing })
        };
        let inventory = marks.into_iter().filter_map(answer).collect();
        let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
        let (now, then, effect) = question.ask(&node, &held, &states, ownership);
        let evidence = evidence.map(|evidence| NodeFacts { own: Vec::new(), ..evidence });
        Answer { node, now, then, effect, evidence }
    })
    .await
}

/// Does `work` for each item, in order, on as many threads as there are cores.
async fn spread<T: Send + 'static, R: Send + 'static>(
    mut items: Vec<T>,
    work: impl Fn(T) -> R + Send + Sync + 'static,
) -> Result<Vec<R>, StoreFault> {
    let work = Arc::new(work);
    let part = items.len().div_ceil(available_parallelism().map_or(1, usize::from)).max(1);
    let mut running = Vec::new();
    while !items.is_empty() {
        let rest = items.split_off(part.min(items.len()));
        let (mine, work) = (std::mem::replace(&mut items, rest), work.clone());
        running.push(tokio::task::spawn_blocking(move || mine.into_iter().map(|item| work(item)).collect::<Vec<_>>()));
    }
    let mut done = Vec::new();
    for part in running {
        done.extend(part.await.map_err(|_| StoreFault::Unavailable)?);
    }
    Ok(done)
}

/// Facts of logs that were read.
#[derive(Default)]
struct Logs {
    held: HashMap<Sha256, Option<Arc<LogFacts>>>,
    bytes: usize,
    read: u64,
}

impl Logs {
    /// The facts of that name; nothing if they are gone or do not read back.
    async fn get(&mut self, store: &dyn Store, digest: Sha256) -> Result<Option<Arc<LogFacts>>, StoreFault> {
        if let Some(held) = self.held.get(&digest) {
            return Ok(held.clone());
        }
        let body = store.fact_body(digest).await?.unwrap_or_default();
        if self.bytes.saturating_add(body.len()) > LOG_BYTES_MAX {
            self.held.clear();
            self.bytes = 0;
        }
        self.bytes += body.len();
        self.read += 1;
        let facts = LogFacts::read_back(&body).ok().map(Arc::new);
        self.held.insert(digest, facts.clone());
        Ok(facts)
    }
}
