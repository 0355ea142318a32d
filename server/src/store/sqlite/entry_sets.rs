//! Applying a set of entries: compared first, written last, in one transaction of the one writer.

use super::super::StoreFault;
use super::super::entries::{Entry, EntryDraft, EntryFilter, EntryNumber, EntryRefusal};
use super::super::entry_sets::{
    Applied, Doing, EntrySet, EntrySets, Foreign, OWNER_BYTES_MAX, Others, PROBLEMS_MAX, SET_ENTRIES_MAX, SetProblem,
    Step,
};
use super::super::ledger::Actor;
use super::super::{Held, entry_rules};
use super::entries::{add, remove, replace};
use super::writer::{Tx, Verb};
use super::{SqliteStore, entry_reads, entry_rows, federation_rows};
use holdfast_identity::{TrustDomain, UnixTime};
use sqlx::sqlite::SqliteConnection;
use std::collections::{HashMap, HashSet};

impl EntrySets for SqliteStore {
    fn apply_entries(&self, set: EntrySet, by: Actor, at: UnixTime) -> Held<'_, Result<Applied, Vec<SetProblem>>> {
        let (trust_domain, limit) = (self.trust_domain.clone(), self.limits.entries_max);
        let apply = Apply { set, trust_domain, limit, by, at };
        match apply.set.doing {
            Doing::Written => Box::pin(self.queue.run(apply)),
            // Nobody who writes waits for one who asks.
            Doing::Planned => Box::pin(async move {
                let mut snapshot = self.report_snapshot().await?;
                let there_are = entry_reads::count(&mut snapshot, &EntryFilter::default()).await?;
                apply.plan(&mut snapshot, there_are).await
            }),
        }
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
        let there_are = *tx.entries();
        match self.plan(&mut tx.connection, there_are).await? {
            Ok(plan) => Ok(Ok(self.write(tx, plan).await?)),
            Err(problems) => Ok(Err(problems)),
        }
    }
}

impl Apply {
    /// What would be done to the entries that there are, or why nothing can be.
    async fn plan(
        &self,
        connection: &mut SqliteConnection,
        there_are: u64,
    ) -> Result<Result<Applied, Vec<SetProblem>>, StoreFault> {
        let mut problems = Problems::default();
        self.check_alone(&mut problems);
        if !problems.0.is_empty() {
            return Ok(Err(problems.0));
        }
        let plan = self.compare(connection, there_are, &mut problems).await?;
        check_likeness(connection, &plan, &mut problems).await?;
        Ok(if problems.0.is_empty() { Ok(plan) } else { Err(problems.0) })
    }

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
    async fn compare(
        &self,
        connection: &mut SqliteConnection,
        there_are: u64,
        problems: &mut Problems,
    ) -> Result<Applied, StoreFault> {
        let mut plan = Applied::default();
        let ids: Vec<&str> = self.set.drafts.iter().map(|draft| draft.id.as_str()).collect();
        let mut present = entry_rows::by_ids(connection, &ids).await?;
        for draft in &self.set.drafts {
            if let Some(refusal) = federation_rows::check(connection, draft, &self.trust_domain).await? {
                problems.add(&draft.id, refusal);
            }
            let Some(before) = present.remove(&draft.id) else {
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
            let owned = entry_rows::of_owner(connection, &self.set.owner).await?;
            plan.steps.extend(owned.into_iter().filter(|entry| !named.contains(entry.id())).map(Step::Delete));
        }
        let count = |is: fn(&Step) -> bool| plan.steps.iter().filter(|step| is(step)).count() as u64;
        let (created, deleted) =
            (count(|step| matches!(step, Step::Create(_))), count(|step| matches!(step, Step::Delete(_))));
        if created > 0 && (there_are + created).saturating_sub(deleted) > self.limit {
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

/// Whether an entry that stays as it is grants the same as one that is written.
async fn check_likeness(
    connection: &mut SqliteConnection,
    plan: &Applied,
    problems: &mut Problems,
) -> Result<(), StoreFault> {
    let (mut moves, mut written) = (HashSet::new(), Vec::new());
    for step in &plan.steps {
        let (goes, comes) = match step {
            Step::Create(entry) => (None, Some(entry)),
            Step::Update { before, after } => (Some(before), Some(&**after)),
            Step::Delete(before) => (Some(before), None),
        };
        moves.extend(goes.map(Entry::id));
        written.extend(comes.map(|entry| (entry.id(), entry_rows::likeness(&entry.draft))));
    }
    let likenesses: Vec<Vec<u8>> = written.iter().map(|(_, likeness)| likeness.clone()).collect();
    let like = entry_rows::likes(connection, &likenesses).await?;
    for (id, likeness) in written {
        if let Some(existing) = like.get(&likeness).filter(|existing| !moves.contains(existing.as_str())) {
            problems.add(id, EntryRefusal::Similar { existing: existing.clone() });
        }
    }
    Ok(())
}
