//! Nodes as rows.

use super::super::attempts::{AttemptId, ClockReading};
use super::super::nodes::{Fleet, Mark, Node, NodeNumber, NodeState, NodeTarget, Remark, Standing};
use super::super::{Sha256, StoreFault};
use super::mentions;
use super::writer::fault;
use holdfast_identity::{Selector, UnixTime};
use sqlx::sqlite::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};

#[derive(sqlx::FromRow)]
struct NodeRow {
    number: i64,
    spiffe_id: Option<String>,
    standing: String,
    ban: Option<String>,
    freeze: Option<String>,
    hold: Option<String>,
    approval: Option<String>,
    kinds: String,
    trust_class: String,
    copyable: bool,
    ak_name: Option<Vec<u8>>,
    known: Vec<u8>,
    description: String,
    node_key_spki: Vec<u8>,
    clock: Option<i64>,
    reset_count: Option<i64>,
    restart_count: Option<i64>,
    clock_safe: Option<bool>,
    selectors: String,
    fixed: String,
    changed_n: i64,
    firmware_log: Option<Vec<u8>>,
    policy: Option<Vec<u8>>,
    rule: String,
    first_seen: i64,
    attested_at: i64,
    evidence_expires: i64,
    svid_serial: Option<Vec<u8>>,
    svid_not_after: i64,
    last_attempt: Option<Vec<u8>>,
}

/// A node with the revision at which its name, selectors or standing changed last.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) node: Node,
    pub(super) changed_n: u64,
}

/// What stands in a `WHERE` for each kind of target, all with one parameter.
const SELECT: [&str; 5] = [
    "SELECT * FROM nodes WHERE number = $1",
    "SELECT * FROM nodes WHERE spiffe_id = $1",
    "SELECT * FROM nodes WHERE ak_name = $1",
    "SELECT * FROM nodes WHERE node_key_sha256 = $1",
    "SELECT * FROM nodes WHERE number = (SELECT node FROM node_marks WHERE digest = $1)",
];

/// The node of that name.
pub(super) async fn find(connection: &mut SqliteConnection, target: &NodeTarget) -> Result<Option<Kept>, StoreFault> {
    let [by_number, by_spiffe_id, by_ak_name, by_node_key, by_mark] = SELECT;
    let query = match target {
        NodeTarget::Number(number) => sqlx::query_as(by_number).bind(number.0.cast_signed()),
        NodeTarget::SpiffeId(id) => sqlx::query_as(by_spiffe_id).bind(id.as_str().to_owned()),
        NodeTarget::AkName(name) => sqlx::query_as(by_ak_name).bind(name.clone()),
        NodeTarget::NodeKey(digest) => sqlx::query_as(by_node_key).bind(digest.0.to_vec()),
        NodeTarget::Mark(digest) => sqlx::query_as(by_mark).bind(digest.0.to_vec()),
    };
    let row: Option<NodeRow> = query.fetch_optional(&mut *connection).await.map_err(fault("read a node"))?;
    match row {
        Some(row) => {
            let mut said = Said::of(connection, row.number, row.number).await?;
            Ok(Some(kept(row, &mut said)?))
        }
        None => Ok(None),
    }
}

/// The node of that number without its marks and mentions: what is asked at each signature asks nothing of them.
pub(super) async fn find_unmarked(
    connection: &mut SqliteConnection,
    number: NodeNumber,
) -> Result<Option<Kept>, StoreFault> {
    let [by_number, ..] = SELECT;
    let row: Option<NodeRow> = sqlx::query_as(by_number)
        .bind(number.0.cast_signed())
        .fetch_optional(connection)
        .await
        .map_err(fault("read a node"))?;
    row.map(|row| kept(row, &mut Said::default())).transpose()
}

