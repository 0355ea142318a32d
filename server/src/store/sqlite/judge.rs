//! What the store itself has to say about a verdict: bans, freezes, clocks, names. Pure; may only make it harsher.

use super::super::attempts::{Attempt, Progress, Verdict, Way};
use super::super::nodes::{Node, Standing};

/// The verdict as it will be recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// As the desk said.
    Admit,
    /// As the desk said, or because a copyable TPM's resetCount fell.
    AwaitApproval,
    /// Refused.
    Refuse {
        /// Stable code.
        code: String,
        /// Whether the node's standing ends.
        ends: bool,
    },
}

/// What else follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) judged: Judged,
    pub(super) progress: Progress,
    /// A constant word for the alarm that must be raised.
    pub(super) alarm: Option<&'static str>,
    /// The node's keys are forgotten, so that it must enrol from the start.
    pub(super) forget_keys: bool,
    /// The node waits for approval whatever the policy says.
    pub(super) hold: bool,
}

impl Judgement {
    /// Refuses what was not refused yet, for a reason that is no word about the evidence: nobody's standing ends by it.
    pub(super) fn refuse(&mut self, code: &str) {
        self.judged = Judged::Refuse { code: code.to_owned(), ends: false };
    }
}

/// Judges `attempt` of `node` as the store knows it in this transaction.
pub(super) fn judge(attempt: &Attempt, node: Option<&Node>) -> Judgement {
    let mut judgement = Judgement {
        judged: asked(&attempt.verdict),
        progress: Progress::First,
        alarm: None,
        forget_keys: false,
        hold: false,
    };
    let genuine = !matches!(attempt.verdict, Verdict::Refuse { genuine: false, .. });
    let Some(node) = node else { return judgement };
    if let Some(code) = barred(node, attempt) {
        judgement.refuse(code);
        return judgement;
    }
    if let (true, Some(reading)) = (genuine, attempt.clock) {
        judgement.progress = reading.after(node.clock.as_ref());
    }
    match judgement.progress {
        Progress::First | Progress::Same | Progress::Rebooted => {}
        Progress::WentBack => {
            judgement.alarm = Some("alarm.clock_went_back");
            judgement.refuse("node.clock.went_back");
        }
        Progress::Fell => fell(&mut judgement, attempt.way, node),
    }
    if judgement.judged == Judged::Admit && (judgement.hold || node.hold.is_some()) {
        judgement.judged = Judged::AwaitApproval;
    }
    judgement
}

fn asked(verdict: &Verdict) -> Judged {
    match verdict {
        Verdict::Admit(_) => Judged::Admit,
        Verdict::AwaitApproval(_) => Judged::AwaitApproval,
        Verdict::Refuse { code, genuine } => Judged::Refuse { code: code.clone(), ends: *genuine },
    }
}

/// What bars a node whatever it shows. Only an admission is barred: a refusal keeps its own code.
fn barred(node: &Node, attempt: &Attempt) -> Option<&'static str> {
    if matches!(attempt.verdict, Verdict::Refuse { .. }) {
        return None;
    }
    if node.ban.is_some() {
        return Some("node.banned");
    }
    if node.freeze.is_some() {
        return Some("node.frozen");
    }
    match node.standing {
        Standing::Denied => return Some("node.denied"),
        Standing::Evicted if attempt.way != Way::Enrol => return Some("node.evicted"),
        Standing::Evicted | Standing::Pending | Standing::Admitted | Standing::Refused => {}
    }
    (!node.kinds.is_subset(&attempt.kinds)).then_some("node.kinds_shrank")
}

/// resetCount fell: TPM2_Clear, a resale, or a rolled-back copy.
fn fell(judgement: &mut Judgement, way: Way, node: &Node) {
    judgement.alarm = Some("alarm.reset_count_fell");
    match way {
        Way::Return | Way::Renew => {
            judgement.forget_keys = true;
            judgement.hold = node.copyable;
            judgement.judged = Judged::Refuse { code: "node.clock.fell".to_owned(), ends: true };
        }
        Way::Enrol => judgement.hold = node.copyable,
    }
}
