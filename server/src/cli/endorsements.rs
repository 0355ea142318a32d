//! `endorsements`: what hardware vendors say, imported, exported, refreshed and listed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::endorsement_list::Listed;
use super::{Context, Outcome, endorsement_files, show};
use crate::admin_clients::endorsements_client::EndorsementsClient;
use crate::clock;

const EXAMPLES: &str = "\
Examples:
  holdfast-server endorsements import amd/ intel-sgx-root.der aws-nitro-root.pem     known by their fingerprints
  holdfast-server endorsements import --class discrete infineon/                     roots of TPM vendors
  holdfast-server endorsements import --class discrete --for platform,device oem/    machine makers: no EK is theirs
  holdfast-server endorsements import --class simulated --for snp,azure sim/         needs allow_simulated = true
  holdfast-server endorsements list
  holdfast-server endorsements wanted                          what machines needed and nobody had
  holdfast-server endorsements refresh                         ask AMD and Intel now
  holdfast-server endorsements export --bundle site.jsonl      for a site without a network, and there:
  holdfast-server endorsements import --bundle site.jsonl

Self-signed certificates become roots, others help to build chains (--pin makes roots of them too). The class says how
far the hardware below a root can be copied: discrete, firmware, vtpm, cloud or simulated.";

/// What hardware vendors say: roots, intermediates, CRLs, keys of chips, collateral of platforms
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Import certificates and CRLs (PEM or DER) and collateral (JSON): all of them or none
    Import(Import),
    /// Write everything into one bundle for a site without a network
    Export {
        /// The file to write
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
    },
    /// List what is held, with its age and its end
    List,
    /// List what machines needed within the last day and nobody had, with the address to fetch it from
    Wanted {
        /// Strangers' machines too: what they name may be invented
        #[arg(long)]
        all: bool,
    },
    /// Ask the vendors' services now; exit code 1 if something could not be had
    Refresh {
        /// What, in the words of `wanted`; everything that is held, or wanted by machines of ours, if absent
        #[arg(value_name = "ABOUT")]
        about: Vec<String>,
        /// File with such words at the beginning of its lines: the output of `wanted`, from another site perhaps
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,
    },
    /// Stop trusting one; machines below it must attest anew
    Withdraw {
        /// SHA-256 of its DER
        #[arg(value_name = "SHA256")]
        sha256: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// How far roots are trusted that the server does not know: discrete, firmware, vtpm, cloud or simulated
    #[arg(long, value_parser = ["discrete", "firmware", "vtpm", "cloud", "simulated"])]
    class: Option<String>,
    /// What they serve, with commas between, where the server cannot tell: kinds of evidence, platform (platform
    /// certificates) or device (IAK and IDevID certificates); tpm if absent
    #[arg(long = "for", value_name = "KIND", value_delimiter = ',',
          value_parser = ["tpm", "snp", "tdx", "nitro", "nitrotpm", "azure", "gcp", "platform", "device"])]
    serves: Vec<String>,
    /// Make anchors of intermediates too
    #[arg(long)]
    pin: bool,
    /// A bundle that `export` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["paths", "class", "serves", "pin"])]
    bundle: Option<PathBuf>,
    /// Trust roots on the bundle's word that the server neither knows nor holds
    #[arg(long, requires = "bundle")]
    accept_roots: bool,
    /// Files, or directories of .pem, .crt, .cer, .der, .crl and .json files
    #[arg(required_unless_present = "bundle", value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Bytes of one part of a bundle.
const PART_BYTES: usize = 1 << 20;
/// Endorsements that are asked for at once.
const PAGE: u32 = 1000;

/// Runs `endorsements`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Import(Import { bundle: Some(bundle), accept_roots, .. }) => {
            import_bundle(&bundle, accept_roots, context).await
        }
        Command::Import(import) => import_files(import, context).await,
        Command::Export { bundle } => export(&bundle, context).await,
        Command::List => list(context).await,
        Command::Wanted { all } => wanted(all, context).await,
        Command::Refresh { about, list } => refresh(about, list.as_deref(), context).await,
        Command::Withdraw { sha256 } => {
            let digest = show::digest(&sha256).map_err(anyhow::Error::msg)?;
            let mut client = EndorsementsClient::new(connect(context).await?);
            answered!(client.withdraw(admin::WithdrawEndorsementRequest { sha256: digest }));
            context.format.print(&serde_json::json!({ "withdrawn": sha256 }), |_| format!("withdrawn {sha256}"))?;
            Ok(Outcome::Yes)
        }
    }
}

async fn import_files(import: Import, context: &Context) -> anyhow::Result<Outcome> {
    let mut files = Vec::new();
    for path in &import.paths {
        endorsement_files::read(path, &mut files)?;
    }
    let mut client = EndorsementsClient::new(connect(context).await?);
    let request = admin::ImportEndorsementsRequest {
        files,
        class: import.class.unwrap_or_default(),
        pin: import.pin,
        serves: import.serves,
    };
    imported(answered!(client.import(request)), context)
}

async fn import_bundle(bundle: &Path, accept_roots: bool, context: &Context) -> anyhow::Result<Outcome> {
    let bytes = std::fs::read(bundle).with_context(|| bundle.display().to_string())?;
    let parts: Vec<_> = bytes
        .chunks(PART_BYTES)
        .map(|part| admin::ImportBundleRequest { bytes: part.to_vec(), accept_roots })
        .collect();
    let mut client = EndorsementsClient::new(connect(context).await?);
    imported(answered!(client.import_bundle(tokio_stream::iter(parts))), context)
}

