//! Applying a set of entries: compared first, written last, in one transaction of the one writer.

use super::super::StoreFault;
use super::super::entries::{Entry, EntryDraft, EntryNumber, EntryRefusal};
use super::super::entry_sets::{
    Applied, Doing, EntrySet, EntrySets, Foreign, OWNER_BYTES_MAX, Others, PROBLEMS_MAX, SET_ENTRIES_MAX, SetProblem,
    Step,
};
use super::super::ledger::Actor;
use super::super::{Held, entry_rules};
use super::entries::{add, remove, replace};
use super::writer::{Tx, Verb};
use super::{SqliteStore, entry_rows, federation_rows};
use holdfast_identity::{TrustDomain, UnixTime};
use std::collections::{HashMap, HashSet};

impl EntrySets for SqliteStore {
    fn apply_entries(&self, set: EntrySet, by: Actor, at: UnixTime) -> Held<'_, Result<Applied, Vec<SetProblem>>> {
        let (trust_domain, limit) = (self.trust_domain.clone(), self.limits.entries_max);
        Box::pin(self.queue.run(Apply { set, trust_domain, limit, by, at }))
    }
}

struct Apply {
    set: EntrySet,
    trust_domain: TrustDomain,
    limit: u64,
    by: Actor,
    at: UnixTime,
}

/// What is wrong so far; no more than an answer names.
#[derive(Default)]
struct Problems(Vec<SetProblem>);

impl Problems {
    fn add(&mut self, id: &str, refusal: EntryRefusal) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.push(SetProblem { id: id.to_owned(), refusal });
        }
    }
}

fn invalid(field: &'static str, reason: String) -> EntryRefusal {
    EntryRefusal::Invalid { field, reason }
}

impl Verb for Apply {
    type Reply = Result<Applied, Vec<SetProblem>>;
    const NAME: &'static str = "apply_entries";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let mut problems = Problems::default();
        self.check_alone(&mut problems);
        if !problems.0.is_empty() {
            return Ok(Err(problems.0));
        }
        let plan = self.compare(tx, &mut problems).await?;
        self.check_likeness(tx, &plan, &mut problems).await?;
        if !problems.0.is_empty() {
            return Ok(Err(problems.0));
        }
        match self.set.doing {
            Doing::Planned => Ok(Ok(plan)),
            Doing::Written => Ok(Ok(self.write(tx, plan).await?)),
        }
    }
}

impl Apply {
    /// What can be said without asking the database.
    fn check_alone(&self, problems: &mut Problems) {
        let owner = &self.set.owner;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if owner.is_empty() || owner.len() > OWNER_BYTES_MAX || !owner.chars().all(plain) {
            let reason = format!("expected 1 to {OWNER_BYTES_MAX} of a-z, A-Z, 0-9, '.', '-' and '_', found {owner:?}");
            problems.add("", invalid("owner", reason));
        }
        let count = self.set.drafts.len();
        if count > SET_ENTRIES_MAX {
            problems.add("", invalid("entries", format!("{count} entries, limit {SET_ENTRIES_MAX} at once")));
            return;
        }
        let (mut ids, mut granted) = (HashSet::new(), HashMap::new());
        for draft in &self.set.drafts {
            if draft.id.is_empty() {
                problems.add("", invalid("id", format!("is missing of the entry for {}", draft.spiffe_id)));
                continue;
            }
            if let Err(refusal) = entry_rules::check(draft, &self.trust_domain, self.at) {
                problems.add(&draft.id, refusal);
            }
            if !ids.insert(draft.id.as_str()) {
                problems.add(&draft.id, EntryRefusal::IdTaken);
            } else if let Some(existing) = granted.insert(entry_rows::likeness(draft), draft.id.clone()) {
                problems.add(&draft.id, EntryRefusal::Similar { existing });
            }
        }
    }

