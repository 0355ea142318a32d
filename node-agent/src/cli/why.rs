//! `holdfast-agent why`.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;

use super::{Configuration, Outcome, Output};
use crate::config::Machine;
use crate::why::{Answer, Candidate, Report, SOCKET};

/// How long the agent may take to answer; its attestors take up to ten seconds.
const ANSWER: Duration = Duration::from_secs(20);
/// Bytes of the largest answer: five attestors with 4,096 selectors each.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

const EXAMPLES: &str = "\
Examples:
  holdfast-agent why 4711
  holdfast-agent why $(pidof nginx) --config /etc/holdfast/agent.toml --output json

Runs as root or as the agent's user, on the agent's machine.

Exit code: 0 the process has an identity, 1 it has none, 2 no agent answers or there is no such process, 3 an attestor
failed or the agent is not ready, so that nobody can say.";

/// Which process.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The process, by its number outside of any container
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pid: i32,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    configuration: Configuration,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = arguments.configuration;
    let machine = Machine::load(config.as_deref(), &overrides)?;
    let path = machine.data_dir.join(SOCKET);
    let mut stream = UnixStream::connect(&path).with_context(|| format!("no agent answers at {}", path.display()))?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "{}", arguments.pid)?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text).context("agent did not answer")?;
    let report = match serde_json::from_str(&text).context("agent's answer cannot be read")? {
        Answer::Report(report) => report,
        Answer::Problem(problem) => anyhow::bail!("{} ({})", problem.message.escape_debug(), problem.code),
    };
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print!("{}", describe(&report)),
    }
    Ok(outcome(&report))
}

fn outcome(report: &Report) -> Outcome {
    if !report.ready || report.attestors.iter().any(|attested| attested.problem.is_some()) {
        Outcome::Incomplete
    } else if report.matches.iter().any(|entry| entry.svid) {
        Outcome::Yes
    } else {
        Outcome::Refused
    }
}

fn describe(report: &Report) -> String {
    let mut lines = Vec::new();
    for attested in &report.attestors {
        match &attested.problem {
            Some(problem) => lines.push(format!("{}: {} ({})", attested.kind, safe(&problem.message), problem.code)),
            None if attested.selectors.is_empty() => lines.push(format!("{}: nothing", attested.kind)),
            None => lines.push(format!("{}:", attested.kind)),
        }
        lines.extend(attested.selectors.iter().map(|selector| format!("  {}", safe(selector))));
    }
    if !report.ready {
        lines.push("the node is not admitted, or its entries have not come yet: nobody gets an identity".to_owned());
    }
    let count = |number: usize| if number == 1 { "entry".to_owned() } else { "entries".to_owned() };
    lines.push(format!(
        "matches {} of the {} {} of this node",
        report.matches.len(),
        report.entries,
        count(report.entries)
    ));
    for entry in &report.matches {
        let svid = if entry.svid { "" } else { " (no SVID: the server has not signed it)" };
        lines.push(format!("  {}{svid}", named(entry)));
    }
    if !report.nearest.is_empty() {
        lines.push("nearest of the others:".to_owned());
    }
    for entry in &report.nearest {
        lines.push(format!("  {}", named(entry)));
        for lack in &entry.lacking {
            let instead = lack.instead.iter().map(|selector| safe(selector)).collect::<Vec<_>>().join(", ");
            let instead = if instead.is_empty() { String::new() } else { format!(", has {instead}") };
            lines.push(format!("    lacks {}{instead}", safe(&lack.selector)));
        }
    }
    lines.join("\n") + "\n"
}

fn named(entry: &Candidate) -> String {
    format!("{} (entry {})", safe(&entry.spiffe_id), safe(&entry.entry))
}

/// Labels are written by others.
fn safe(text: &str) -> String {
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::{Attested, Lack, Problem};

    fn report() -> Report {
        let candidate =
            |svid, lacking| Candidate { entry: "e1".to_owned(), spiffe_id: "spiffe://td/a".to_owned(), svid, lacking };
        let lack = Lack { selector: "unix:uid:1".to_owned(), instead: vec!["unix:uid:2".to_owned()] };
        Report {
            pid: 7,
            attestors: vec![Attested {
                kind: "unix".to_owned(),
                selectors: vec!["unix:uid:2".to_owned()],
                problem: None,
            }],
            ready: true,
            entries: 2,
            matches: vec![candidate(true, Vec::new())],
            nearest: vec![candidate(false, vec![lack])],
        }
    }

    #[test]
    fn what_is_lacking_stands_beside_what_is_there() {
        let text = describe(&report());
        assert!(text.contains("matches 1 of the 2 entries of this node"), "{text}");
        assert!(text.contains("lacks unix:uid:1, has unix:uid:2"), "{text}");
    }

    #[test]
    fn the_exit_code_says_whether_the_process_has_an_identity() {
        assert_eq!(outcome(&report()), Outcome::Yes);
        let mut unsigned = report();
        unsigned.matches[0].svid = false;
        assert_eq!(outcome(&unsigned), Outcome::Refused);
        assert_eq!(outcome(&Report { matches: Vec::new(), ..report() }), Outcome::Refused);
        assert_eq!(outcome(&Report { ready: false, ..report() }), Outcome::Incomplete);
        let mut faulty = report();
        faulty.attestors[0].problem = Some(Problem { code: "attest.timed_out".to_owned(), message: String::new() });
        assert_eq!(outcome(&faulty), Outcome::Incomplete);
    }
}