/// Nodes with numbers above `after`, in order.
pub(super) async fn page(connection: &mut SqliteConnection, after: u64, limit: u32) -> Result<Vec<Kept>, StoreFault> {
    let rows: Vec<NodeRow> = sqlx::query_as("SELECT * FROM nodes WHERE number > $1 ORDER BY number LIMIT $2")
        .bind(after.cast_signed())
        .bind(limit)
        .fetch_all(&mut *connection)
        .await
        .map_err(fault("read nodes"))?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let mut said = Said::of(connection, first.number, last.number).await?;
    rows.into_iter().map(|row| kept(row, &mut said)).collect()
}

/// By what some nodes are known.
#[derive(Default)]
struct Said {
    marks: BTreeMap<i64, Vec<Mark>>,
    mentions: BTreeMap<i64, Vec<Mark>>,
}

impl Said {
    /// Of the nodes from `first` to `last`.
    async fn of(connection: &mut SqliteConnection, first: i64, last: i64) -> Result<Self, StoreFault> {
        let marks = marks(&mut *connection, first, last).await?;
        Ok(Self { marks, mentions: mentions::of_nodes(connection, first, last).await? })
    }
}

/// The marks of the nodes from `first` to `last`.
async fn marks(
    connection: &mut SqliteConnection,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, Vec<Mark>>, StoreFault> {
    let rows: Vec<(i64, String, Vec<u8>)> =
        sqlx::query_as("SELECT node, kind, digest FROM node_marks WHERE node BETWEEN $1 AND $2 ORDER BY kind, digest")
            .bind(first)
            .bind(last)
            .fetch_all(connection)
            .await
            .map_err(fault("read the marks of nodes"))?;
    let mut marks: BTreeMap<i64, Vec<Mark>> = BTreeMap::new();
    for (node, kind, digest) in rows {
        marks.entry(node).or_default().push(Mark { kind, digest: digest.try_into()? });
    }
    Ok(marks)
}

fn kept(row: NodeRow, said: &mut Said) -> Result<Kept, StoreFault> {
    let marks = said.marks.remove(&row.number).unwrap_or_default();
    let mentions = said.mentions.remove(&row.number).unwrap_or_default();
    Ok(Kept { changed_n: row.changed_n.cast_unsigned(), node: Node { mentions, ..row.node(marks)? } })
}

/// Nodes by state: what [`Node::state`] says, counted by the database.
pub(super) async fn count(connection: &mut SqliteConnection, now: UnixTime) -> Result<Fleet, StoreFault> {
    let rows: Vec<(bool, bool, String, bool, i64, Option<i64>)> = sqlx::query_as(
        "SELECT ban IS NOT NULL AS banned, freeze IS NOT NULL AS frozen, standing, evidence_expires <= $1 AS expired, \
         COUNT(*), MIN(svid_not_after) FROM nodes GROUP BY banned, frozen, standing, expired",
    )
    .bind(now.seconds())
    .fetch_all(connection)
    .await
    .map_err(fault("count nodes"))?;
    let mut states = BTreeMap::new();
    let mut fleet = Fleet::default();
    for (banned, frozen, text, expired, count, end) in rows {
        let state = match (banned, frozen, standing(&text)?) {
            (true, _, _) => NodeState::Banned,
            (false, true, _) => NodeState::Frozen,
            (false, false, Standing::Pending) => NodeState::Pending,
            (false, false, Standing::Admitted) if expired => NodeState::Expired,
            (false, false, Standing::Admitted) => {
                fleet.first_svid_end = end.map(UnixTime);
                NodeState::Admitted
            }
            (false, false, Standing::Refused) => NodeState::Refused,
            (false, false, Standing::Denied) => NodeState::Denied,
            (false, false, Standing::Evicted) => NodeState::Evicted,
        };
        *states.entry(state).or_insert(0) += count.cast_unsigned();
    }
    fleet.states = states.into_iter().collect();
    Ok(fleet)
}

impl NodeRow {
    fn node(self, marks: Vec<Mark>) -> Result<Node, StoreFault> {
        let clock = match (self.clock, self.reset_count, self.restart_count, self.clock_safe) {
            (Some(clock), Some(reset_count), Some(restart_count), Some(safe)) => Some(ClockReading {
                clock: clock.cast_unsigned(),
                reset_count: narrow(reset_count)?,
                restart_count: narrow(restart_count)?,
                safe,
            }),
            _ => None,
        };
        Ok(Node {
            number: NodeNumber(self.number.cast_unsigned()),
            spiffe_id: self
                .spiffe_id
                .map(|id| id.parse().map_err(|_| StoreFault::Corrupt { what: "node SPIFFE ID" }))
                .transpose()?,
            standing: standing(&self.standing)?,
            ban: remark(self.ban)?,
            freeze: remark(self.freeze)?,
            hold: remark(self.hold)?,
            approval: remark(self.approval)?,
            marks,
            mentions: Vec::new(),
            kinds: self.kinds.split(',').filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            trust_class: self.trust_class,
            copyable: self.copyable,
            ak_name: self.ak_name.unwrap_or_default(),
            known: self.known,
            description: self.description,
            node_key_spki: self.node_key_spki,
            clock,
            selectors: selectors(&self.selectors)?,
            fixed: selectors(&self.fixed)?,
            firmware_log: self.firmware_log.map(Sha256::try_from).transpose()?,
            policy: self.policy.map(Sha256::try_from).transpose()?,
            rule: self.rule,
            first_seen: UnixTime(self.first_seen),
            attested_at: UnixTime(self.attested_at),
            evidence_expires: UnixTime(self.evidence_expires),
            svid_serial: self.svid_serial.map(sixteen).transpose()?,
            svid_not_after: UnixTime(self.svid_not_after),
            last_attempt: self.last_attempt.map(sixteen).transpose()?.map(AttemptId),
        })
    }
}

/// Makes room for a new node; `save` fills it.
pub(super) async fn insert(connection: &mut SqliteConnection, at: UnixTime) -> Result<NodeNumber, StoreFault> {
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO nodes (standing, kinds, trust_class, copyable, known, description, node_key_spki, selectors, \
         changed_n, rule, first_seen, attested_at, evidence_expires, svid_not_after) \
         VALUES ('pending', '', '', FALSE, $1, '', $1, '[]', 0, '', $2, 0, 0, 0) RETURNING number",
    )
    .bind(Vec::new())
    .bind(at.seconds())
    .fetch_one(connection)
    .await
    .map_err(fault("make a node"))?;
    Ok(NodeNumber(number.cast_unsigned()))
}