    /// What would be done. Nothing is written yet.
    async fn compare(&self, tx: &mut Tx, problems: &mut Problems) -> Result<Applied, StoreFault> {
        let mut plan = Applied::default();
        for draft in &self.set.drafts {
            if let Some(refusal) = federation_rows::check(&mut tx.connection, draft, &self.trust_domain).await? {
                problems.add(&draft.id, refusal);
            }
            let Some(before) = entry_rows::by_id(&mut tx.connection, &draft.id).await? else {
                plan.steps.push(Step::Create(self.planned(draft)));
                continue;
            };
            let foreign = before.owner != self.set.owner;
            if foreign && self.set.foreign == Foreign::Refused {
                problems.add(&draft.id, EntryRefusal::NotOwned { owner: before.owner });
            } else if !foreign && before.draft == *draft {
                plan.unchanged += 1;
            } else {
                let revision_number = before.revision_number + 1;
                let after = Entry { draft: draft.clone(), revision_number, owner: self.set.owner.clone(), ..before };
                plan.steps.push(Step::Update { before, after: Box::new(after) });
            }
        }
        if self.set.others == Others::Pruned {
            let named: HashSet<&str> = self.set.drafts.iter().map(|draft| draft.id.as_str()).collect();
            let owned = entry_rows::of_owner(&mut tx.connection, &self.set.owner).await?;
            plan.steps.extend(owned.into_iter().filter(|entry| !named.contains(entry.id())).map(Step::Delete));
        }
        let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count() as u64;
        let (created, deleted) =
            (count(|step| matches!(step, Step::Create(_))), count(|step| matches!(step, Step::Delete(_))));
        if created > 0 && (*tx.entries() + created).saturating_sub(deleted) > self.limit {
            problems.add("", EntryRefusal::Full { limit: self.limit });
        }
        Ok(plan)
    }

    fn planned(&self, draft: &EntryDraft) -> Entry {
        Entry {
            number: EntryNumber(0),
            draft: draft.clone(),
            revision_number: 0,
            created_at: self.at,
            owner: self.set.owner.clone(),
        }
    }

    /// Whether an entry that stays as it is grants the same as one that is written.
    async fn check_likeness(&self, tx: &mut Tx, plan: &Applied, problems: &mut Problems) -> Result<(), StoreFault> {
        let written: HashSet<&str> = plan
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Create(_) => None,
                Step::Update { before, .. } | Step::Delete(before) => Some(before.id()),
            })
            .collect();
        for step in &plan.steps {
            let (entry, itself) = match step {
                Step::Create(entry) => (entry, None),
                Step::Update { after, .. } => (&**after, Some(after.number)),
                Step::Delete(_) => continue,
            };
            let like = entry_rows::like(&mut tx.connection, &entry.draft, itself).await?;
            if let Some(existing) = like.filter(|id| !written.contains(id.as_str())) {
                problems.add(entry.id(), EntryRefusal::Similar { existing });
            }
        }
        Ok(())
    }

    async fn write(&self, tx: &mut Tx, plan: Applied) -> Result<Applied, StoreFault> {
        // What goes makes room; then those that may change places lose what tells them apart.
        for step in &plan.steps {
            match step {
                Step::Create(_) => {}
                Step::Update { before, .. } => entry_rows::forget_likeness(&mut tx.connection, before).await?,
                Step::Delete(before) => remove(tx, before, "entry.delete", &self.by, self.at).await?,
            }
        }
        let mut done = Applied { steps: Vec::with_capacity(plan.steps.len()), unchanged: plan.unchanged };
        for step in plan.steps {
            done.steps.push(match step {
                Step::Create(entry) => Step::Create(add(tx, &entry.draft, &self.set.owner, &self.by, self.at).await?),
                Step::Update { before, after } => {
                    let after = replace(tx, &before, after.draft, &self.set.owner, &self.by, self.at).await?;
                    Step::Update { before, after: Box::new(after) }
                }
                Step::Delete(before) => Step::Delete(before),
            });
        }
        Ok(done)
    }
}
