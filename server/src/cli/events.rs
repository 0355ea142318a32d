//! `events`: where events go, how far each sink has come, and what to do where one is stuck.

use clap::{Args, Subcommand, ValueEnum};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::events_client::EventsClient;
use crate::admin_clients::record_client::RecordClient;
use crate::outbox::rfc5424::Speaker;
use crate::outbox::{Event, Source, TypeFilter, cloudevents, json};

const EXAMPLES: &str = "\
Examples:
  holdfast-server events list
  holdfast-server events test soar                  send one event that is in no record
  holdfast-server events replay soar --from 1200    send again from entry 1200 on
  holdfast-server events resume soar                after it was parked
  holdfast-server events forget soar                after it was taken out of the configuration
  holdfast-server events export --from 0 --format cloudevents > events.jsonl

Exit codes: 0 yes, 1 refused or a sink that does not run, 2 usage or I/O.";

/// Events: the record's entries on their way to webhooks, syslog and files
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List the sinks; exit code 1 if one is parked or failing
    #[command(
        after_help = "Examples:\n  holdfast-server events list --output json\n\nExit codes: 0 all run, 1 one is parked or failing, 2 usage or I/O."
    )]
    List,
    /// Show one sink; exit code 1 if it is parked or failing
    #[command(
        after_help = "Examples:\n  holdfast-server events status soar\n\nExit codes: 0 it runs, 1 it is parked or failing, 2 usage or I/O."
    )]
    Status {
        /// Its name
        name: String,
    },
    /// Send one event that is in no record, now
    #[command(
        after_help = "Examples:\n  holdfast-server events test soar\n\nExit codes: 0 it got through, 1 it did not, 2 usage or I/O."
    )]
    Test {
        /// The sink's name
        name: String,
    },
    /// Send again from an entry of the record on
    #[command(
        after_help = "Examples:\n  holdfast-server events replay soar --from 1200\n\nExit codes: 0 done, 1 refused, 2 usage or I/O."
    )]
    Replay {
        /// The sink's name
        name: String,
        /// The entry's index
        #[arg(long, value_name = "INDEX")]
        from: u64,
    },
    /// Leave out the next event that the sink would get; the record says so
    #[command(
        after_help = "Examples:\n  holdfast-server events skip soar\n\nExit codes: 0 done, 1 refused, 2 usage or I/O."
    )]
    Skip {
        /// The sink's name
        name: String,
    },
    /// Send again to a sink that is parked
    #[command(
        after_help = "Examples:\n  holdfast-server events resume soar\n\nExit codes: 0 done, 1 refused, 2 usage or I/O."
    )]
    Resume {
        /// The sink's name
        name: String,
    },
    /// Forget how far a sink has come that is configured no more; one of that name begins anew
    #[command(
        after_help = "Examples:\n  holdfast-server events forget soar\n  holdfast-server events forget soar --yes    without being asked\n\nExit codes: 0 done, 1 refused, 2 usage or I/O."
    )]
    Forget {
        /// The sink's name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the record's entries as events, one a line
    #[command(
        after_help = "Examples:\n  holdfast-server events export --from 0 --format cloudevents > events.jsonl\n\nExit codes: 0 printed, 1 refused, 2 usage or I/O."
    )]
    Export(Export),
}

/// Which entries, and how.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// First entry
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// Last entry; the record's last if absent
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// Only this type, or types that begin so (`dev.holdfast.attempt.*`); may be given again
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// How each event is written
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The data of the event alone
    Json,
    /// CloudEvents 1.0, structured
    #[default]
    Cloudevents,
    /// RFC 5424
    Syslog,
}

/// The state of a sink that the configuration names no more.
const NOT_CONFIGURED: &str = "not configured";

#[derive(Serialize)]
struct Sink {
    name: String,
    kind: String,
    place: String,
    state: &'static str,
    next: u64,
    lag: u64,
    parked: String,
    failures: u64,
    last_error: String,
    last_failure: i64,
    last_success: i64,
    skipped: u64,
}

impl From<admin::Sink> for Sink {
    fn from(sink: admin::Sink) -> Self {
        let state = match (sink.parked.is_empty(), sink.failures) {
            _ if sink.kind.is_empty() => NOT_CONFIGURED,
            (false, _) => "parked",
            (true, 0) => "running",
            (true, _) => "failing",
        };
        Self {
            name: sink.name,
            kind: sink.kind,
            place: sink.place,
            state,
            next: sink.next,
            lag: sink.lag,
            parked: sink.parked,
            failures: sink.failures,
            last_error: sink.last_error,
            last_failure: sink.last_failure,
            last_success: sink.last_success,
            skipped: sink.skipped,
        }
    }
}

