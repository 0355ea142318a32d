//! `entry apply`: entries become what files declare, and how what that changes looks at a terminal.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;
use serde_json::Value;
use tonic::transport::Channel;

use super::client::{answered, connect_for};
use super::entries::Entry;
use super::{Context, Outcome, entry_file, show};
use crate::admin_clients::entries_client::EntriesClient;

/// How long the server may take over one set: it waits for its turn, and writes ten thousand entries in a few seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// How often it is said that there is no answer yet.
const STILL_AT_IT: Duration = Duration::from_secs(2);
/// So many deletions are an everyday matter, as long as something is left.
const DELETIONS_MAX: u64 = 10;

const EXAMPLES: &str = "\
Examples:
  holdfast-server entry apply -f entries.toml --dry-run
      Says what would change; exit code 1 if anything would.
  holdfast-server entry apply -f web.toml -f db.toml --owner shop --prune
      The entries of `shop` become those of both files: what it applied before and is in neither is deleted.
  holdfast-server entry list --output json > entries.json
      Files of this form are read too.

A file: [[entry]] tables with id, spiffe_id, parent_id or node_selectors, selectors, and x509_svid_ttl, dns_names, hint
and expires_at where they are wanted. The id is the entry's name: it stays, whatever else changes.";

/// Make entries what files declare: all of them in one step, or none
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Apply {
    /// A file of entries, TOML or JSON; `-` is standard input; repeat for each
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose entries these are: what is applied bears this mark, and only what bears it is pruned
    #[arg(long, default_value = "apply", value_name = "NAME")]
    owner: String,
    /// Delete the owner's entries that are in none of the files
    #[arg(long)]
    prune: bool,
    /// Delete as many as this, though they are all that the owner has, or more than half and more than ten
    #[arg(long, value_name = "COUNT", requires = "prune", default_value = "0", hide_default_value = true)]
    accept_deletions: u64,
    /// Take over entries that were made by hand or by another owner
    #[arg(long)]
    adopt: bool,
    /// Say what would change, and change nothing; exit code 1 if anything would
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) async fn run(apply: Apply, context: &Context) -> anyhow::Result<Outcome> {
    let entries = entry_file::read_all(apply.files.iter().map(PathBuf::as_path))?;
    let Apply { owner, prune, accept_deletions, adopt, dry_run, .. } = apply;
    let what = format!("{} entries", entries.len());
    let mut client = client(context).await?;
    let mut request = admin::ApplyEntriesRequest { entries, owner: owner.clone(), prune, adopt, dry_run };
    if prune && !dry_run {
        // A file that came empty, or broke off between two entries, looks like the wish to delete.
        let asked = admin::ApplyEntriesRequest { dry_run: true, ..request.clone() };
        let plan = Plan::new(answered!(patiently(&what, client.apply(asked))), true);
        if let Some(deleted) = plan.deletes_too_much(&owner).filter(|deleted| *deleted != accept_deletions) {
            eprintln!("holdfast-server: {}", too_much(deleted, &owner));
            return Ok(Outcome::Refused);
        }
    }
    request.dry_run = dry_run;
    let plan = Plan::new(answered!(patiently(&what, client.apply(request))), dry_run);
    let outcome = plan.outcome();
    context.format.print(&plan, Plan::text)?;
    if let Some(deleted) = plan.deletes_too_much(&owner).filter(|deleted| dry_run && *deleted != accept_deletions) {
        eprintln!("holdfast-server: {}", too_much(deleted, &owner));
    }
    Ok(outcome)
}

fn too_much(deleted: u64, owner: &str) -> String {
    format!(
        "--prune would delete {deleted} entries of {owner}, most of what it has or all of it: `--dry-run` says which, \
         --accept-deletions {deleted} does it"
    )
}

/// Waits for an answer, and says now and then that it is still waited for.
pub(super) async fn patiently<T>(what: &str, answer: impl Future<Output = T>) -> T {
    let began = Instant::now();
    tokio::pin!(answer);
    loop {
        match tokio::time::timeout(STILL_AT_IT, &mut answer).await {
            Ok(answer) => return answer,
            Err(_) => eprintln!("holdfast-server: {what}, {} s", began.elapsed().as_secs()),
        }
    }
}

