//! `measure uki`: the PCRs of a machine that boots a unified kernel image.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::Bank;
use holdfast_measurement::pe::{IMAGE_BYTES_MAX, Image};
use holdfast_measurement::uki::{Boot, PHASES, RETURNING, SecureBootState, Uki, authority};
use holdfast_measurement::{Register, Unmeasurable};

use super::difference::Difference;
use super::reference::Written;
use super::report::{self, Noted, Phase, Report};
use super::{input, live};
use crate::exit::Exit;
use crate::output::Format;

/// Bytes of a UEFI variable that are read.
const VARIABLE_BYTES_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy measure uki linux.efi --write linux.toml
  holdfast-policy measure uki linux.efi --bank sha384 --facts nitrotpm --phase ready --write linux.toml
  holdfast-policy measure uki linux.efi --secure-boot on --pk PK --kek KEK --db db --dbx dbx
  holdfast-policy measure uki linux.efi --diff-event-log /sys/kernel/security/tpm0/binary_bios_measurements

A boot is predicted that starts the image directly, or behind the --loader images, with nothing beside it: no add-ons, no
credentials, no command line from the boot entry. Variables are files of efivarfs or plain signature lists.";

/// Whose facts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Facts {
    /// `tpm.*`: a TPM, or a provider's virtual one, with its firmware log.
    Tpm,
    /// `nitrotpm.*`: the registers in a NitroTPM document (bank sha384).
    Nitrotpm,
}

/// Whether firmware checks signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Flags of `measure uki`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MeasureUki {
    /// The unified kernel image.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// The bank: sha256, sha384 or sha512.
    #[arg(long, default_value = "sha256")]
    bank: Bank,
    /// The profile that the boot entry names, in an image with several.
    #[arg(long, value_name = "N", default_value_t = 0)]
    profile: usize,
    /// An image that is started before this one (shim, a boot loader); repeat for each, in order.
    #[arg(long, value_name = "FILE")]
    loader: Vec<PathBuf>,
    /// Boot options that firmware tries in vain before this one; each is measured into PCR 4.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=64))]
    failed_attempts: u32,
    /// Whether firmware checks signatures.
    #[arg(long, value_name = "STATE", default_value = "off")]
    secure_boot: Switch,
    /// The platform key, for PCR 7.
    #[arg(long, value_name = "FILE", requires_all = ["kek", "db", "dbx"])]
    pk: Option<PathBuf>,
    /// The key exchange keys, for PCR 7.
    #[arg(long, value_name = "FILE", requires = "pk")]
    kek: Option<PathBuf>,
    /// What may be started, for PCR 7.
    #[arg(long, value_name = "FILE", requires = "pk")]
    db: Option<PathBuf>,
    /// What must not be started, for PCR 7.
    #[arg(long, value_name = "FILE", requires = "pk")]
    dbx: Option<PathBuf>,
    /// The last phase that systemd has entered when the machine attests: PCR 11 is written as it is then.
    #[arg(long, value_name = "PHASE", value_parser = PHASES)]
    phase: Option<String>,
    /// Whose facts are written.
    #[arg(long, value_name = "KIND", default_value = "tpm")]
    facts: Facts,
    /// A firmware log of a machine, to be compared.
    #[arg(long, value_name = "FILE")]
    diff_event_log: Option<PathBuf>,
    /// A NitroTPM document of a machine, to be compared (bank sha384).
    #[arg(long, value_name = "FILE", conflicts_with = "diff_event_log")]
    diff_document: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
}

/// What was predicted.
struct Predicted {
    pcr4: Register,
    pcr7: Option<Register>,
    pcr9: Option<Register>,
    /// Before the first phase, then after each.
    pcr11: Vec<(&'static str, Register)>,
    pcr12: Register,
}

impl MeasureUki {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let image = input::read(&self.image, IMAGE_BYTES_MAX)?;
        let loaders: Vec<Vec<u8>> =
            self.loader.iter().map(|path| input::read(path, IMAGE_BYTES_MAX)).collect::<Result<_, _>>()?;
        let [pk, kek, db, dbx] = [&self.pk, &self.kek, &self.db, &self.dbx].map(|path| variable(path.as_deref()));
        let (pk, kek, db, dbx) = (pk?, kek?, db?, dbx?);
        let enabled = self.secure_boot == Switch::On;
        let secure_boot = match self.pk {
            Some(_) => SecureBootState::Variables { enabled, pk: &pk, kek: &kek, db: &db, dbx: &dbx },
            // a machine in setup mode, as virtual machines are made
            None if !enabled => SecureBootState::Variables { enabled, pk: &[], kek: &[], db: &[], dbx: &[] },
            None => SecureBootState::Only { enabled },
        };
        let live = self.diff_event_log.as_deref().map(|path| live::events(path, self.bank)).transpose()?;
        let document = self.diff_document.as_deref().map(live::nitrotpm_pcrs).transpose()?;
        let mut report = Report::new("uki");
        let predicted = match self.measure(&mut report, &image, &loaders, &secure_boot) {
            Ok(predicted) => predicted,
            Err(error) => return report::unmeasurable(&error, format, out),
        };
        if let Some(live) = live {
            report.difference = Some(self.by_events(&predicted, &live));
        }
        if let Some(document) = document {
            report.difference = Some(by_values(&predicted, &document));
        }
        self.written.write(&mut report)?;
        report.finish(format, out)
    }