fn imported(answer: admin::ImportEndorsementsResponse, context: &Context) -> anyhow::Result<Outcome> {
    let listed = Listed::new(answer.endorsements, Some(answer.new), clock::now().seconds());
    context.format.print(&listed, Listed::text)?;
    Ok(Outcome::Yes)
}

async fn export(bundle: &Path, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = EndorsementsClient::new(connect(context).await?);
    let mut parts = answered!(client.export(admin::ExportEndorsementsRequest {}));
    // Under another name until it is whole.
    let mut name = bundle.as_os_str().to_owned();
    name.push(".new");
    let unfinished = PathBuf::from(name);
    let mut file = std::fs::File::create(&unfinished).with_context(|| unfinished.display().to_string())?;
    let mut bytes = 0;
    loop {
        match parts.message().await {
            Ok(Some(part)) => {
                bytes += part.bytes.len();
                file.write_all(&part.bytes)?;
            }
            Ok(None) => break,
            Err(status) => {
                let _ = std::fs::remove_file(&unfinished);
                return super::client::refused(&status);
            }
        }
    }
    file.sync_all()?;
    std::fs::rename(&unfinished, bundle)?;
    let written = serde_json::json!({ "bundle": bundle, "bytes": bytes });
    context.format.print(&written, |_| format!("{}: {bytes} bytes", bundle.display()))?;
    Ok(Outcome::Yes)
}

async fn list(context: &Context) -> anyhow::Result<Outcome> {
    let mut client = EndorsementsClient::new(connect(context).await?);
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = answered!(client.list(admin::ListEndorsementsRequest { after, limit: PAGE })).endorsements;
        let Some(last) = page.last() else { break };
        after = last.number;
        all.extend(page);
    }
    let listed = Listed::new(all, None, clock::now().seconds());
    context.format.print(&listed, Listed::text)?;
    Ok(Outcome::Yes)
}

#[derive(Serialize)]
struct AllWanted {
    wanted: Vec<Wanted>,
}

#[derive(Serialize)]
struct Wanted {
    about: String,
    serves: String,
    url: String,
    code: String,
    first_at: i64,
    last_at: i64,
    times: u64,
    ours: bool,
}

async fn wanted(strangers_too: bool, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = EndorsementsClient::new(connect(context).await?);
    let wanted = answered!(client.list_wanted(admin::ListWantedRequest {})).wanted.into_iter();
    let wanted = wanted.filter(|one| one.ours || strangers_too).map(|one| Wanted {
        about: one.about,
        serves: one.serves,
        url: one.url,
        code: one.code,
        first_at: one.first_at,
        last_at: one.last_at,
        times: one.times,
        ours: one.ours,
    });
    context.format.print(&AllWanted { wanted: wanted.collect() }, |all| {
        let mut table = show::table(&["about", "for", "why", "times", "last", "url"]);
        for one in &all.wanted {
            let whose = if one.ours { "ours" } else { "a stranger" };
            let (times, last) = (one.times.to_string(), show::moment(one.last_at));
            table.add_row([one.about.as_str(), whose, &one.code, &times, &last, &one.url]);
        }
        show::rows(&table, "nothing is wanted that is not here")
    })?;
    Ok(Outcome::Yes)
}

#[derive(Serialize)]
struct AllRefreshed {
    refreshed: Vec<Refreshed>,
}

#[derive(Serialize)]
struct Refreshed {
    about: String,
    serves: String,
    outcome: String,
    code: String,
    detail: String,
}

async fn refresh(mut about: Vec<String>, list: Option<&Path>, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(list) = list {
        let text = std::fs::read_to_string(list).with_context(|| list.display().to_string())?;
        let words = text.lines().filter_map(|line| line.split_whitespace().next());
        about.extend(words.filter(|word| word.contains('/')).map(str::to_owned));
        if about.is_empty() {
            anyhow::bail!("{}: no line begins with something to fetch", list.display());
        }
    }
    let mut client = EndorsementsClient::new(connect(context).await?);
    let mut answers = answered!(client.refresh(admin::RefreshEndorsementsRequest { about }));
    let mut refreshed = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(one)) => {
                // AMD gives one in ten seconds: whoever waits sees that it goes on.
                eprintln!("{} {}", one.outcome, one.about);
                refreshed.push(Refreshed {
                    about: one.about,
                    serves: one.serves,
                    outcome: one.outcome,
                    code: one.code,
                    detail: one.detail,
                });
            }
            Ok(None) => break,
            Err(status) => return super::client::refused(&status),
        }
    }
    let all = refreshed.iter().all(|one| one.outcome == "fetched");
    context.format.print(&AllRefreshed { refreshed }, |all| {
        let mut table = show::table(&["about", "outcome", "code", "detail"]);
        for one in &all.refreshed {
            table.add_row([&one.about, &one.outcome, &one.code, &show::text(&one.detail)]);
        }
        show::rows(&table, "nothing is held or wanted that a service could be asked for")
    })?;
    Ok(if all { Outcome::Yes } else { Outcome::Refused })
}
