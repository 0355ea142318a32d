//! Imports from golden machines and from image files, by the samples of `learn`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use holdfast_appraisal::FactId;
use holdfast_evidence::tpm::Bank;
use holdfast_measurement::uki::PHASES;

use super::Destination;
use super::draft::{Draft, Made};
use crate::learn::{self, Images, Sample};

/// Flags of `reference from-evidence`.
#[derive(Debug, Args)]
pub(super) struct FromEvidence {
    /// Golden machines: folders, files of kind `evidence` or `facts`, or firmware logs, as `learn` takes them.
    #[arg(required = true, value_name = "SAMPLE")]
    samples: Vec<PathBuf>,
    /// The bank of the PCRs.
    #[arg(long, value_name = "BANK", default_value = "sha256")]
    bank: Bank,
    #[command(flatten)]
    pub(super) to: Destination,
}

/// Flags of `reference from-uki`.
#[derive(Debug, Args)]
pub(super) struct FromUki {
    /// The unified kernel image.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// An image that is started before this one, in order.
    #[arg(long, value_name = "FILE")]
    loader: Vec<PathBuf>,
    /// Whether firmware will check signatures.
    #[arg(long, value_name = "STATE")]
    secure_boot: Option<learn::Switch>,
    /// The last phase that systemd has entered when the machine attests: gives the value of PCR 11.
    #[arg(long, value_name = "PHASE", value_parser = PHASES)]
    phase: Option<String>,
    /// The bank of the PCRs.
    #[arg(long, value_name = "BANK", default_value = "sha256")]
    bank: Bank,
    #[command(flatten)]
    pub(super) to: Destination,
}

/// Flags of `reference from-kernel`.
#[derive(Debug, Args)]
pub(super) struct FromKernel {
    /// The kernel, as firmware starts it.
    #[arg(value_name = "FILE")]
    image: PathBuf,
    /// Its initial RAM disk.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Its command line.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    append: String,
    /// An image that is started before this one (shim), in order.
    #[arg(long, value_name = "FILE")]
    loader: Vec<PathBuf>,
    /// GRUB's image: it starts the kernel, and measures each file and command.
    #[arg(long, value_name = "FILE")]
    grub: Option<PathBuf>,
    /// The kernel's path as GRUB's configuration names it.
    #[arg(long, value_name = "PATH", default_value = "/vmlinuz")]
    kernel_path: String,
    /// A file that GRUB reads beside kernel and initrd: grub.cfg, modules, fonts.
    #[arg(long, value_name = "FILE", requires = "grub")]
    grub_file: Vec<PathBuf>,
    /// The bank of the PCRs.
    #[arg(long, value_name = "BANK", default_value = "sha256")]
    bank: Bank,
    #[command(flatten)]
    pub(super) to: Destination,
}

impl FromEvidence {
    pub(super) fn draft(&self) -> anyhow::Result<Made> {
        let created = learn::created(self.to.at)?;
        let samples = learn::samples(&self.samples, &Images::default(), self.bank, &created)?;
        if let [first, others @ ..] = samples.as_slice()
            && let Some(other) = others.iter().find(|other| boot(other) != boot(first))
        {
            bail!("{} and {} booted differently: import each into a file of its own", first.name, other.name);
        }
        Ok(Ok(of(&samples)))
    }
}

impl FromUki {
    pub(super) fn draft(&self) -> anyhow::Result<Made> {
        let images = Images {
            uki: vec![self.image.clone()],
            loader: self.loader.clone(),
            secure_boot: self.secure_boot,
            ..Images::default()
        };
        let samples = images.samples(self.bank)?;
        let mut draft = of(&samples);
        registers(&mut draft, &samples, self.phase.as_deref());
        Ok(Ok(draft))
    }
}

impl FromKernel {
    pub(super) fn draft(&self) -> anyhow::Result<Made> {
        let images = Images {
            kernel: Some(self.image.clone()),
            initrd: self.initrd.clone(),
            append: Some(self.append.clone()),
            loader: self.loader.clone(),
            grub: self.grub.clone(),
            kernel_path: self.kernel_path.clone(),
            grub_file: self.grub_file.clone(),
            ..Images::default()
        };
        let samples = images.samples(self.bank)?;
        let mut draft = of(&samples);
        if self.grub.is_some() {
            draft.remarks.push(
                "files do not say in which order, or how often, GRUB starts and reads them: use exactly or subset_of, not \
                 sequence"
                    .to_owned(),
            );
        }
        Ok(Ok(draft))
    }
}

/// What a machine booted: machines that differ in it have no reference values in common.
fn boot(sample: &Sample) -> impl PartialEq {
    [FactId::BootApplications, FactId::UkiSections, FactId::LoadedFiles, FactId::CommandLines]
        .map(|id| sample.values(id).map(<[_]>::to_vec))
}

/// The values of samples that booted the same: lists once, sets as their union.
pub(super) fn of(samples: &[Sample]) -> Draft {
    let sources = samples.iter().map(|sample| format!("{}: {}", sample.name, sample.source)).collect::<Vec<_>>();
    let mut draft = Draft::new(sources.join("; "));
    for (fact, values) in learn::known_facts(samples) {
        values.into_iter().for_each(|(value, note)| draft.add(fact, value, note));
    }
    draft
}

/// The registers that follow from an image; of PCR 11 the value after `phase`.
pub(super) fn registers(draft: &mut Draft, samples: &[Sample], phase: Option<&str>) {
    let wanted = phase.map(|phase| format!("after {phase}"));
    for (fact, value, when) in samples.iter().flat_map(|sample| &sample.predicted) {
        if *fact != FactId::Pcr(11) || Some(when) == wanted.as_ref() {
            draft.add(*fact, value.clone(), Some(when.clone()));
        } else {
            draft.remarks.push(format!("{fact} = {value}, {when}"));
        }
    }
}
