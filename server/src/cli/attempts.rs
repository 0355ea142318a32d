//! `attempt`: who was admitted or refused, when, under which rule, and why.

use clap::Subcommand;
use holdfast_appraisal::decision::Explanation;
use holdfast_protocol::admin;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{answered, connect};
use super::nodes::read_target;
use super::{Context, Outcome, show};
use crate::admin_clients::attempts_client::AttemptsClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-server attempt list --outcome refused
  holdfast-server attempt list --node spiffe://example.org/holdfast/node/tpm/9f86d0…
  holdfast-server attempt show 0193f0c2…      the ID that the agent was told, or its first digits
  holdfast-server attempt strangers           those who may not write to the record, counted";

/// Attestation attempts: who was admitted or refused, and why
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List attempts, newest first
    List {
        /// Of this machine: SPIFFE ID, number, or digest of an endorsement key
        #[arg(long, value_name = "NODE", value_parser = read_target)]
        node: Option<admin::node_target::Target>,
        /// admitted, refused or awaits_approval
        #[arg(long, default_value = "", hide_default_value = true)]
        outcome: String,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show one attempt with its whole decision
    Show {
        /// Its ID, or the first digits of it
        id: String,
    },
    /// Counts by source and minute of those who may not write to the record
    Strangers {
        /// At most so many lines
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

#[derive(Serialize)]
struct Attempt {
    id: String,
    at: i64,
    outcome: String,
    code: String,
    way: String,
    kinds: Vec<String>,
    source: String,
    node: u64,
    spiffe_id: String,
    policy: String,
    record_index: u64,
    #[serde(skip_serializing_if = "Value::is_null")]
    decision: Value,
}

impl From<admin::Attempt> for Attempt {
    fn from(attempt: admin::Attempt) -> Self {
        Self {
            id: attempt.id,
            at: attempt.at,
            outcome: attempt.verdict,
            code: attempt.code,
            way: attempt.way,
            kinds: attempt.kinds,
            source: attempt.source,
            node: attempt.node,
            spiffe_id: attempt.spiffe_id,
            policy: hex::encode(attempt.policy),
            record_index: attempt.index,
            decision: serde_json::from_str(&attempt.decision).unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    attempts: Vec<Attempt>,
}

#[derive(Serialize)]
struct Strangers {
    strangers: Vec<Stranger>,
}

#[derive(Serialize)]
struct Stranger {
    minute: i64,
    source: String,
    counts: std::collections::BTreeMap<String, u64>,
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = AttemptsClient::new(connect(context).await?);
    match command {
        Command::List { node, outcome, limit } => {
            let node = node.map(|target| admin::NodeTarget { target: Some(target) });
            let request = admin::ListAttemptsRequest { node, verdict: outcome, before: String::new(), limit };
            let attempts = answered!(client.list(request)).attempts;
            let listed = Listed { attempts: attempts.into_iter().map(Attempt::from).collect() };
            context.format.print(&listed, list_text)?;
        }
        Command::Show { id } => {
            let attempt = Attempt::from(answered!(client.get(admin::GetAttemptRequest { id })));
            context.format.print(&attempt, attempt_text)?;
        }
        Command::Strangers { limit } => {
            let lines = answered!(client.list_strangers(admin::ListStrangersRequest { limit })).lines;
            let strangers = lines.into_iter().map(|line| Stranger {
                minute: line.minute,
                source: line.source,
                counts: line.counts.into_iter().collect(),
            });
            context.format.print(&Strangers { strangers: strangers.collect() }, strangers_text)?;
        }
    }
    Ok(Outcome::Yes)
}

fn list_text(listed: &Listed) -> String {
    let mut table = show::table(&["at", "outcome", "code", "way", "node", "id"]);
    for attempt in &listed.attempts {
        let node = if attempt.spiffe_id.is_empty() { attempt.source.clone() } else { attempt.spiffe_id.clone() };
        let (at, code) = (show::moment(attempt.at), show::text(&attempt.code));
        table.add_row([&at, &attempt.outcome, &code, &attempt.way, &node, &attempt.id]);
    }
    show::rows(&table, "no attempts")
}

fn attempt_text(attempt: &Attempt) -> String {
    let head = show::fields(&[
        ("Attempt", attempt.id.clone()),
        ("At", show::moment(attempt.at)),
        ("Outcome", attempt.outcome.clone()),
        ("Code", show::text(&attempt.code)),
        ("Way", attempt.way.clone()),
        ("Source", attempt.source.clone()),
        ("SPIFFE ID", attempt.spiffe_id.clone()),
        ("Policy", attempt.policy.clone()),
        ("Record entry", attempt.record_index.to_string()),
    ]);
    head + &decision_text(&attempt.decision)
}

/// The decision for a person: its explanation, and that of the observed policy beside it.
fn decision_text(decision: &Value) -> String {
    let explained = |decision: &Value| {
        let explanation = decision.get("explanation")?;
        Explanation::deserialize(explanation).ok().map(|explanation| explanation.to_string())
    };
    let Some(mut text) = explained(decision) else { return unexplained_text(decision) };
    text.push('\n');
    if let Some(observed) = decision.get("observed").and_then(explained) {
        text.extend(["observed beside it: ", observed.as_str(), "\n"]);
    }
    text
}

/// A decision without an explanation, of evidence that did not verify or of an older release: rule and alternative, then
/// what differs, event by event.
fn unexplained_text(decision: &Value) -> String {
    let mut text = String::new();
    let mut say = |line: String| text.extend([line.as_str(), "\n"]);
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(show::text);
    for (key, label) in [("rule", "rule"), ("alternative", "alternative"), ("ownership_reason", "ownership")] {
        if let Some(value) = word(decision, key) {
            say(format!("{label}: {value}"));
        }
    }
    for error in decision.get("errors").and_then(Value::as_array).into_iter().flatten() {
        say(format!("  {}", show::text(error.as_str().unwrap_or_default())));
    }
    for difference in decision.get("differences").and_then(Value::as_array).into_iter().flatten() {
        let fact = word(difference, "fact").map(|fact| format!(" {fact}")).unwrap_or_default();
        say(format!("differs: {}{fact}", word(difference, "code").unwrap_or_default()));
        for key in ["expected", "found"] {
            if let Some(said) = word(difference, key) {
                say(format!("  {key:<8}  {said}"));
            }
        }
        for value in difference.get("values").and_then(Value::as_array).into_iter().flatten() {
            if let Some(event) = value.get("event") {
                let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or_default();
                say(format!(
                    "  event {} in PCR {}, {} {}",
                    number("index"),
                    number("pcr"),
                    word(event, "type").unwrap_or_default(),
                    word(event, "hint").unwrap_or_default()
                ));
            }
            for (key, label) in [("expected", "expected"), ("expected_note", "      is"), ("found", "found   ")] {
                // A fact of one value has said it above.
                if let Some(said) = word(value, key).filter(|_| value.get(key) != difference.get(key)) {
                    say(format!("    {label}  {said}"));
                }
            }
        }
    }
    if decision.get("found_withheld").is_some() {
        say("what was found of the machine is shown to roles that may read evidence, not to viewers".to_owned());
    }
    text
}

fn strangers_text(strangers: &Strangers) -> String {
    let mut table = show::table(&["minute", "source", "counts"]);
    for line in &strangers.strangers {
        let counts: Vec<String> = line.counts.iter().map(|(code, count)| format!("{code} {count}")).collect();
        table.add_row([&show::moment(line.minute), &line.source, &counts.join(", ")]);
    }
    show::rows(&table, "no strangers")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn explanation() -> Value {
        json!({
            "decision": "refused", "code": "policy.no_rule_matched", "policy": "rack", "policy_digest": "ab", "at": 0,
            "rules": [{ "name": "measured", "line": 7, "answer": "differs", "checks": [], "conditions": [{
                "fact": "tpm.boot.command_lines", "line": 9, "answer": "differs", "code": "policy.fact.differs",
                "expected": "ro", "found": "rw \u{1b}[31m",
            }] }],
            "changes": ["policy line 9 lists rw"],
        })
    }

    #[test]
    fn an_attempt_shows_the_explanation_as_it_was_stored() {
        let whole = Explanation::deserialize(&explanation()).unwrap();
        let text = decision_text(&json!({ "verdict": "refused", "explanation": explanation() }));
        assert_eq!(text, format!("{whole}\n"));
        assert!(text.contains("\\u{1b}[31m") && !text.contains('\u{1b}'), "{text}");
        let observed = json!({ "explanation": explanation(), "observed": { "explanation": explanation() } });
        assert!(decision_text(&observed).contains("observed beside it: refused"));
    }

    #[test]
    fn an_attempt_of_an_older_release_still_shows_what_differs() {
        let difference = json!({ "code": "policy.fact.differs", "fact": "tpm.pcr.7", "expected": "aa", "found": "bb" });
        let old = json!({ "rule": "rack", "differences": [difference] });
        let text = decision_text(&old);
        assert!(text.contains("rule: rack") && text.contains("differs: policy.fact.differs tpm.pcr.7"), "{text}");
        let mut half = old;
        half["explanation"] = json!({ "of": "another time" });
        assert_eq!(decision_text(&half), text);
        assert!(decision_text(&json!({ "errors": ["quote: nonce"] })).contains("quote: nonce"));
        let told =
            json!({ "rule": "rack", "differences": [{ "code": "policy.fact.differs" }], "found_withheld": true });
        let text = decision_text(&told);
        assert!(text.contains("not to viewers") && !text.contains("  found"), "{text}");
    }
}
