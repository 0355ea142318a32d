//! Samples from image files: what a boot of them would put into a firmware log. Computes by `holdfast-measurement`; what
//! does not follow from the files is not made up.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use holdfast_appraisal::{Fact, FactId, Facts, Labelled, Value};
use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::Bank;
use holdfast_measurement::Register;
use holdfast_measurement::pe::{IMAGE_BYTES_MAX, Image};
use holdfast_measurement::uki::{Boot, PHASES, SecureBootState, Uki};

use super::sample::{Sample, name};
use crate::files;

/// Whether firmware will check signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

/// Flags that name image files.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Images {
    /// A unified kernel image; may be given several times, each a sample of its own.
    #[arg(long, value_name = "FILE")]
    pub(crate) uki: Vec<PathBuf>,
    /// A kernel, with --initrd and --append: started by firmware itself, or by --grub.
    #[arg(long, value_name = "FILE", requires = "append")]
    pub(crate) kernel: Option<PathBuf>,
    /// The kernel's initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    pub(crate) append: Option<String>,
    /// An image that is started before the UKI or the kernel (shim, systemd-boot), in order.
    #[arg(long, value_name = "FILE")]
    pub(crate) loader: Vec<PathBuf>,
    /// GRUB's image: it starts the kernel, and measures each file and command.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub(crate) grub: Option<PathBuf>,
    /// The kernel's path as GRUB's configuration names it: the first word of the command line that GRUB measures.
    #[arg(long, value_name = "PATH", default_value = "/vmlinuz", requires = "grub")]
    pub(crate) kernel_path: String,
    /// A file that GRUB reads beside kernel and initrd: grub.cfg, modules, fonts.
    #[arg(long, value_name = "FILE", requires = "grub")]
    pub(crate) grub_file: Vec<PathBuf>,
    /// Whether firmware will check signatures; unstated, nothing is learned of it, and off is taken for what is measured.
    #[arg(long, value_name = "STATE")]
    pub(crate) secure_boot: Option<Switch>,
}

impl Images {
    /// A sample for each UKI, and one for the kernel.
    ///
    /// # Errors
    /// A file cannot be read, or is no image.
    pub(crate) fn samples(&self, bank: Bank) -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for path in &self.uki {
            samples.push(self.uki(path, bank).with_context(|| path.display().to_string())?);
        }
        if let Some(path) = &self.kernel {
            samples.push(self.kernel(path, bank).with_context(|| path.display().to_string())?);
        }
        Ok(samples)
    }

    fn uki(&self, path: &Path, bank: Bank) -> anyhow::Result<Sample> {
        let image = files::limited(path, IMAGE_BYTES_MAX)?;
        let loaders = read_all(&self.loader)?;
        let loaders: Vec<Image<'_>> = loaders.iter().map(|image| Image::parse(image)).collect::<Result<_, _>>()?;
        let state = SecureBootState::Only { enabled: self.secure_boot == Some(Switch::On) };
        let boot = Boot { hash: bank, failed_attempts: 0, loaders: &loaders, secure_boot: &state };
        let uki = Uki::parse(&image, 0)?;
        let stub = format!("systemd-stub {}", uki.stub().version);
        let mut made = Made::new(path, format!("computed from the image, {stub}"), self.secure_boot);
        let pcr4 = uki.pcr4(&boot)?;
        // what firmware logs of its own progress is no application
        let started = pcr4.events().iter().skip(2).map(|event| (Value::Digest(event.digest), event.name.clone()));
        made.list(FactId::BootApplications, started.collect());
        made.predict(4, &pcr4, "with this image as the first boot option");
        let sections = uki.pcr11(bank, &[]);
        if let Ok(sections) = &sections {
            let contents = sections.events().iter().filter(|event| event.name.starts_with('.'));
            let contents = contents.map(|event| {
                let value = Value::Labelled(Labelled::new(event.name.clone(), event.digest));
                (value, stub.clone())
            });
            made.list(FactId::UkiSections, contents.collect());
            made.predict(11, sections, "the sections, before systemd's phases");
            for last in 0..PHASES.len() {
                let phases = PHASES.get(..=last).unwrap_or_default();
                if let (Ok(register), Some(phase)) = (uki.pcr11(bank, phases), phases.last()) {
                    made.phase(register.value(), phase);
                }
            }
        }
        if let (Ok(pcr9), Some(line)) = (uki.pcr9(bank), uki.command_line()) {
            made.list(FactId::CommandLines, vec![(Value::text(&line), ".cmdline".to_owned())]);
            let initrd = pcr9.events().iter().skip(1);
            made.list(
                FactId::LoadedFiles,
                initrd.map(|event| (Value::Digest(event.digest), event.name.clone())).collect(),
            );
            made.predict(9, &pcr9, "measured by the kernel's own EFI stub");
        } else {
            made.sample.source += "; PCR 9 does not follow from it";
        }
        made.predict(12, &uki.pcr12(bank), "nothing beside the image");
        Ok(made.sample)
    }

    fn kernel(&self, path: &Path, bank: Bank) -> anyhow::Result<Sample> {
        let kernel = files::limited(path, IMAGE_BYTES_MAX)?;
        let initrd = self.initrd.as_deref().map(|path| files::limited(path, IMAGE_BYTES_MAX)).transpose()?;
        let append = self.append.clone().unwrap_or_default();
        let Some(grub) = &self.grub else {
            let mut made =
                Made::new(path, "computed from kernel, initrd and command line".to_owned(), self.secure_boot);
            made.started(&self.loader, bank)?;
            made.image(path, &kernel, bank)?;
            let initrd = initrd.as_deref().map(|bytes| (Value::Digest(bank.digest(&[bytes])), "initrd".to_owned()));
            made.list(FactId::LoadedFiles, initrd.into_iter().collect());
            made.list(FactId::CommandLines, vec![(Value::text(&append), "load options".to_owned())]);
            return Ok(made.finish());
        };
        let source = "computed from GRUB, kernel, initrd and command line".to_owned();
        let mut made = Made::new(path, source, self.secure_boot);
        made.started(&self.loader, bank)?;
        made.started(std::slice::from_ref(grub), bank)?;
        made.image(path, &kernel, bank)?;
        let mut loaded = Vec::new();
        for file in &self.grub_file {
            loaded
                .push((Value::Digest(bank.digest(&[&files::limited(file, IMAGE_BYTES_MAX)?])), files::file_name(file)));
        }
        loaded.push((Value::Digest(bank.digest(&[&kernel])), files::file_name(path)));
        if let (Some(bytes), Some(path)) = (&initrd, &self.initrd) {
            loaded.push((Value::Digest(bank.digest(&[bytes])), files::file_name(path)));
        }
        if self.grub_file.is_empty() {
            bail!("GRUB measures every file that it reads: give at least its configuration as --grub-file");
        }
        made.list(FactId::LoadedFiles, loaded);
        let line = format!("{} {append}", self.kernel_path);
        made.list(FactId::CommandLines, vec![(Value::text(line.trim_end()), "GRUB's kernel command".to_owned())]);
        made.sample.is_unordered = true;
        Ok(made.finish())
    }
}

