//! `policy what-if`: what a policy would decide about the fleet, before it does.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use holdfast_protocol::admin;
use holdfast_protocol::admin::what_if_answer::Answer;
use serde::Serialize;

use super::client::{self, answered, refused};
use super::policies::{Found, documents, findings_text, read};
use super::{Context, Format, Outcome, show};

const EXAMPLES: &str = "\
Examples:
  holdfast-server policy what-if rack.toml                          a file that nobody applied yet
  holdfast-server policy what-if observe --nodes --output csv       the version that is observed, node by node
  holdfast-server policy what-if enforce --floor snp.tcb.reported.snp=24
  holdfast-server policy what-if enforce --replace microsoft-uefi.toml=dbx-2026-11.toml
  holdfast-server policy what-if 7 --selector tpm:manufacturer:id:49465800

The facts of each node's latest appraised evidence are asked; inventory, approvals and the clock are those of now. What
the evidence does not show (PCRs that nobody asked for) is unknown: observe the policy, and the next evidence has it.
That you were shown what was found of machines stands in the record (evidence.read); viewers are shown codes
alone, and ask about versions that are kept.
Exit codes: 0 nobody loses, 1 some do, 2 usage or I/O, 3 nobody is refused but of some it is not known.";

/// What is asked, and how it is printed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct WhatIf {
    /// A policy file; or a version: a digest or its first digits, a number, `enforce` or `observe`
    #[arg(default_value = "observe", value_name = "FILE|VERSION")]
    policy: String,
    /// As if it were promoted for nodes with this selector alone; repeat: all must be there
    #[arg(long, value_name = "SELECTOR")]
    selector: Vec<String>,
    /// fact=value that the policy might demand as well; repeat for each
    #[arg(long, visible_alias = "tcb-floor", value_name = "FACT=VALUE")]
    floor: Vec<String>,
    /// Put FILE in the place of a reference-value file of the policy: a new dbx, say
    #[arg(long, value_name = "NAME=FILE")]
    replace: Vec<String>,
    /// List every node that is not simply admitted still
    #[arg(long)]
    nodes: bool,
}

#[derive(Default, Serialize)]
struct Asked {
    policy: String,
    rollout: u64,
    admitted: u64,
    lost: u64,
    lost_per_mille: u64,
    lost_max_per_mille: u64,
    effects: std::collections::BTreeMap<String, u64>,
    groups: Vec<Group>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nodes: Vec<Node>,
    milliseconds: u64,
    /// What was found of machines is shown to those who may read evidence.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    found_withheld: bool,
}

#[derive(Serialize)]
struct Group {
    effect: String,
    nodes: u64,
    then: Verdict,
    samples: Vec<String>,
}

#[derive(Serialize)]
struct Node {
    node: u64,
    spiffe_id: String,
    effect: String,
    now: Verdict,
    then: Verdict,
    at: i64,
    attempt: String,
}

#[derive(Default, Serialize)]
struct Verdict {
    verdict: String,
    policy: String,
    rule: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    alternative: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    code: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fact: String,
    expected: String,
    found: String,
}

impl From<admin::WhatIfVerdict> for Verdict {
    fn from(verdict: admin::WhatIfVerdict) -> Self {
        let cause = |cause: admin::WhatIfCause| Cause {
            code: cause.code,
            fact: cause.fact,
            expected: cause.expected,
            found: cause.found,
        };
        Self {
            verdict: verdict.verdict,
            policy: verdict.policy,
            rule: verdict.rule,
            alternative: verdict.alternative,
            code: verdict.code,
            causes: verdict.causes.into_iter().map(cause).collect(),
        }
    }
}