    fn measure(
        &self,
        report: &mut Report,
        image: &[u8],
        loaders: &[Vec<u8>],
        secure_boot: &SecureBootState<'_>,
    ) -> Result<Predicted, Unmeasurable> {
        let uki = Uki::parse(image, self.profile)?;
        let loaders: Vec<Image<'_>> = loaders.iter().map(|loader| Image::parse(loader)).collect::<Result<_, _>>()?;
        let boot = Boot { hash: self.bank, failed_attempts: self.failed_attempts, loaders: &loaders, secure_boot };
        for section in uki.sections() {
            let digest = self.bank.digest(&[&section.in_memory()]).to_string();
            let detail = match section.name {
                ".cmdline" => format!("{:?}", String::from_utf8_lossy(section.contents)),
                _ => format!("{} bytes", section.contents.len() as u64 + section.zeros),
            };
            report.input(section.name, detail, Some(digest));
        }
        report.notes.push(format!("systemd-stub {}", uki.stub().version));
        self.signatures(report, &uki, secure_boot)?;
        let pcr4 = uki.pcr4(&boot)?;
        report.register("PCR 4", &pcr4);
        let keep = |report: &mut Report, name: &str, predicted: holdfast_measurement::uki::Predicted| match predicted {
            Ok(register) => {
                report.register(name, &register);
                Some(register)
            }
            Err(why) => {
                report.not_predicted(name, why);
                None
            }
        };
        let pcr7 = keep(report, "PCR 7", uki.pcr7(&boot));
        let pcr9 = keep(report, "PCR 9", uki.pcr9(self.bank));
        let sections = keep(report, "PCR 11", uki.pcr11(self.bank, &[]));
        let mut pcr11 = Vec::new();
        if let Some(register) = sections {
            pcr11.push(("the sections", register));
            for (index, phase) in PHASES.into_iter().enumerate() {
                let phases = PHASES.get(..=index).unwrap_or_default();
                if let Ok(register) = uki.pcr11(self.bank, phases) {
                    let after = format!("PCR 11 after {phase}");
                    report.phases.push(Phase { after, value: register.value().to_string() });
                    pcr11.push((phase, register));
                }
            }
        }
        let pcr12 = uki.pcr12(self.bank);
        report.register("PCR 12", &pcr12);
        let predicted = Predicted { pcr4, pcr7, pcr9, pcr11, pcr12 };
        self.values(report, &uki, &predicted);
        Ok(predicted)
    }

    /// Who signed the image: PCR 7 has the entry of db that vouches for it.
    fn signatures(
        &self,
        report: &mut Report,
        uki: &Uki<'_>,
        secure_boot: &SecureBootState<'_>,
    ) -> Result<(), Unmeasurable> {
        let signatures = uki.image().signatures()?;
        if signatures.is_empty() {
            report.notes.push("the image is not signed: firmware with Secure Boot refuses it".to_owned());
        }
        for certificate in signatures.iter().flat_map(|signature| &signature.certificates) {
            let digest = HashAlg::Sha256.digest(&[certificate]);
            let subject =
                x509_parser::parse_x509_certificate(certificate).map(|(_, parsed)| parsed.subject().to_string());
            report.input("signed by", subject.unwrap_or_default(), Some(digest.to_string()));
        }
        if let SecureBootState::Variables { db, .. } = secure_boot
            && let Some(found) = authority(uki.image(), db)
        {
            let digest = HashAlg::Sha256.digest(&[found.certificate]);
            report.input(
                "authority in db",
                "db:x509 of tpm.secure_boot.authorities".to_owned(),
                Some(digest.to_string()),
            );
        }
        Ok(())
    }

