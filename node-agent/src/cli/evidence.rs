//! `holdfast-agent evidence collect`: this machine's evidence as files, in the forms that `holdfast-policy inspect`
//! reads. Talks to no server.

mod parts;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSelection, PcrSet};
use serde::Serialize;

use super::{Configuration, Outcome, Output};
use crate::collect::detect::detect;
use crate::collect::sources::{Sources, Wanted};
use crate::collect::{Assembly, FirmwareLogFile, Signed};
use crate::config::Machine;
use crate::program;
use crate::state::StateDir;
use crate::tpm::{Patience, Tpm};

const EXAMPLES: &str = "\
Examples:
  holdfast-agent evidence collect --to evidence/
  holdfast-agent evidence collect --to evidence/ --nonce 6f1c… --pcrs sha256:0-7,14 --output json
  holdfast-policy inspect tpm --ak-public evidence/ak.pub --attest evidence/quote.attest \\
      --signature evidence/quote.sig --event-log evidence/firmware.log --nonce \"$(cat evidence/nonce.hex)\" \\
      --ek-certificate evidence/ek-01c0000a.der --ek-public evidence/ek-01c0000a.pub --roots vendor-roots/

  holdfast-agent evidence collect --to evidence/ --evidence snp --nonce 6f1c…
  holdfast-policy inspect snp --report evidence/snp.report --vek vcek.der --binding 6f1c… --at now

Without --evidence it gathers what `holdfast-agent detect` lists. --nonce is what the hardware signs: extraData of a
quote, the first half of report data, user_data and nonce of a Nitro document.

Exit code: 0 everything was gathered, 2 a device or a file refuses, 3 the machine has no endorsement certificate, no
certificate table or no firmware log.";

/// What to gather.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Have the hardware sign a nonce, and write everything with keys, certificates and logs to a directory
    #[command(after_help = EXAMPLES)]
    Collect(Collect),
}

#[derive(Debug, clap::Args)]
struct Collect {
    /// The directory; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// 32 bytes that the evidence is bound to, in hexadecimal; random if not given
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// Bank and PCRs to quote
    #[arg(long, value_name = "BANK:PCRS", default_value = "sha256:0-7")]
    pcrs: String,
    /// How the list of files is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    configuration: Configuration,
}

/// The files, as `--output json` lists them.
#[derive(Debug, Default, Serialize)]
struct Gathered {
    files: Vec<PathBuf>,
    missing: Vec<&'static str>,
}

impl Gathered {
    fn write(&mut self, directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = directory.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        self.files.push(path);
        Ok(())
    }
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Command::Collect(collect) = arguments.command;
    let nonce = nonce(collect.nonce.as_deref())?;
    let (bank, pcrs) = selection(&collect.pcrs)?;
    let Configuration { config, overrides } = &collect.configuration;
    let machine = Machine::load(config.as_deref(), overrides)?;
    let state = StateDir::open(&machine.data_dir)?;
    let kinds = match &machine.sources.wanted {
        Wanted::These(kinds) => kinds.clone(),
        Wanted::Auto => detect(&machine.sources, &machine.tpm).chosen(&Wanted::Auto)?,
    };
    // Without a resource manager two users of the chip would take each other's places.
    let alone = kinds.contains(&EvidenceKind::Tpm) && !machine.tpm.interface.has_resource_manager();
    let _lock = if alone { Some(program::lock(&state)?) } else { None };
    let tpm = Tpm::start(machine.tpm.clone(), state.clone(), Patience::default(), |stall| {
        eprintln!("holdfast-agent: {stall}");
        std::process::exit(2);
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let gathered = runtime.block_on(async {
        let gathered = gather(&tpm, &machine, state, &kinds, &collect.to, nonce, PcrSelection { bank, pcrs }).await;
        tpm.close().await;
        gathered
    })?;
    match collect.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&gathered)?),
        Output::Text => {
            for file in &gathered.files {
                println!("{}", file.display());
            }
            for missing in &gathered.missing {
                eprintln!("holdfast-agent: this machine has no {missing}");
            }
        }
    }
    Ok(if gathered.missing.is_empty() { Outcome::Yes } else { Outcome::Incomplete })
}

