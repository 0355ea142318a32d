//! `measure tdx`: the measurements of a TDX guest, as far as files alone say them.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use holdfast_evidence::TdxLaunch;
use holdfast_evidence::crypto::HashAlg;
use holdfast_measurement::Unmeasurable;
use holdfast_measurement::ovmf::FIRMWARE_BYTES_MAX;
use holdfast_measurement::pe::IMAGE_BYTES_MAX;
use holdfast_measurement::tdx::{DirectBoot, KernelHeader, PageOrder, mrtd};

use super::difference::Difference;
use super::input::{self, Hex};
use super::live;
use super::reference::Written;
use super::report::{self, Report};
use crate::exit::Exit;
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy measure tdx --ovmf OVMF.fd --write guest.toml
  holdfast-policy measure tdx --ovmf OVMF.fd --kernel vmlinuz --initrd initrd.img --append 'console=hvc0' \\
    --kernel-header patched --memory 4G --diff-quote quote.bin

Not computed: RTMR 0, which measures the memory map and the ACPI tables that the hypervisor makes up, and RTMR 1 and 2 of
a guest that boots from a disk, where the firmware also measures the partition table (`measure uki --bank sha384` has the
digests of a UKI's events). RTMR 3 belongs to the guest.";

/// `--page-order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// A page is measured when it is added: QEMU from 9.
    EachPage,
    /// The pages of a section are measured once all are added: QEMU 8.
    EachSection,
}

/// `--kernel-header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Header {
    /// edk2 from 2025.05: the kernel file as it is.
    AsIs,
    /// edk2 before: the file with the fields of its header that QEMU fills in; needs --memory.
    Patched,
}

/// Flags of `measure tdx`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MeasureTdx {
    /// The firmware image (TDVF).
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// In which order the hypervisor adds and measures pages.
    #[arg(long, value_name = "ORDER", default_value = "each-page")]
    page_order: Order,
    /// The kernel that QEMU hands to the firmware.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk.
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line, as QEMU is given it.
    #[arg(long, value_name = "TEXT", requires = "kernel", default_value = "", hide_default_value = true)]
    append: String,
    /// What the firmware is shown of the kernel.
    #[arg(long, value_name = "FORM", default_value = "as-is")]
    kernel_header: Header,
    /// The guest's memory, such as 4G.
    #[arg(long, value_name = "SIZE", value_parser = input::memory)]
    memory: Option<u64>,
    /// What the host gives this guest alone; with it the launch can be registered.
    #[arg(long, value_name = "HEX")]
    mrconfigid: Option<Hex<48>>,
    /// Zero, if not given.
    #[arg(long, value_name = "HEX", requires = "mrconfigid")]
    mrowner: Option<Hex<48>>,
    /// Zero, if not given.
    #[arg(long, value_name = "HEX", requires = "mrconfigid")]
    mrownerconfig: Option<Hex<48>>,
    /// A quote of a guest, to be compared.
    #[arg(long, value_name = "FILE")]
    diff_quote: Option<PathBuf>,
    #[command(flatten)]
    written: Written,
}

