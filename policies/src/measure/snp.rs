//! `measure snp`: the launch digest of a guest, and the launch that an operator registers.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use holdfast_evidence::SnpLaunch;
use holdfast_measurement::Unmeasurable;
use holdfast_measurement::ovmf::FIRMWARE_BYTES_MAX;
use holdfast_measurement::pe::IMAGE_BYTES_MAX;
use holdfast_measurement::snp::{CpuSignature, ID_AUTH_BYTES, IdAuth, IdBlock, Kernel, Launch, Vmm};

use super::difference::Difference;
use super::input::{self, Hex};
use super::live;
use super::reference::Written;
use super::report::{self, Report};
use super::search;
use crate::exit::Exit;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy measure snp --ovmf OVMF.amdsev.fd --kernel vmlinuz --initrd initrd.img \\
    --append 'console=ttyS0 root=/dev/vda1' --vcpus 4 --vcpu-type EPYC-v4 --write guest.toml
  holdfast-policy measure snp --ovmf ovmf_img.fd --vcpus 4 --vmm ec2-2026 --diff-report report.bin

guest_features is 0x1 on hosts with Linux before 6.6 and from 6.8, 0x21 in between. The command line is hashed to the last
space; the NUL behind it is added here. ec2 is EC2 until 2026, ec2-2026 since.";

/// Flags of `measure snp`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MeasureSnp {
    /// The firmware image, as the guest has it below 4 GiB.
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// The kernel that the VMM hands to the firmware.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", requires = "kernel", default_value = "", hide_default_value = true)]
    append: String,
    /// Number of processors.
    #[arg(long, value_name = "N")]
    vcpus: u32,
    /// QEMU's model of the processor (EPYC-v4, EPYC-Milan, …), or its signature in hex; other VMMs do not measure it.
    #[arg(long, value_name = "MODEL")]
    vcpu_type: Option<CpuSignature>,
    /// Who launches the guest: qemu, ec2, ec2-2026, gce or krun.
    #[arg(long, value_name = "VMM", default_value = "qemu")]
    vmm: Vmm,
    /// SEV_FEATURES of the guest.
    #[arg(long, value_name = "N", value_parser = input::number, default_value = "0x1")]
    guest_features: u64,
    /// What the host gives this guest alone; with it the launch can be registered.
    #[arg(long, value_name = "HEX")]
    host_data: Option<Hex<32>>,
    /// The ID authentication information (4096 bytes) that the guest is launched with.
    #[arg(long, value_name = "FILE")]
    id_auth: Option<PathBuf>,
    /// The family in the ID block.
    #[arg(long, value_name = "HEX", requires = "id_auth")]
    family_id: Option<Hex<16>>,
    /// The image in the ID block.
    #[arg(long, value_name = "HEX", requires = "id_auth")]
    image_id: Option<Hex<16>>,
    /// The guest's security version in the ID block.
    #[arg(long, value_name = "N", requires = "id_auth", default_value_t = 0)]
    guest_svn: u32,
    /// The guest policy in the ID block.
    #[arg(long, value_name = "N", requires = "id_auth", value_parser = input::number, default_value = "0x30000")]
    policy: u64,
    /// An attestation report of a guest, to be compared.
    #[arg(long, value_name = "FILE")]
    diff_report: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
}