async fn gather(
    tpm: &Tpm,
    machine: &Machine,
    state: StateDir,
    kinds: &[EvidenceKind],
    to: &Path,
    nonce: [u8; 32],
    selection: PcrSelection,
) -> anyhow::Result<Gathered> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    let mut gathered = Gathered::default();
    gathered.write(to, "nonce.hex", hex::encode(nonce).as_bytes())?;
    let assembly = Assembly::new(
        Sources { wanted: Wanted::These(kinds.to_vec()), ..machine.sources.clone() },
        machine.tpm.clone(),
        tpm.clone(),
        FirmwareLogFile(machine.firmware_log.clone()),
        // Part of no binding here: what is signed is given.
        "unbound".parse().map_err(|error| anyhow::anyhow!("{error}"))?,
        state,
    );
    for &kind in kinds {
        if kind == EvidenceKind::Tpm {
            gather_tpm(&mut gathered, tpm, machine, to, nonce, selection).await?;
            continue;
        }
        let ask = if kind.quotes_pcrs() { selection.encode() } else { Vec::new() };
        let gatherer = assembly.gatherer().await?;
        let item = gatherer.alone(kind, &ask, Signed { binding: nonce, nonce }).await?;
        parts::write(&mut gathered, to, kind, &item)?;
    }
    Ok(gathered)
}

async fn gather_tpm(
    gathered: &mut Gathered,
    tpm: &Tpm,
    machine: &Machine,
    to: &Path,
    nonce: [u8; 32],
    selection: PcrSelection,
) -> anyhow::Result<()> {
    let identity = tpm.identity().await?;
    gathered.write(to, "ak.pub", &identity.ak_public)?;
    gathered.write(to, "node-key.pub", &identity.node_key_public)?;

    let (keys, chain) = tpm.endorsement().await?;
    if keys.is_empty() {
        gathered.missing.push("endorsement certificate");
    }
    for key in &keys {
        gathered.write(to, &format!("ek-{:08x}.der", key.index), &key.certificate)?;
        gathered.write(to, &format!("ek-{:08x}.pub", key.index), &key.public)?;
    }
    for (number, certificate) in chain.iter().enumerate() {
        gathered.write(to, &format!("ek-chain-{number}.der"), certificate)?;
    }

    // Before the quote, as the agent does.
    match std::fs::read(&machine.firmware_log) {
        Ok(log) if !log.is_empty() => gathered.write(to, "firmware.log", &log)?,
        Ok(_) => gathered.missing.push("firmware log"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => gathered.missing.push("firmware log"),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", machine.firmware_log.display())),
    }
    let pcrs = selection.pcrs.iter().map(PcrIndex::get).collect();
    let quote = tpm.quote(nonce, selection.bank.id(), pcrs).await?;
    gathered.write(to, "quote.attest", &quote.attest)?;
    gathered.write(to, "quote.sig", &quote.signature)?;
    let certified = tpm.certify_node_key(nonce).await?;
    gathered.write(to, "certify.attest", &certified.attest)?;
    gathered.write(to, "certify.sig", &certified.signature)?;
    Ok(())
}

fn nonce(given: Option<&str>) -> anyhow::Result<[u8; 32]> {
    let Some(given) = given else {
        let mut nonce = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut nonce)
            .map_err(|_| anyhow::anyhow!("system has no random numbers"))?;
        return Ok(nonce);
    };
    let bytes = hex::decode(given).context("--nonce is not hexadecimal")?;
    <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| anyhow::anyhow!("--nonce is {} bytes, expected 32", bytes.len()))
}

/// `sha256:0-7,14`.
fn selection(text: &str) -> anyhow::Result<(Bank, PcrSet)> {
    let form = || format!("--pcrs {text:?}: expected a bank (sha256, sha384, sha512) and PCRs, such as sha256:0-7,14");
    let (bank, list) = text.split_once(':').with_context(form)?;
    let bank = match bank {
        "sha256" => Bank::Sha256,
        "sha384" => Bank::Sha384,
        "sha512" => Bank::Sha512,
        _ => bail!(form()),
    };
    let mut pcrs = PcrSet::EMPTY;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok().with_context(form)?, last.parse().ok().with_context(form)?);
        if first > last {
            bail!(form());
        }
        for number in first..=last {
            pcrs = pcrs.with(PcrIndex::new(number).with_context(form)?);
        }
    }
    Ok((bank, pcrs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_a_bank_and_ranges() {
        let (bank, pcrs) = selection("sha384:0-2,7").unwrap();
        assert_eq!((bank, pcrs.to_string().as_str()), (Bank::Sha384, "0,1,2,7"));
        for wrong in ["0-7", "sha1:0", "sha256:", "sha256:24", "sha256:7-0", "sha256:a", "sha256:0-4294967295"] {
            assert!(selection(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_nonce_is_32_bytes() {
        assert_eq!(nonce(Some(&"ab".repeat(32))).unwrap(), [0xab; 32]);
        assert!(nonce(Some("ab")).is_err() && nonce(Some("x")).is_err());
        assert_ne!(nonce(None).unwrap(), nonce(None).unwrap());
    }
}