/// Writes everything but the marks.
pub(super) async fn save(connection: &mut SqliteConnection, kept: &Kept) -> Result<(), StoreFault> {
    let node = &kept.node;
    let key = (!node.node_key_spki.is_empty()).then(|| Sha256::of(&node.node_key_spki).0.to_vec());
    sqlx::query(
        "UPDATE nodes SET spiffe_id = $2, standing = $3, ban = $4, freeze = $5, hold = $6, approval = $7, kinds = $8, \
         trust_class = $9, copyable = $10, ak_name = $11, known = $12, description = $13, node_key_spki = $14, \
         node_key_sha256 = $15, clock = $16, reset_count = $17, restart_count = $18, clock_safe = $19, \
         selectors = $20, changed_n = $21, firmware_log = $22, policy = $23, rule = $24, attested_at = $25, \
         evidence_expires = $26, svid_serial = $27, svid_not_after = $28, last_attempt = $29, \
         fixed = $30 WHERE number = $1",
    )
    .bind(node.number.0.cast_signed())
    .bind(node.spiffe_id.as_ref().map(ToString::to_string))
    .bind(standing_text(node.standing))
    .bind(node.ban.as_ref().map(remark_text))
    .bind(node.freeze.as_ref().map(remark_text))
    .bind(node.hold.as_ref().map(remark_text))
    .bind(node.approval.as_ref().map(remark_text))
    .bind(node.kinds.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    .bind(node.trust_class.clone())
    .bind(node.copyable)
    .bind((!node.ak_name.is_empty()).then(|| node.ak_name.clone()))
    .bind(node.known.clone())
    .bind(node.description.clone())
    .bind(node.node_key_spki.clone())
    .bind(key)
    .bind(node.clock.map(|clock| clock.clock.cast_signed()))
    .bind(node.clock.map(|clock| i64::from(clock.reset_count)))
    .bind(node.clock.map(|clock| i64::from(clock.restart_count)))
    .bind(node.clock.map(|clock| clock.safe))
    .bind(selectors_text(&node.selectors))
    .bind(kept.changed_n.cast_signed())
    .bind(node.firmware_log.map(|digest| digest.0.to_vec()))
    .bind(node.policy.map(|digest| digest.0.to_vec()))
    .bind(node.rule.clone())
    .bind(node.attested_at.seconds())
    .bind(node.evidence_expires.seconds())
    .bind(node.svid_serial.map(|serial| serial.to_vec()))
    .bind(node.svid_not_after.seconds())
    .bind(node.last_attempt.map(|id| id.0.to_vec()))
    .bind(selectors_text(&node.fixed))
    .execute(connection)
    .await
    .map_err(fault("write a node"))?;
    Ok(())
}

/// Adds marks to a node that are not its own yet. What is another's stays with it.
pub(super) async fn add_marks(
    connection: &mut SqliteConnection,
    node: &mut Node,
    marks: &[Mark],
) -> Result<(), StoreFault> {
    for mark in marks {
        if node.marks.iter().any(|held| held.digest == mark.digest) {
            continue;
        }
        let query = "INSERT INTO node_marks (digest, kind, node) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING";
        let written = sqlx::query(query)
            .bind(mark.digest.0.to_vec())
            .bind(mark.kind.clone())
            .bind(node.number.0.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(fault("write a node's mark"))?;
        if written.rows_affected() > 0 {
            node.marks.push(mark.clone());
        }
    }
    Ok(())
}

pub(super) fn selectors(text: &str) -> Result<BTreeSet<Selector>, StoreFault> {
    let corrupt = || StoreFault::Corrupt { what: "selectors" };
    let texts: Vec<String> = serde_json::from_str(text).map_err(|_| corrupt())?;
    texts.iter().map(|text| text.parse().map_err(|_| corrupt())).collect()
}

/// A sorted JSON array: the one spelling of a set.
pub(super) fn selectors_text(selectors: &BTreeSet<Selector>) -> String {
    serde_json::Value::from(selectors.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string()
}

fn remark(text: Option<String>) -> Result<Option<Remark>, StoreFault> {
    let corrupt = || StoreFault::Corrupt { what: "remark on a node" };
    text.map(|text| {
        let (at, by, reason) = serde_json::from_str(&text).map_err(|_| corrupt())?;
        Ok(Remark { at: UnixTime(at), by, reason })
    })
    .transpose()
}

fn remark_text(remark: &Remark) -> String {
    serde_json::json!([remark.at.seconds(), remark.by, remark.reason]).to_string()
}

const STANDINGS: [(Standing, &str); 5] = [
    (Standing::Pending, "pending"),
    (Standing::Admitted, "admitted"),
    (Standing::Refused, "refused"),
    (Standing::Denied, "denied"),
    (Standing::Evicted, "evicted"),
];

fn standing(text: &str) -> Result<Standing, StoreFault> {
    let found = STANDINGS.iter().find(|(_, name)| *name == text);
    found.map(|(standing, _)| *standing).ok_or(StoreFault::Corrupt { what: "standing" })
}

const fn standing_text(standing: Standing) -> &'static str {
    match standing {
        Standing::Pending => "pending",
        Standing::Admitted => "admitted",
        Standing::Refused => "refused",
        Standing::Denied => "denied",
        Standing::Evicted => "evicted",
    }
}

fn sixteen(bytes: Vec<u8>) -> Result<[u8; 16], StoreFault> {
    bytes.try_into().map_err(|_| StoreFault::Corrupt { what: "name of 16 bytes" })
}

fn narrow(count: i64) -> Result<u32, StoreFault> {
    u32::try_from(count).map_err(|_| StoreFault::Corrupt { what: "clock counter" })
}