impl MeasureSnp {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let cpu = match (self.vmm, self.vcpu_type) {
            (_, Some(cpu)) => cpu,
            (Vmm::Qemu, None) => bail!("QEMU measures the processor's signature: give --vcpu-type"),
            (Vmm::Ec2 | Vmm::Ec2Since2026 | Vmm::Gce | Vmm::Krun, None) => CpuSignature::new(0),
        };
        let firmware = input::read(&self.ovmf, FIRMWARE_BYTES_MAX)?;
        let kernel = self.kernel.as_deref().map(|path| input::read(path, IMAGE_BYTES_MAX)).transpose()?;
        let initrd = input::read_optional(self.initrd.as_deref(), IMAGE_BYTES_MAX)?;
        let id_auth = self.id_auth.as_deref().map(|path| input::read(path, ID_AUTH_BYTES as u64)).transpose()?;
        let live = self.diff_report.as_deref().map(live::snp_report).transpose()?;
        let kernel =
            kernel.as_deref().map(|image| Kernel { image, initrd: &initrd, command_line: self.append.as_str() });
        let launch = Launch {
            firmware: &firmware,
            kernel,
            vcpus: self.vcpus,
            cpu,
            guest_features: self.guest_features,
            vmm: self.vmm,
        };
        let mut report = match self.measure(&launch, id_auth.as_deref()) {
            Ok(report) => report,
            Err(error) => return report::unmeasurable(&error, format, out),
        };
        if let Some(live) = live {
            report.difference = Some(self.difference(&launch, &report, &live));
        }
        self.written.write(&mut report)?;
        report.finish(format, out)
    }

    fn measure(&self, launch: &Launch<'_>, id_auth: Option<&[u8]>) -> Result<Report, Unmeasurable> {
        let mut report = Report::new("snp");
        let measured = launch.measure()?;
        report.value("snp.measurement", hex::encode(measured.digest));
        report.inputs = measured.inputs.iter().map(Into::into).collect();
        let mut id_key_digest = [0; 48];
        if let Some(bytes) = id_auth {
            let id_auth = IdAuth::parse(bytes)?;
            id_key_digest = id_auth.id_key_digest()?;
            report.value("snp.id_key_digest", hex::encode(id_key_digest));
            if let Some(author) = id_auth.author_key_digest()? {
                report.value("snp.author_key_digest", hex::encode(author));
            }
            let zero = |id: Option<Hex<16>>| id.map_or([0; 16], |id| id.0);
            let block = IdBlock {
                measurement: measured.digest,
                family_id: zero(self.family_id),
                image_id: zero(self.image_id),
                guest_svn: self.guest_svn,
                policy: self.policy,
            };
            report.id_block = Some(hex::encode(block.encode()));
            report.notes.push(match id_auth.verify(&block) {
                Ok(()) => "the ID block's signatures verify: firmware will launch this measurement".to_owned(),
                Err(error) => format!("{error} ({}): firmware will refuse the launch", error.code()),
            });
        }
        match self.host_data {
            Some(Hex(host_data)) => {
                report.value("snp.host_data", hex::encode(host_data));
                let launch = SnpLaunch { measurement: measured.digest, host_data, id_key_digest };
                report.launch = Some(hex::encode(launch.digest()));
            }
            None => report
                .notes
                .push("without --host-data this is an image, not yet a launch that can be registered".to_owned()),
        }
        if self.vmm == Vmm::Ec2 {
            report.notes.push(
                "EC2 changed the start of its processors in 2026: guests launched since measure to --vmm ec2-2026"
                    .to_owned(),
            );
        }
        Ok(report)
    }

    fn difference(&self, launch: &Launch<'_>, report: &Report, live: &live::SnpReport) -> Difference {
        let mut difference = Difference::new();
        let means = "firmware, its kernel hashes, number and kind of processors, guest features and VMM all go into it";
        for (fact, found) in [
            ("snp.measurement", &live.measurement[..]),
            ("snp.host_data", &live.host_data),
            ("snp.id_key_digest", &live.id_key_digest),
            ("snp.author_key_digest", &live.author_key_digest),
        ] {
            let Some(expected) = report.one(fact) else { continue };
            let expected = hex::decode(expected).unwrap_or_default();
            let means = if fact == "snp.measurement" { means } else { "another value was given at launch" };
            difference.compare(fact, &expected, found, means);
        }
        let equal = report.one("snp.measurement") == Some(&hex::encode(live.measurement));
        if !equal {
            difference.explain(search::explanation(launch, &live.measurement).unwrap_or_else(|| {
                "changing one of VMM, processors, guest features, initrd or the end of the command line does not lead to it: \
                 firmware, kernel or initrd are other files, or several inputs differ".to_owned()
            }));
        }
        difference
    }
}