/// Runs `policy what-if`.
pub(super) async fn run(asked: WhatIf, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = client::policies(context).await?;
    // No version is called like a file: who mistypes one reads which file is not there.
    let is_path = asked.policy.contains('/') || asked.policy.ends_with(".toml");
    let (version, documents) = if is_path || Path::new(&asked.policy).is_file() {
        (String::new(), documents(Path::new(&asked.policy))?)
    } else if asked.replace.is_empty() {
        (asked.policy, Vec::new())
    } else {
        let kept = answered!(client.get(admin::GetPolicyRequest { name: asked.policy }));
        (String::new(), kept.documents)
    };
    let documents = replaced(documents, &asked.replace)?;
    let request =
        admin::WhatIfRequest { version, documents, floors: asked.floor, selectors: asked.selector, nodes: asked.nodes };
    let mut answers = answered!(client.what_if(request));
    let mut fleet = Asked::default();
    loop {
        let answer = match answers.message().await {
            Ok(Some(admin::WhatIfAnswer { answer: Some(answer) })) => answer,
            Ok(Some(_)) => continue,
            Ok(None) => break,
            Err(status) => return refused(&status),
        };
        match answer {
            Answer::Progress(progress) => tell(&progress),
            Answer::Node(node) => fleet.nodes.push(Node {
                node: node.node,
                spiffe_id: node.spiffe_id,
                effect: node.effect,
                now: node.now.map(Verdict::from).unwrap_or_default(),
                then: node.then.map(Verdict::from).unwrap_or_default(),
                at: node.at,
                attempt: node.attempt,
            }),
            Answer::Group(group) => fleet.groups.push(Group {
                effect: group.effect,
                nodes: group.nodes,
                then: group.then.map(Verdict::from).unwrap_or_default(),
                samples: group.samples,
            }),
            Answer::Summary(sum) => {
                (fleet.policy, fleet.rollout) = (sum.policy, sum.rollout);
                (fleet.admitted, fleet.lost) = (sum.admitted, sum.lost);
                (fleet.lost_per_mille, fleet.lost_max_per_mille) = (sum.lost_per_mille, sum.lost_max_per_mille);
                (fleet.effects, fleet.milliseconds) = (sum.effects.into_iter().collect(), sum.milliseconds);
                fleet.found_withheld = sum.found_withheld;
            }
            Answer::Findings(found) => {
                let findings: Vec<Found> = found.findings.into_iter().map(Found::from).collect();
                context.format.print(&findings, |findings| findings_text(findings) + "not a policy")?;
                return Ok(Outcome::Refused);
            }
        }
    }
    match context.format {
        Format::Csv => print!("{}", csv(&fleet)?),
        format => format.print(&fleet, text)?,
    }
    let of = |effect: &str| fleet.effects.get(effect).copied().unwrap_or_default();
    Ok(match (of("newly-refused") + of("newly-waiting"), of("newly-unknown") + of("no-evidence")) {
        (0, 0) => Outcome::Yes,
        (0, _) => Outcome::Incomplete,
        (_, _) => Outcome::Refused,
    })
}

/// The documents with others in the place of those that are named.
fn replaced(
    mut documents: Vec<admin::PolicyDocument>,
    replace: &[String],
) -> anyhow::Result<Vec<admin::PolicyDocument>> {
    for pair in replace {
        let (name, file) = pair.split_once('=').context("--replace wants NAME=FILE")?;
        let known: Vec<String> = documents.iter().map(|document| document.name.clone()).collect();
        match documents.iter_mut().find(|document| document.name == name) {
            Some(document) => document.text = read(&PathBuf::from(file))?,
            None => bail!("the policy has no file {name:?}; it has {}", known.join(", ")),
        }
    }
    Ok(documents)
}

/// Says at a terminal how far it is.
fn tell(progress: &admin::WhatIfProgress) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let end = if progress.done >= progress.nodes { "\r\x1b[K" } else { "" };
        // A terminal that went away is told nothing.
        let _ = write!(stderr, "\r{} of {} nodes{end}", progress.done, progress.nodes);
        let _ = stderr.flush();
    }
}