/// A sample being made.
struct Made {
    sample: Sample,
    applications: Vec<(Value, String)>,
}

impl Made {
    fn new(path: &Path, source: String, secure_boot: Option<Switch>) -> Self {
        let mut facts = Facts::new();
        if let Some(state) = secure_boot {
            let enabled = vec![Value::Bool(state == Switch::On)];
            facts.insert(FactId::SecureBootEnabled, Fact::of(Provenance::Unauthenticated, enabled));
        }
        Self { sample: Sample::new(name(path), source, facts), applications: Vec::new() }
    }

    fn list(&mut self, id: FactId, noted: Vec<(Value, String)>) {
        for (value, note) in &noted {
            self.sample.notes.entry((id, value.clone())).or_insert_with(|| note.clone());
        }
        let values = noted.into_iter().map(|(value, _)| value).collect();
        self.sample.facts.insert(id, Fact::of(Provenance::Unauthenticated, values));
    }

    fn image(&mut self, path: &Path, image: &[u8], bank: Bank) -> anyhow::Result<()> {
        let digest = Image::parse(image)?.authenticode(bank)?;
        self.applications.push((Value::Digest(digest), files::file_name(path)));
        Ok(())
    }

    fn started(&mut self, paths: &[PathBuf], bank: Bank) -> anyhow::Result<()> {
        for path in paths {
            let image = files::limited(path, IMAGE_BYTES_MAX)?;
            self.image(path, &image, bank).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    fn predict(&mut self, pcr: u8, register: &Register, when: &str) {
        self.sample.predicted.push((FactId::Pcr(pcr), Value::Digest(register.value()), when.to_owned()));
    }

    fn phase(&mut self, value: Digest, phase: &str) {
        self.sample.predicted.push((FactId::Pcr(11), Value::Digest(value), format!("after {phase}")));
    }

    fn finish(mut self) -> Sample {
        let applications = std::mem::take(&mut self.applications);
        self.list(FactId::BootApplications, applications);
        self.sample
    }
}

fn read_all(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    paths.iter().map(|path| files::limited(path, IMAGE_BYTES_MAX)).collect()
}