    fn by_events(&self, predicted: &Predicted, live: &live::Events) -> Difference {
        let returning = self.bank.digest(&[RETURNING]);
        let mut difference = Difference::new();
        let none = Vec::new();
        let of = |pcr: u32| live.get(&pcr).unwrap_or(&none);
        let failed = of(4).iter().filter(|digest| *digest == returning.as_bytes()).count();
        if failed != usize::try_from(self.failed_attempts).unwrap_or_default() {
            difference.explain(format!("firmware tried {failed} boot options in vain: --failed-attempts {failed}"));
        }
        difference.compare_events("PCR 4", &predicted.pcr4, of(4));
        for (number, register) in [(7, &predicted.pcr7), (9, &predicted.pcr9)] {
            if let Some(register) = register {
                difference.compare_events(&format!("PCR {number}"), register, of(number));
            }
        }
        // phases are not in the firmware's log
        if let Some((_, sections)) = predicted.pcr11.first() {
            difference.compare_events("PCR 11", sections, of(11));
        }
        difference.compare_events("PCR 12", &predicted.pcr12, of(12));
        difference
    }

    fn values(&self, report: &mut Report, uki: &Uki<'_>, predicted: &Predicted) {
        let phase = self.phase.as_deref();
        let pcr11 = phase.and_then(|phase| predicted.pcr11.iter().find(|(name, _)| *name == phase));
        let family = match self.facts {
            Facts::Tpm => "tpm",
            Facts::Nitrotpm => "nitrotpm",
        };
        for (number, register) in [
            (4, Some(&predicted.pcr4)),
            (7, predicted.pcr7.as_ref()),
            (9, predicted.pcr9.as_ref()),
            (11, pcr11.map(|(_, register)| register)),
            (12, Some(&predicted.pcr12)),
        ] {
            if let Some(register) = register {
                report.value(format!("{family}.pcr.{number}"), register.value().to_string());
            }
        }
        if pcr11.is_none() && !predicted.pcr11.is_empty() {
            report.notes.push("PCR 11 grows while systemd boots: --phase says when, and gives its value".to_owned());
        }
        if self.facts == Facts::Nitrotpm {
            if self.bank != Bank::Sha384 {
                report.notes.push("a NitroTPM document has registers of sha384: give --bank sha384".to_owned());
            }
            return;
        }
        // a log proves what a register alone does not say
        let listed = |register: &Register, skip: usize| -> Vec<Noted> {
            let events = register.events().iter().skip(skip);
            events.map(|event| Noted { value: event.digest.to_string(), note: event.name.clone() }).collect()
        };
        let before = 2 + 2 * usize::try_from(self.failed_attempts).unwrap_or_default();
        report.list("tpm.boot.applications", listed(&predicted.pcr4, before));
        if let Some(pcr9) = &predicted.pcr9 {
            report.list("tpm.events.9", listed(pcr9, 0));
        }
        if let Some((_, sections)) = predicted.pcr11.first() {
            let contents = sections.events().iter().filter(|event| event.name.starts_with('.'));
            let sections = contents.map(|event| Noted {
                value: format!("{}:{}", event.name, event.digest),
                note: uki.stub().version.clone(),
            });
            report.list("tpm.boot.uki_sections", sections.collect());
        }
    }
}

/// A UEFI variable: a signature list, or a file of efivarfs with four bytes of attributes in front of one.
fn variable(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = input::read_optional(path, VARIABLE_BYTES_MAX)?;
    // attributes are a small number; a signature list begins with a GUID, none of which does
    if let Some([attributes, 0, 0, 0]) = bytes.first_chunk::<4>()
        && *attributes < 0x80
    {
        bytes.drain(..4);
    }
    Ok(bytes)
}

fn by_values(predicted: &Predicted, live: &live::Pcrs) -> Difference {
    let mut difference = Difference::new();
    let of = |pcr: u8| live.get(&pcr).map(Vec::as_slice).unwrap_or_default();
    let means = [
        (4, Some(&predicted.pcr4), "the image, a loader before it or the way it is started differs"),
        (7, predicted.pcr7.as_ref(), "Secure Boot, a key or the authority of an image differs"),
        (9, predicted.pcr9.as_ref(), "the command line or an initrd differs, or something lies beside the image"),
        (12, Some(&predicted.pcr12), "a command line, credential or add-on came from beside the image"),
    ];
    for (number, register, means) in means {
        if let Some(register) = register {
            difference.compare(&format!("PCR {number}"), register.value().as_bytes(), of(number), means);
        }
    }
    match predicted.pcr11.iter().find(|(_, register)| register.value().as_bytes() == of(11)) {
        Some((phase, register)) => {
            difference.compare(&format!("PCR 11, after {phase}"), register.value().as_bytes(), of(11), "");
        }
        None => {
            if let Some((_, sections)) = predicted.pcr11.first() {
                difference.compare(
                    "PCR 11",
                    sections.value().as_bytes(),
                    of(11),
                    "a section differs, or other phases were entered",
                );
            }
        }
    }
    difference
}
