//! `holdfast-agent api`: asks a running agent over the Workload API, as a workload would.

pub(super) mod address;
pub(super) mod client;
mod files;
pub(super) mod identity;
mod print;
mod tokens;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};
use tonic::{Code, Status};

use super::Outcome;
use address::Address;
use identity::Identities;

/// The first pause before a watch connects again; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest one.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What to ask, and where.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch this process's identities once
    #[command(subcommand)]
    Fetch(Profile),
    /// Check an identity that somebody else showed
    #[command(subcommand)]
    Validate(Check),
    /// Print this process's X.509-SVIDs, and again at every change, until none is left
    #[command(after_help = "Example:\n  holdfast-agent api watch --output json | jq -r '.svids[0].not_after'\n\n\
        Ends with exit code 1 when the agent says that this process has no identity (any more).")]
    Watch(Place),
}

#[derive(Debug, Subcommand)]
enum Profile {
    /// Fetch X.509-SVIDs
    #[command(after_help = "Examples:\n  holdfast-agent api fetch x509\n  \
        holdfast-agent api fetch x509 --write /run/my-service\n  \
        SPIFFE_ENDPOINT_SOCKET=unix:///tmp/api.sock holdfast-agent api fetch x509 --output json\n\n\
        Exit codes: 0 fetched, 1 no identity issued, 2 usage or I/O.")]
    X509 {
        #[command(flatten)]
        place: Place,
        /// Write svid.N.pem, svid.N.key (0600) and bundle.N.pem into this folder
        #[arg(long, value_name = "DIR")]
        write: Option<PathBuf>,
        /// Seconds to wait for an answer
        #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
    /// Fetch JWT-SVIDs
    #[command(after_help = "Examples:\n  holdfast-agent api fetch jwt --audience https://db.example.org\n  \
        holdfast-agent api fetch jwt --audience a,b --spiffe-id spiffe://example.org/web --output json\n\n\
        Exit codes: 0 fetched, 1 no identity issued, 2 usage or I/O.")]
    Jwt {
        #[command(flatten)]
        place: Place,
        /// Whom the token is for; several with commas between them
        #[arg(long, required = true, value_name = "AUDIENCE", value_delimiter = ',')]
        audience: Vec<String>,
        /// The one identity that is wanted; all of them if absent
        #[arg(long, default_value = "", hide_default_value = true, value_name = "SPIFFE-ID")]
        spiffe_id: String,
        /// Seconds to wait for an answer
        #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Validate a JWT-SVID
    #[command(
        after_help = "Example:\n  holdfast-agent api validate jwt --audience https://db.example.org --svid \"$TOKEN\"\n\n\
        Exit codes: 0 valid, 1 not valid or no identity issued, 2 usage or I/O."
    )]
    Jwt {
        #[command(flatten)]
        place: Place,
        /// The audience that it must be for
        #[arg(long, value_name = "AUDIENCE")]
        audience: String,
        /// The token
        #[arg(long, value_name = "TOKEN")]
        svid: String,
        /// Seconds to wait for an answer
        #[arg(long, default_value_t = 5, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
        timeout: u64,
    },
}

/// Where to ask, and how to answer.
#[derive(Debug, clap::Args)]
struct Place {
    /// The agent's socket; else SPIFFE_ENDPOINT_SOCKET, else /run/holdfast/agent/api.sock
    #[arg(long, value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Asks, and prints the answer.
///
/// # Errors
/// Where the agent cannot be reached, or answers what is no answer.
pub fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.command {
            Command::Fetch(Profile::X509 { place, write, timeout }) => within(timeout, fetch(&place, write)).await,
            Command::Fetch(Profile::Jwt { place, audience, spiffe_id, timeout }) => {
                within(timeout, tokens::fetch(&place, audience, spiffe_id)).await
            }
            Command::Validate(Check::Jwt { place, audience, svid, timeout }) => {
                within(timeout, tokens::validate(&place, audience, svid)).await
            }
            Command::Watch(place) => watch(&place).await,
        }
    })
}

async fn within(seconds: u64, asked: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    let answer = tokio::time::timeout(Duration::from_secs(seconds), asked).await;
    answer.map_err(|_| anyhow!("no answer within {seconds} s"))?
}

impl Place {
    fn address(&self) -> anyhow::Result<Address> {
        let variable = match std::env::var(address::VARIABLE) {
            Ok(text) => Some(text),
            Err(std::env::VarError::NotPresent) => None,
            Err(error) => return Err(error).context(address::VARIABLE),
        };
        Address::choose(self.socket_path.as_deref(), variable.as_deref())
            .map_err(|error| anyhow!("{error} [{}]", error.code()))
    }

    fn print(&self, identities: &Identities, after: Duration) -> anyhow::Result<()> {
        match self.output {
            Format::Text => print!("{}", print::text(identities, after)?),
            Format::Json => println!("{}", print::json(identities)?),
        }
        Ok(())
    }
}

async fn fetch(place: &Place, write: Option<PathBuf>) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let mut client = client::connect(&place.address()?).await?;
    let answer = async {
        let mut stream = client::x509_svids(&mut client).await?;
        stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))
    };
    let identities = match answer.await {
        Ok(answer) => Identities::try_from(answer)?,
        Err(status) => return refused(&status),
    };
    place.print(&identities, begun.elapsed())?;
    if let Some(folder) = write {
        for path in files::write(&identities, &folder)? {
            eprintln!("Wrote {}", path.display());
        }
    }
    Ok(Outcome::Yes)
}

async fn watch(place: &Place) -> anyhow::Result<Outcome> {
    let address = place.address()?;
    let mut pause = PAUSE_MIN;
    loop {
        let begun = Instant::now();
        let ended = async {
            let mut client =
                client::connect(&address).await.map_err(|error| Status::unavailable(format!("{error:#}")))?;
            let mut stream = client::x509_svids(&mut client).await?;
            while let Some(answer) = stream.message().await? {
                pause = PAUSE_MIN;
                let printed = Identities::try_from(answer).and_then(|it| place.print(&it, begun.elapsed()));
                printed.map_err(|error| Status::data_loss(format!("{error:#}")))?;
            }
            Err(Status::unavailable("the stream ended"))
        };
        let Err::<(), _>(status) = ended.await else { continue };
        match status.code() {
            // The agent starts, stops or is elsewhere: it will be back.
            Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
                eprintln!("{:?}: {}; again in {pause:?}", status.code(), status.message().escape_debug());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            _ => return refused(&status),
        }
    }
}

/// Exit code 1 for "no identity", an error for everything else.
fn refused(status: &Status) -> anyhow::Result<Outcome> {
    let text = format!("{:?}: {}", status.code(), status.message().escape_debug());
    if status.code() == Code::PermissionDenied {
        eprintln!("{text}");
        return Ok(Outcome::Refused);
    }
    Err(anyhow!(text))
}