/// A client that sets of entries are sent by: the answer has each twice, and what is pruned beside them.
///
/// # Errors
/// As [`connect_for`].
pub(super) async fn client(context: &Context) -> anyhow::Result<EntriesClient<Channel>> {
    let channel = connect_for(context, ANSWER_WITHIN).await?;
    Ok(EntriesClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// What was changed, or would be.
#[derive(Debug, Default, Serialize)]
pub(super) struct Plan {
    /// Nothing was done.
    pub(super) dry_run: bool,
    pub(super) steps: Vec<Step>,
    pub(super) unchanged: u64,
    /// Why nothing was done.
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// `create`, `update` or `delete`.
    action: &'static str,
    before: Option<Entry>,
    after: Option<Entry>,
}

/// What is wrong with one entry, in the server's words.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    pub(super) id: String,
    pub(super) code: String,
    pub(super) message: String,
}

impl Plan {
    pub(super) fn new(answer: admin::ApplyEntriesResponse, dry_run: bool) -> Self {
        let step = |step: admin::EntryStep| {
            let action = match (&step.before, &step.after) {
                (None, _) => "create",
                (Some(_), Some(_)) => "update",
                (Some(_), None) => "delete",
            };
            Step { action, before: step.before.map(Entry::from), after: step.after.map(Entry::from) }
        };
        let problem = |problem: admin::EntryProblem| {
            let admin::EntryProblem { id, code, message } = problem;
            Problem { id, code, message }
        };
        Self {
            dry_run,
            steps: answer.steps.into_iter().map(step).collect(),
            unchanged: answer.unchanged,
            problems: answer.problems.into_iter().map(problem).collect(),
        }
    }

    /// Problems are a refusal; so is, as `diff` says it, a dry run that finds something to do.
    pub(super) fn outcome(&self) -> Outcome {
        match (self.problems.is_empty(), self.steps.is_empty(), self.dry_run) {
            (true, true, _) | (true, false, false) => Outcome::Yes,
            (false, false, false) => Outcome::Incomplete,
            (false, true, _) | (_, false, true) => Outcome::Refused,
        }
    }

    /// How many entries would go, where that is all that the owner has, or more than half and more than a few.
    fn deletes_too_much(&self, owner: &str) -> Option<u64> {
        let count = |is: fn(&Step, &str) -> bool| self.steps.iter().filter(|step| is(step, owner)).count() as u64;
        let deleted = count(|step, _| step.action == "delete");
        let changed = count(|step, owner| step.action == "update" && step.is_of(owner));
        let stays = changed + self.unchanged;
        let too_much = deleted > 0 && (stays == 0 || (deleted > DELETIONS_MAX && deleted > stays));
        too_much.then_some(deleted)
    }

    /// The plan for people.
    pub(super) fn text(&self) -> String {
        if !self.problems.is_empty() {
            let lines: Vec<String> = self.problems.iter().map(Problem::line).collect();
            let done = match (self.dry_run, self.steps.len()) {
                (true, _) | (false, 0) => "nothing is done".to_owned(),
                (false, steps) => format!("{steps} changes are done, and no others"),
            };
            return format!("{done}:\n{}", lines.join("\n"));
        }
        let mut text: String = self.steps.iter().map(Step::text).collect();
        let count = |action: &str| self.steps.iter().filter(|step| step.action == action).count();
        let [create, update, delete] = ["create", "update", "delete"].map(count);
        let unchanged = self.unchanged;
        text.push_str(&match self.dry_run {
            true => format!("{create} to create, {update} to change, {delete} to delete, {unchanged} unchanged"),
            false => format!("{create} created, {update} changed, {delete} deleted, {unchanged} unchanged"),
        });
        text
    }
}

impl Problem {
    pub(super) fn line(&self) -> String {
        let Self { id, code, message } = self;
        let message = show::text(message);
        if id.is_empty() {
            format!("  {message} ({code})")
        } else {
            format!("  {}: {message} ({code})", show::text(id))
        }
    }
}

impl Step {
    fn is_of(&self, owner: &str) -> bool {
        self.before.as_ref().is_some_and(|before| before.owner == owner)
    }

    /// A line, and one more for each field that changes.
    fn text(&self) -> String {
        let line = |sign, entry: &Entry| format!("{sign} {}  {}\n", entry.id, entry.spiffe_id);
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("{}{}", line('~', after), changes(before, after)),
            (None, Some(after)) => line('+', after),
            (Some(before), None) => line('-', before),
            (None, None) => String::new(),
        }
    }
}

