//! What a report tells, and in which order: its tables, and what is looked at first. The media draw them.

use super::super::policies::Version;
use super::super::rollout::{Rollout, action, enforced, people};
use super::{Count, Node, Report, Waiver, meaning, when};

/// One table of the report, the same in each medium.
pub(in crate::cli) struct Section {
    /// The heading above it and its neighbours.
    pub(in crate::cli) part: &'static str,
    /// Its name in CSV.
    pub(in crate::cli) key: &'static str,
    pub(in crate::cli) title: &'static str,
    /// What it says, in a sentence.
    pub(in crate::cli) about: &'static str,
    pub(in crate::cli) columns: &'static [Column],
    pub(in crate::cli) rows: Vec<Vec<Cell>>,
}

/// A column: its heading for readers, none where it is for programs alone, and its name in CSV.
pub(in crate::cli) struct Column(pub(in crate::cli) &'static str, pub(in crate::cli) &'static str);

/// One cell, as yet in no medium.
pub(in crate::cli) enum Cell {
    Text(String),
    Count(u64),
    /// Seconds since the epoch; nothing if 0.
    Moment(i64),
    /// An error code; readers see its meaning, too.
    Code(String),
}

const COUNTED: &[Column] = &[Column("what", "subject"), Column("meaning", "meaning"), Column("number", "count")];
const CODES: &[Column] = &[Column("reason", "code"), Column("", "meaning"), Column("attempts", "count")];
const NODES: &[Column] = &[
    Column("node", "subject"),
    Column("state", "state"),
    Column("reason of its last attempt", "code"),
    Column("", "meaning"),
    Column("at", "at"),
    Column("evidence", "evidence"),
    Column("says of itself", "description"),
];
const WAIVERS: &[Column] = &[
    Column("waiver", "subject"),
    Column("", "kind"),
    Column("in policy", "policy"),
    Column("may differ", "facts"),
    Column("owner", "by"),
    Column("reason", "reason"),
    Column("", "valid_from"),
    Column("ends", "valid_until"),
    Column("taken", "state"),
    Column("", "count"),
    Column("", "sample"),
];

impl Report {
    /// The tables, in order.
    pub(in crate::cli) fn sections(&self) -> Vec<Section> {
        self.policy_sections().into_iter().chain(self.attempt_sections()).chain(self.node_sections()).collect()
    }

    fn policy_sections(&self) -> [Section; 5] {
        let part = "Policies and exceptions";
        let now = self.rollout.iter().map(|now| vec![text(&enforced(now)), observed(now), Cell::Moment(now.at)]);
        let proposals = self.proposals.iter().map(|one| {
            let closed = Cell::Moment(one.closed_at.unwrap_or_default());
            vec![
                Cell::Count(one.number),
                text(&one.what),
                text(&one.author),
                text(&one.state),
                text(&one.closed_by),
                closed,
            ]
        });
        [
            Section {
                part,
                key: "policy_in_force",
                title: "Policy in force",
                about: "Which version of the policy decides about whom now. An observed version refuses nobody: its \
                        verdict is only noted.",
                columns: &[Column("enforced", "policy"), Column("observed", "observed"), Column("since", "at")],
                rows: now.collect(),
            },
            Section {
                part,
                key: "waivers",
                title: "Waivers and change windows",
                about: "Exceptions of the policies in force, each for named machines, named facts and a time, whether or \
                        not a machine is admitted by it now.",
                columns: WAIVERS,
                rows: self.waivers.iter().map(|waiver| waiver.row(self.made_at)).collect(),
            },
            Section {
                part,
                key: "policy_changes",
                title: "Changes of policy",
                about: "What was rolled out in the period, by whom, and who approved it.",
                columns: &[
                    Column("at", "at"),
                    Column("what", "subject"),
                    Column("enforced", "policy"),
                    Column("observed", "observed"),
                    Column("by", "by"),
                    Column("message", "reason"),
                ],
                rows: self.changes.iter().map(change).collect(),
            },
            Section {
                part,
                key: "proposals",
                title: "Proposals",
                about: "What waits for another operator, or did in the period.",
                columns: &[
                    Column("number", "number"),
                    Column("what", "subject"),
                    Column("by", "by"),
                    Column("state", "state"),
                    Column("closed by", "closed_by"),
                    Column("closed at", "at"),
                ],
                rows: proposals.collect(),
            },
            Section {
                part,
                key: "nodes_by_policy",
                title: "Machines by policy version",
                about: "Which version admitted the machines that hold an identity, or did until their evidence expired.",
                columns: &[Column("version", "policy"), Column("machines", "count")],
                rows: counts(&self.policies),
            },
        ]
    }

    fn attempt_sections(&self) -> [Section; 4] {
        let part = "Attestations in the period";
        let refusals = self.refusals.iter().map(|one| code_row(&one.what, one.count));
        let observed = self.observed_refusals.iter().map(|one| {
            let (policy, code) = one.what.rsplit_once(": ").unwrap_or(("", &one.what));
            std::iter::once(text(policy)).chain(code_row(code, one.count)).collect()
        });
        [
            Section {
                part,
                key: "attempts",
                title: "Attempts by result",
                about: "What the attestations of the period came to. A machine attests again and again.",
                columns: COUNTED,
                rows: explained(&self.outcomes, meaning::of_verdict),
            },
            Section {
                part,
                key: "refusals",
                title: "Refusals by reason",
                about: "Why attempts of the period were refused.",
                columns: CODES,
                rows: refusals.collect(),
            },
            Section {
                part,
                key: "admissions_by_rule",
                title: "Admissions by rule",
                about: "By which rule of which policy attempts of the period were admitted.",
                columns: &[Column("policy: rule", "subject"), Column("attempts", "count")],
                rows: counts(&self.rules),
            },
            Section {
                part,
                key: "observed_refusals",
                title: "Observed refusals",
                about: "Admissions of the period that the observed policy would not have given.",
                columns: &[
                    Column("observed policy", "observed"),
                    Column("reason", "code"),
                    Column("", "meaning"),
                    Column("attempts", "count"),
                ],
                rows: observed.collect(),
            },
        ]
    }