#[derive(Serialize)]
struct Listed {
    sinks: Vec<Sink>,
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    use admin::act_on_sink_request::Act;
    let mut client = EventsClient::new(connect(context).await?);
    let (name, act) = match command {
        Command::List => {
            let sinks = answered!(client.list(admin::ListSinksRequest {})).sinks;
            let listed = Listed { sinks: sinks.into_iter().map(Sink::from).collect() };
            context.format.print(&listed, list_text)?;
            return Ok(well(&listed.sinks));
        }
        Command::Status { name } => {
            let sinks = answered!(client.list(admin::ListSinksRequest {})).sinks;
            let Some(sink) = sinks.into_iter().find(|sink| sink.name == name).map(Sink::from) else {
                eprintln!("holdfast-server: no sink of that name is configured (events.sink_unknown)");
                return Ok(Outcome::Refused);
            };
            context.format.print(&sink, sink_text)?;
            return Ok(well(&[sink]));
        }
        Command::Export(wanted) => return export(&wanted, client, context).await,
        Command::Test { name } => (name, Act::Test(admin::TestSink {})),
        Command::Replay { name, from } => (name, Act::Replay(admin::ReplaySink { from })),
        Command::Skip { name } => (name, Act::Skip(admin::SkipEntry {})),
        Command::Resume { name } => (name, Act::Resume(admin::ResumeSink {})),
        Command::Forget { name, yes } => {
            if !yes && !is_confirmed(&name)? {
                eprintln!("holdfast-server: nothing was forgotten");
                return Ok(Outcome::Refused);
            }
            (name, Act::Forget(admin::ForgetSink {}))
        }
    };
    let sink = answered!(client.act(admin::ActOnSinkRequest { name, act: Some(act) }));
    context.format.print(&Sink::from(sink), sink_text)?;
    Ok(Outcome::Yes)
}

/// Asks on the terminal; without one somebody must have said so already.
fn is_confirmed(name: &str) -> anyhow::Result<bool> {
    use std::io::{BufRead as _, IsTerminal as _};
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        anyhow::bail!("what waits for sink {name} would never be sent: say so with --yes");
    }
    eprint!("What waits for sink {name} will never be sent to it. Its name again, to forget it: ");
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim() == name)
}

fn well(sinks: &[Sink]) -> Outcome {
    if sinks.iter().all(|sink| matches!(sink.state, "running" | NOT_CONFIGURED)) {
        Outcome::Yes
    } else {
        Outcome::Refused
    }
}

fn list_text(listed: &Listed) -> String {
    let mut table = show::table(&["name", "kind", "state", "lag", "next", "last success", "to"]);
    for sink in &listed.sinks {
        let (lag, next) = (sink.lag.to_string(), sink.next.to_string());
        let success = show::moment(sink.last_success);
        table.add_row([&sink.name, &sink.kind, sink.state, &lag, &next, &success, &show::text(&sink.place)]);
    }
    show::rows(&table, "no sinks: events go nowhere, see docs/events.md")
}

fn sink_text(sink: &Sink) -> String {
    show::fields(&[
        ("Sink", sink.name.clone()),
        ("Kind", sink.kind.clone()),
        ("To", show::text(&sink.place)),
        ("State", sink.state.to_owned()),
        ("Parked", show::text(&sink.parked)),
        ("Next entry", sink.next.to_string()),
        ("Lag", format!("{} entries", sink.lag)),
        ("Failures in a row", sink.failures.to_string()),
        ("Last error", show::text(&sink.last_error)),
        ("Last failure", show::moment(sink.last_failure)),
        ("Last success", show::moment(sink.last_success)),
        ("Left out", sink.skipped.to_string()),
    ])
}

async fn export(
    wanted: &Export,
    mut client: EventsClient<tonic::transport::Channel>,
    context: &Context,
) -> anyhow::Result<Outcome> {
    use std::io::Write as _;
    let types = TypeFilter::read(wanted.types.clone()).map_err(anyhow::Error::msg)?;
    let whose = answered!(client.list(admin::ListSinksRequest {}));
    let source = Source { trust_domain: whose.trust_domain.parse()?, epoch: whose.epoch.as_slice().try_into()? };
    let speaker = Speaker::of_this_host(crate::outbox::settings::EXAMPLE_ENTERPRISE);
    let mut record = RecordClient::new(connect(context).await?);
    let mut stream = answered!(record.entries(admin::RecordEntriesRequest { from: wanted.from, limit: 0 }));
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let batch = match stream.message().await {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(status) => return super::client::refused(&status),
        };
        for entry in batch.entries {
            if wanted.to.is_some_and(|to| entry.index > to) {
                out.flush()?;
                return Ok(Outcome::Yes);
            }
            let event = Event::of(entry.index, &entry.leaf);
            if types.admits(&event) {
                let line = match wanted.format {
                    Form::Json => json::ascii(&event.data.to_string()),
                    Form::Cloudevents => cloudevents::one(&event, &source),
                    Form::Syslog => speaker.message(&event, &source),
                };
                writeln!(out, "{line}")?;
            }
        }
    }
    out.flush()?;
    Ok(Outcome::Yes)
}