fn changes(before: &Entry, after: &Entry) -> String {
    let fields = |entry| match serde_json::to_value(entry) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(before), fields(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let own = ["revision_number", "created_at"];
    let changed =
        names.into_iter().filter(|name| !own.contains(&name.as_str()) && before.get(*name) != after.get(*name));
    let said = |value: Option<&Value>| value.map_or_else(|| "none".to_owned(), |value| show::text(&value.to_string()));
    changed.map(|name| format!("    {name}: {} -> {}\n", said(before.get(name)), said(after.get(name)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, hint: &str) -> admin::Entry {
        admin::Entry {
            id: id.to_owned(),
            spiffe_id: format!("spiffe://td/{id}"),
            hint: hint.to_owned(),
            ..admin::Entry::default()
        }
    }

    fn answer() -> admin::ApplyEntriesResponse {
        let steps = vec![
            admin::EntryStep { before: None, after: Some(entry("a", "")) },
            admin::EntryStep { before: Some(entry("b", "")), after: Some(entry("b", "x")) },
            admin::EntryStep { before: Some(entry("c", "")), after: None },
        ];
        admin::ApplyEntriesResponse { steps, unchanged: 4, problems: Vec::new() }
    }

    #[test]
    fn a_plan_reads_as_a_difference_and_says_by_its_exit_code_whether_there_is_one() {
        let plan = Plan::new(answer(), true);
        let expected = "+ a  spiffe://td/a\n~ b  spiffe://td/b\n    hint: \"\" -> \"x\"\n- c  spiffe://td/c\n\
                        1 to create, 1 to change, 1 to delete, 4 unchanged";
        assert_eq!((plan.text().as_str(), plan.outcome()), (expected, Outcome::Refused));
        let nothing = Plan::new(admin::ApplyEntriesResponse { unchanged: 4, ..Default::default() }, true);
        assert_eq!(nothing.outcome(), Outcome::Yes);
        let done = Plan::new(answer(), false);
        assert!(done.text().ends_with("1 created, 1 changed, 1 deleted, 4 unchanged"));
        assert_eq!(done.outcome(), Outcome::Yes);
    }

    #[test]
    fn a_plan_that_deletes_all_that_there_is_or_most_of_it_is_told_apart() {
        let of = |hint: &str| admin::Entry { owner: "shop".to_owned(), ..entry("b", hint) };
        let gone = || admin::EntryStep { before: Some(of("")), after: None };
        let changed = || admin::EntryStep { before: Some(of("")), after: Some(of("x")) };
        let adopted = || admin::EntryStep { before: Some(entry("b", "")), after: Some(of("")) };
        let asked = |steps: Vec<admin::EntryStep>, unchanged| {
            Plan::new(admin::ApplyEntriesResponse { steps, unchanged, problems: Vec::new() }, true)
                .deletes_too_much("shop")
        };
        assert_eq!(asked(vec![gone()], 0), Some(1));
        assert_eq!(asked(vec![gone(), adopted()], 0), Some(1));
        assert_eq!(asked(vec![gone(), changed()], 0), None);
        assert_eq!(asked((0..10).map(|_| gone()).collect(), 1), None);
        assert_eq!(asked((0..11).map(|_| gone()).collect(), 10), Some(11));
        assert_eq!(asked((0..11).map(|_| gone()).collect(), 11), None);
        assert_eq!(asked(Vec::new(), 0), None);
    }

    #[test]
    fn problems_are_a_refusal_that_names_each_entry() {
        let problems = vec![admin::EntryProblem {
            id: "web".to_owned(),
            code: "entry.invalid".to_owned(),
            message: "hint: \u{1b}[31m".to_owned(),
        }];
        let plan = Plan::new(admin::ApplyEntriesResponse { problems, ..Default::default() }, false);
        let text = plan.text();
        assert!(
            text.contains("  web: hint: ") && text.ends_with("(entry.invalid)") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert_eq!(plan.outcome(), Outcome::Refused);
    }

    #[test]
    fn what_was_done_before_a_problem_is_not_denied() {
        let problems = vec![admin::EntryProblem {
            code: "entry.limit".to_owned(),
            message: "full".to_owned(),
            ..Default::default()
        }];
        let plan = Plan::new(admin::ApplyEntriesResponse { problems, ..answer() }, false);
        assert!(plan.text().starts_with("3 changes are done, and no others:\n  full (entry.limit)"), "{}", plan.text());
        assert_eq!(plan.outcome(), Outcome::Incomplete);
    }
}
