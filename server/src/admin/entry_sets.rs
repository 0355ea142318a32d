//! `Entries.Apply`: a set of entries, as the operator's files declare them.

use holdfast_protocol::admin;

use super::entries::{draft, message};
use super::refusal::Refusal;
use crate::clock;
use crate::store::entry_sets::PROBLEMS_MAX;
use crate::store::{Actor, Doing, EntrySet, Foreign, Others, Step, Store};

/// Makes the entries of one owner what the request says; what is wrong with them is the answer.
pub(super) async fn apply(
    store: &dyn Store,
    request: admin::ApplyEntriesRequest,
    by: Actor,
) -> Result<admin::ApplyEntriesResponse, Refusal> {
    let (mut drafts, mut problems) = (Vec::with_capacity(request.entries.len()), Vec::new());
    for entry in request.entries {
        let id = entry.id.clone();
        match draft(Some(entry)) {
            Ok(draft) => drafts.push(draft),
            Err(refusal) if problems.len() < PROBLEMS_MAX => problems.push(problem(id, &refusal)),
            Err(_) => {}
        }
    }
    if !problems.is_empty() {
        return Ok(admin::ApplyEntriesResponse { problems, ..Default::default() });
    }
    let set = EntrySet {
        owner: request.owner,
        drafts,
        others: if request.prune { Others::Pruned } else { Others::Kept },
        foreign: if request.adopt { Foreign::Adopted } else { Foreign::Refused },
        doing: if request.dry_run { Doing::Planned } else { Doing::Written },
    };
    Ok(match store.apply_entries(set, by, clock::now()).await? {
        Ok(applied) => admin::ApplyEntriesResponse {
            steps: applied.steps.iter().map(step).collect(),
            unchanged: applied.unchanged,
            problems: Vec::new(),
        },
        Err(found) => admin::ApplyEntriesResponse {
            problems: found.into_iter().map(|found| problem(found.id, &Refusal::Entry(found.refusal))).collect(),
            ..Default::default()
        },
    })
}

fn problem(id: String, refusal: &Refusal) -> admin::EntryProblem {
    admin::EntryProblem { id, code: refusal.code().to_owned(), message: refusal.to_string() }
}

fn step(step: &Step) -> admin::EntryStep {
    let (before, after) = match step {
        Step::Create(after) => (None, Some(after)),
        Step::Update { before, after } => (Some(before), Some(&**after)),
        Step::Delete(before) => (Some(before), None),
    };
    admin::EntryStep { before: before.map(message), after: after.map(message) }
}