fn text(fleet: &Asked) -> String {
    let mut text = String::new();
    for group in &fleet.groups {
        let then = &group.then;
        text.push_str(&format!("{:>7}  {}{}\n", group.nodes, group.effect, by(then)));
        for cause in &then.causes {
            let fact = if cause.fact.is_empty() { String::new() } else { format!(" {}", cause.fact) };
            let (expected, found) = (show::text(&cause.expected), show::text(&cause.found));
            let differs =
                if fleet.found_withheld { String::new() } else { format!(": expected {expected}, found {found}") };
            text.push_str(&format!("           {}{fact}{differs}\n", cause.code));
        }
        if !matches!(group.effect.as_str(), "still-admitted" | "still-refused" | "barred" | "expired") {
            text.push_str(&format!("           such as {}\n", show::text(&group.samples.join(", "))));
        }
    }
    if !fleet.nodes.is_empty() {
        let mut table = show::table(&["node", "effect", "by", "cause", "evidence of"]);
        for node in &fleet.nodes {
            let name = if node.spiffe_id.is_empty() { node.node.to_string() } else { node.spiffe_id.clone() };
            let then = &node.then;
            table.add_row([&name, &node.effect, &way(then), &causes(then), &show::moment(node.at)]);
        }
        text.push_str(&format!("\n{}\n", show::rows(&table, "")));
    }
    if fleet.found_withheld {
        text.push_str("\nwhat was found of the machines is shown to roles that may read evidence, not to viewers\n");
    }
    let share = |per_mille: u64| format!("{}.{} %", per_mille / 10, per_mille % 10);
    text + &format!(
        "\n{} of {} admitted nodes may be lost by {} ({}; more than {} needs --accept-refusals {}), in {} ms",
        fleet.lost,
        fleet.admitted,
        show::text(&fleet.policy),
        share(fleet.lost_per_mille),
        share(fleet.lost_max_per_mille),
        fleet.lost,
        fleet.milliseconds
    )
}

fn by(verdict: &Verdict) -> String {
    let way = way(verdict);
    let code = if verdict.code.is_empty() { String::new() } else { format!(", {}", verdict.code) };
    if way.is_empty() { code } else { format!(" by {way}{code}") }
}

/// Rule and alternative.
fn way(verdict: &Verdict) -> String {
    match (verdict.rule.as_str(), verdict.alternative.as_str()) {
        ("", _) => String::new(),
        (rule, "") => show::text(rule),
        (rule, alternative) => show::text(&format!("{rule}/{alternative}")),
    }
}

fn causes(verdict: &Verdict) -> String {
    let causes = verdict.causes.iter().map(|cause| format!("{} {}", cause.code, cause.fact).trim_end().to_owned());
    causes.collect::<Vec<_>>().join("; ")
}

fn csv(fleet: &Asked) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let cell = super::report_text::cell;
    if fleet.nodes.is_empty() {
        writer.write_record(["effect", "nodes", "policy", "rule", "alternative", "code", "causes", "samples"])?;
        for group in &fleet.groups {
            let Group { effect, nodes, then, samples } = group;
            let (nodes, causes, samples) = (nodes.to_string(), causes(then), samples.join(" "));
            let Verdict { policy, rule, alternative, code, .. } = then;
            writer
                .write_record([effect, &nodes, policy, rule, alternative, code, &causes, &samples].map(|t| cell(t)))?;
        }
    } else {
        writer.write_record(["node", "spiffe_id", "effect", "rule", "alternative", "code", "causes", "evidence_of"])?;
        for node in &fleet.nodes {
            let (number, causes, at) = (node.node.to_string(), causes(&node.then), show::moment(node.at));
            let Verdict { rule, alternative, code, .. } = &node.then;
            let cells = [&number, &node.spiffe_id, &node.effect, rule, alternative, code, &causes, &at];
            writer.write_record(cells.map(|text| cell(text)))?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