impl MeasureTdx {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let header = match (self.kernel_header, self.memory) {
            (Header::AsIs, _) => KernelHeader::AsIs,
            (Header::Patched, Some(memory)) => KernelHeader::Patched { memory },
            (Header::Patched, None) => bail!("what QEMU fills into the kernel's header depends on --memory"),
        };
        let firmware = input::read(&self.ovmf, FIRMWARE_BYTES_MAX)?;
        let kernel = self.kernel.as_deref().map(|path| input::read(path, IMAGE_BYTES_MAX)).transpose()?;
        let initrd = input::read_optional(self.initrd.as_deref(), IMAGE_BYTES_MAX)?;
        let live = self.diff_quote.as_deref().map(live::tdx_quote).transpose()?;
        let boot = kernel.as_deref().map(|kernel| DirectBoot {
            kernel,
            initrd: &initrd,
            command_line: self.append.as_str(),
            header,
        });
        let mut report = match self.measure(&firmware, boot.as_ref()) {
            Ok(report) => report,
            Err(error) => return report::unmeasurable(&error, format, out),
        };
        if let Some(live) = live {
            report.difference = Some(self.difference(&firmware, &report, &live));
        }
        self.written.write(&mut report)?;
        report.finish(format, out)
    }

    fn order(&self) -> PageOrder {
        match self.page_order {
            Order::EachPage => PageOrder::EachPage,
            Order::EachSection => PageOrder::EachSection,
        }
    }

    fn measure(&self, firmware: &[u8], boot: Option<&DirectBoot<'_>>) -> Result<Report, Unmeasurable> {
        let mut report = Report::new("tdx");
        let measured = mrtd(firmware, self.order())?;
        report.value("tdx.mrtd", hex::encode(measured.digest));
        report.inputs = measured.inputs.iter().map(Into::into).collect();
        report.not_predicted(
            "RTMR 0",
            "it measures memory map, ACPI tables and boot variables that the hypervisor makes up",
        );
        match boot {
            Some(boot) => {
                let rtmrs = boot.measure()?;
                for (number, register) in [(1, &rtmrs.rtmr1), (2, &rtmrs.rtmr2)] {
                    report.value(format!("tdx.rtmr{number}"), register.value().to_string());
                    report.register(format!("RTMR {number}"), register);
                }
                let sha384 = |bytes: &[u8]| Some(HashAlg::Sha384.digest(&[bytes]).to_string());
                report.input("kernel file", format!("{} bytes", boot.kernel.len()), sha384(boot.kernel));
                report.input("initrd", format!("{} bytes", boot.initrd.len()), sha384(boot.initrd));
                report.input("command line", format!("{:?}", boot.command_line), None);
                report.notes.push("RTMR 2 is as the kernel leaves it; software of the guest may extend it".to_owned());
            }
            None => {
                let why = "without --kernel the guest boots from a disk, whose partition table is measured too";
                report.not_predicted("RTMR 1", why);
                report.not_predicted("RTMR 2", "it depends on the boot loader");
            }
        }
        report.not_predicted("RTMR 3", "software of the guest extends it");
        if let Some(launch) = self.launch(measured.digest) {
            for (fact, value) in [
                ("tdx.mrconfigid", launch.mrconfigid),
                ("tdx.mrowner", launch.mrowner),
                ("tdx.mrownerconfig", launch.mrownerconfig),
            ] {
                report.value(fact, hex::encode(value));
            }
            report.launch = Some(hex::encode(launch.digest()));
        } else {
            report
                .notes
                .push("without --mrconfigid this is an image, not yet a launch that can be registered".to_owned());
        }
        Ok(report)
    }

    fn launch(&self, mrtd: [u8; 48]) -> Option<TdxLaunch> {
        let zero = |value: Option<Hex<48>>| value.map_or([0; 48], |value| value.0);
        let mrconfigid = self.mrconfigid?.0;
        Some(TdxLaunch { mrtd, mrconfigid, mrowner: zero(self.mrowner), mrownerconfig: zero(self.mrownerconfig) })
    }

    fn difference(&self, firmware: &[u8], report: &Report, live: &holdfast_evidence::tdx::TdReport) -> Difference {
        let mut difference = Difference::new();
        let [_, rtmr1, rtmr2, _] = &live.rt_mr;
        let compared = [
            ("tdx.mrtd", &live.mr_td, "the firmware, or the order in which pages are added, differs"),
            ("tdx.mrconfigid", &live.mr_config_id, "another value was given at launch"),
            ("tdx.mrowner", &live.mr_owner, "another value was given at launch"),
            ("tdx.mrownerconfig", &live.mr_owner_config, "another value was given at launch"),
            (
                "tdx.rtmr1",
                rtmr1,
                "the kernel, or what QEMU fills into its header (memory, size of the initrd), differs",
            ),
            ("tdx.rtmr2", rtmr2, "the command line or the initrd differs, or the guest extended the register"),
        ];
        for (fact, found, means) in compared {
            if let Some(expected) = report.one(fact) {
                difference.compare(fact, &hex::decode(expected).unwrap_or_default(), found, means);
            }
        }
        for (order, name) in [(PageOrder::EachPage, "each-page"), (PageOrder::EachSection, "each-section")] {
            if order != self.order() && mrtd(firmware, order).is_ok_and(|other| other.digest == live.mr_td) {
                difference.explain(format!("MRTD is what is measured with --page-order {name}"));
            }
        }
        difference
    }
}