    fn node_sections(&self) -> [Section; 5] {
        let (part, attention) = ("The fleet now", "Machines that need attention");
        let rows = |nodes: &[Node]| nodes.iter().map(Node::row).collect::<Vec<_>>();
        [
            Section {
                part: attention,
                key: "not_admitted",
                title: "Not admitted",
                about: "Machines that hold no identity now, with the reason of their last attempt.",
                columns: NODES,
                rows: rows(&self.not_admitted),
            },
            Section {
                part: attention,
                key: "stale",
                title: "Stale evidence",
                about: "Machines that were admitted and have not proved themselves again in time: their identities have \
                        ended.",
                columns: NODES,
                rows: rows(&self.stale),
            },
            Section {
                part,
                key: "nodes_by_state",
                title: "Machines by state",
                about: "Every machine on record.",
                columns: COUNTED,
                rows: explained(&self.states, meaning::of_state),
            },
            Section {
                part,
                key: "nodes_by_evidence",
                title: "Machines by evidence",
                about: "What the machines that were admitted proved themselves with.",
                columns: &[Column("evidence", "evidence"), Column("machines", "count")],
                rows: counts(&self.kinds),
            },
            Section {
                part,
                key: "nodes_by_class",
                title: "Machines by trust class",
                about: "The weakest thing that each admitted machine's proof rests on.",
                columns: COUNTED,
                rows: explained(&self.classes, meaning::of_class),
            },
        ]
    }

    /// What is looked at first: counts, and what of.
    pub(in crate::cli) fn headline(&self) -> [(u64, &'static str); 7] {
        let of = |counts: &[Count], what: &str| counts.iter().find(|one| one.what == what).map_or(0, |one| one.count);
        let all = |counts: &[Count]| counts.iter().map(|one| one.count).sum::<u64>();
        let out = ["refused", "denied", "banned", "frozen"].map(|state| of(&self.states, state)).iter().sum();
        [
            (all(&self.states), "machines on record now"),
            (of(&self.states, "admitted"), "of them hold an identity"),
            (out, "of them are refused, denied, banned or frozen"),
            (of(&self.states, "expired"), "of them have stale evidence"),
            (all(&self.outcomes), "attestation attempts in the period"),
            (all(&self.refusals), "of these were refused"),
            (self.waivers.len() as u64, "waivers and change windows that have not ended"),
        ]
    }
}

impl Node {
    fn row(&self) -> Vec<Cell> {
        let name = if self.spiffe_id.is_empty() { format!("number {}", self.node) } else { self.spiffe_id.clone() };
        let code = Cell::Code(self.code.clone());
        let meaning = text(meaning::of_code(&self.code));
        vec![
            text(&name),
            text(&self.state),
            code,
            meaning,
            Cell::Moment(self.at),
            text(&self.kinds),
            text(&self.description),
        ]
    }
}

impl Waiver {
    fn row(&self, now: i64) -> Vec<Cell> {
        let announced = self.valid_from.filter(|from| *from > now);
        let policies = match self.policies.as_slice() {
            [] => "none in force any more".to_owned(),
            names => names.join(", "),
        };
        let taken = match (self.nodes, announced) {
            (0, Some(from)) => format!("announced, begins {}", when(from)),
            (0, None) => "not taken".to_owned(),
            (1, _) => format!("taken by 1 node: {}", self.sample),
            (nodes, _) => format!("taken by {nodes} nodes, such as {}", self.sample),
        };
        vec![
            text(&self.name),
            text(&self.kind),
            text(&policies),
            text(&self.facts.join(", ")),
            text(&self.owner),
            text(&self.reason),
            Cell::Moment(self.valid_from.unwrap_or_default()),
            Cell::Moment(self.valid_until),
            text(&taken),
            Cell::Count(self.nodes),
            text(&self.sample),
        ]
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn code_row(code: &str, count: u64) -> Vec<Cell> {
    vec![Cell::Code(code.to_owned()), text(meaning::of_code(code)), Cell::Count(count)]
}

fn counts(counts: &[Count]) -> Vec<Vec<Cell>> {
    counts.iter().map(|one| vec![text(&one.what), Cell::Count(one.count)]).collect()
}

fn explained(counts: &[Count], meaning: fn(&str) -> &'static str) -> Vec<Vec<Cell>> {
    counts.iter().map(|one| vec![text(&one.what), text(meaning(&one.what)), Cell::Count(one.count)]).collect()
}

fn observed(state: &Rollout) -> Cell {
    Cell::Text(state.observed.as_ref().map(Version::short).unwrap_or_default())
}

fn change(state: &Rollout) -> Vec<Cell> {
    let policy = text(&enforced(state));
    vec![
        Cell::Moment(state.at),
        text(&action(state)),
        policy,
        observed(state),
        text(&people(state)),
        text(&state.message),
    ]
}
