//! What this machine has: each kind is there, is not there, or is there and cannot be used; and why. Asks the devices
//! themselves, as little as it takes to know. Judges nothing.

use std::io;
use std::path::Path;

use holdfast_evidence::EvidenceKind;
use serde::Serialize;

use super::azure::{AK, AK_CERTIFICATE, HCL_REPORT};
use super::nsm::{self, NsmFault};
use super::snp::is_missing;
use super::sources::{Place, Sources, Wanted};
use super::tsm::{self, Provider, Tsm, TsmFault};
use super::{CollectFault, gcp};
use crate::tpm::Access;
use crate::vtpm::{NSM_REQUEST, PROVIDER_INDICES, Vtpm, VtpmFault};

/// Certificates of the endorsement keys that kind `tpm` offers.
const EK_CERTIFICATES: [u32; 2] = [0x01c0_000a, 0x01c0_0002];

/// One kind, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which, by its name.
    #[serde(serialize_with = "by_name")]
    pub kind: EvidenceKind,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: State,
}

fn by_name<S: serde::Serializer>(kind: &EvidenceKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}

/// Whether a kind is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// It is, by this.
    Available {
        /// How it is reached, and what answered.
        by: String,
    },
    /// It is not.
    Absent {
        /// What was looked for, and what the system answered.
        reason: String,
        /// What would make it available, where something could.
        hint: Option<&'static str>,
    },
    /// Something is there that does not answer as it should.
    Broken {
        /// What was tried, and what the system answered.
        reason: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
}

impl State {
    fn absent(reason: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self::Absent { reason: reason.into(), hint }
    }

    fn broken(reason: impl Into<String>, hint: Option<&'static str>) -> Self {
        Self::Broken { reason: reason.into(), hint }
    }

    /// Whether evidence can be gathered.
    #[must_use]
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available { .. })
    }
}

/// Every kind, in the order of a composite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection(pub Vec<Finding>);

impl Detection {
    /// The kinds that an agent attests with here: those that are wanted, or everything that is available. Where a
    /// provider's key speaks for the TPM, it speaks in place of kind `tpm`.
    ///
    /// # Errors
    /// [`CollectFault::Broken`] where something cannot be used, [`CollectFault::Nothing`] where there is nothing.
    pub fn chosen(&self, wanted: &Wanted) -> Result<Vec<EvidenceKind>, CollectFault> {
        if let Wanted::These(kinds) = wanted {
            return Ok(kinds.clone());
        }
        if let Some((kind, reason)) = self.0.iter().find_map(|finding| match &finding.state {
            State::Broken { reason, .. } => Some((finding.kind, reason.clone())),
            State::Available { .. } | State::Absent { .. } => None,
        }) {
            return Err(CollectFault::Broken { kind, reason });
        }
        let mut kinds: Vec<_> =
            self.0.iter().filter(|finding| finding.state.is_available()).map(|finding| finding.kind).collect();
        if kinds.iter().filter(|kind| kind.quotes_pcrs()).count() > 1 {
            kinds.retain(|kind| *kind != EvidenceKind::Tpm);
        }
        if kinds.is_empty() { Err(CollectFault::Nothing) } else { Ok(kinds) }
    }
}

/// Looks for every kind. Blocks.
#[must_use]
pub fn detect(sources: &Sources, access: &Access) -> Detection {
    let tsm = Tsm::new(tsm::files(&sources.tsm)).provider();
    let tpm = Chip::look(access);
    Detection(
        EvidenceKind::ALL
            .into_iter()
            .map(|kind| {
                let state = match kind {
                    EvidenceKind::Snp => snp(&tsm, sources),
                    EvidenceKind::Tdx => tdx(&tsm, sources),
                    EvidenceKind::Nitro => nitro(sources),
                    EvidenceKind::Tpm => tpm.endorsed(),
                    EvidenceKind::NitroTpm => tpm.nitro(sources),
                    EvidenceKind::Azure => tpm.azure(),
                    EvidenceKind::Gcp => tpm.gcp(),
                };
                Finding { kind, state }
            })
            .collect(),
    )
}

const ROOT: Option<&str> = Some("run the agent as root, or give it this file");

fn snp(tsm: &Result<Provider, TsmFault>, sources: &Sources) -> State {
    match tsm {
        Ok(Provider::SevGuest) => State::Available { by: format!("provider sev_guest at {}", sources.tsm) },
        Ok(other) => State::absent(format!("provider at {} is {}", sources.tsm, other.as_str()), None),
        Err(TsmFault::Provider { found, .. }) => another(found, &sources.tsm),
        Err(fault) if is_missing(fault) => sev_guest(&sources.sev_guest, &sources.tsm),
        Err(fault) if belongs_to(fault, Path::new("/dev/tdx_guest")) => {
            State::absent(format!("this is a TDX guest; {}", told(fault)), None)
        }
        Err(fault) => State::broken(format!("{}: {}", sources.tsm, told(fault)), hint(fault)),
    }
}

/// A provider that we do not know (`arm_cca_guest`): the machine is neither of the two, and nothing of it is broken.
fn another(provider: &str, tsm: &Place) -> State {
    State::absent(format!("provider at {tsm} is {provider}"), None)
}

fn sev_guest(device: &Path, tsm: &Place) -> State {
    match std::fs::File::options().read(true).write(true).open(device) {
        Ok(_) => State::Available { by: format!("{}", device.display()) },
        Err(error) if error.kind() == io::ErrorKind::NotFound => State::absent(
            format!("neither {tsm} has a provider nor is there {}", device.display()),
            Some("in an SEV-SNP guest: load the module sev-guest (Linux 5.19, better 6.7)"),
        ),
        Err(error) => State::broken(format!("{}: {error}", device.display()), ROOT),
    }
}

fn tdx(tsm: &Result<Provider, TsmFault>, sources: &Sources) -> State {
    match tsm {
        Ok(Provider::TdxGuest) => State::Available { by: format!("provider tdx_guest at {}", sources.tsm) },
        Ok(other) => State::absent(format!("provider at {} is {}", sources.tsm, other.as_str()), None),
        Err(TsmFault::Provider { found, .. }) => another(found, &sources.tsm),
        Err(fault) if is_missing(fault) => State::absent(
            format!("{}: {}", sources.tsm, told(fault)),
            Some("in a TDX guest: Linux 6.7, the module tdx-guest, and configfs mounted at /sys/kernel/config"),
        ),
        Err(fault) if belongs_to(fault, &sources.sev_guest) => {
            State::absent(format!("this is an SEV-SNP guest; {}", told(fault)), None)
        }
        Err(fault) => State::broken(format!("{}: {}", sources.tsm, told(fault)), hint(fault)),
    }
}

/// Whether a report interface that does not let us in is surely that of the other technology.
fn belongs_to(fault: &TsmFault, device: &Path) -> bool {
    matches!(fault, TsmFault::Io { .. }) && device.exists()
}

fn nitro(sources: &Sources) -> State {
    let answer = nsm::device(&sources.nsm).request(&nsm::describe_request());
    match answer.and_then(|answer| nsm::module_id(&answer)) {
        Ok(module) => State::Available { by: format!("module {module} at {}", sources.nsm) },
        Err(NsmFault::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            State::absent(format!("{}: {source}", sources.nsm), Some("only inside a Nitro Enclave"))
        }
        Err(NsmFault::Io { source, .. }) => State::broken(format!("{}: {source}", sources.nsm), ROOT),
        Err(fault) => State::broken(format!("{}: {fault}", sources.nsm), None),
    }
}

/// A TPM, as far as one or two commands tell.
enum Chip {
    /// There is none.
    None(String),
    /// It does not answer.
    Silent(String, Option<&'static str>),
    /// It answers.
    Found(Box<Found>),
}

struct Found {
    interface: String,
    indices: Vec<u32>,
    /// Whether the key that Azure leaves stands in its handle; looked for only where its certificate or report is.
    azure_key: bool,
    /// Whether the TPM knows NitroTPM's command; asked only where nothing else speaks for it.
    nsm: bool,
}

impl Chip {
    fn look(access: &Access) -> Self {
        let interface = access.interface.to_string();
        let found = Vtpm::open(access).and_then(|mut vtpm| {
            let indices = vtpm.handles(PROVIDER_INDICES)?;
            let has = |index: &u32| indices.contains(index);
            let azure = has(&HCL_REPORT) || has(&AK_CERTIFICATE);
            let azure_key = azure && vtpm.read_public(AK).is_ok();
            let spoken_for = azure || EK_CERTIFICATES.iter().any(has) || gcp::KEYS.iter().any(|(index, _)| has(index));
            let nsm = !spoken_for && vtpm.has_command(NSM_REQUEST)?;
            Ok(Found { interface: interface.clone(), indices, azure_key, nsm })
        });
        match found {
            Ok(found) => Self::Found(Box::new(found)),
            Err(VtpmFault::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self::None(format!("{interface}: {source}"))
            }
            Err(VtpmFault::Open { source, .. }) => {
                let hint = match source.kind() {
                    io::ErrorKind::PermissionDenied => Some("run the agent as root, or in the TPM's group (tss)"),
                    io::ErrorKind::ResourceBusy => Some("somebody else has it open: use /dev/tpmrm0"),
                    _ => None,
                };
                Self::Silent(format!("{interface}: {source}"), hint)
            }
            Err(fault) => Self::Silent(format!("{interface}: {fault}"), None),
        }
    }

    /// What `of` says of a TPM that answers; without one nothing of it is there.
    fn state(&self, of: impl FnOnce(&Found) -> State) -> State {
        match self {
            Self::None(reason) => State::absent(format!("no TPM: {reason}"), None),
            Self::Silent(reason, _) => State::absent(format!("TPM does not answer: {reason}"), None),
            Self::Found(found) => of(found),
        }
    }

    fn endorsed(&self) -> State {
        if let Self::Silent(reason, hint) = self {
            return State::broken(reason.clone(), *hint);
        }
        self.state(|found| match EK_CERTIFICATES.iter().find(|index| found.indices.contains(index)) {
            Some(index) => State::Available {
                by: format!("{}, endorsement certificate at NV index {index:#010x}", found.interface),
            },
            None => State::absent(
                format!("TPM at {} has no endorsement certificate: no server would know whose it is", found.interface),
                None,
            ),
        })
    }

    fn nitro(&self, sources: &Sources) -> State {
        if let Some(program) = &sources.nitrotpm_program {
            return match program.exists() {
                true => State::Available { by: program.display().to_string() },
                false => State::broken(format!("{}: not there", program.display()), None),
            };
        }
        self.state(|found| match found.nsm {
            true => State::Available { by: format!("{}, command {NSM_REQUEST:#010x}", found.interface) },
            false => State::absent(
                format!("TPM at {} does not know command {NSM_REQUEST:#010x}", found.interface),
                Some("only on EC2 instances of an AMI with NitroTPM"),
            ),
        })
    }

    fn azure(&self) -> State {
        self.state(|found| {
            let (what, index) = match () {
                () if found.indices.contains(&HCL_REPORT) => ("HCL report", HCL_REPORT),
                () if found.indices.contains(&AK_CERTIFICATE) => ("attestation key's certificate", AK_CERTIFICATE),
                () => {
                    let reason = format!("TPM at {} has nothing at NV index {HCL_REPORT:#010x}", found.interface);
                    return State::absent(reason, Some("only on Azure"));
                }
            };
            let by = format!("{}, {what} at NV index {index:#010x}", found.interface);
            match found.azure_key {
                true => State::Available { by },
                false => State::broken(format!("{by}, but no key in handle {AK:#010x}"), None),
            }
        })
    }

    fn gcp(&self) -> State {
        let certified = |found: &Found| gcp::KEYS.into_iter().find(|(index, _)| found.indices.contains(index));
        self.state(|found| match (gcp::pairs(&found.indices).next(), certified(found)) {
            (Some((index, _)), _) => State::Available {
                by: format!("{}, attestation key's certificate at NV index {index:#010x}", found.interface),
            },
            (None, Some((index, template))) => {
                let certificate = format!("certificate at NV index {index:#010x}");
                State::broken(format!("{}, {certificate}, but no template at {template:#010x}", found.interface), None)
            }
            (None, None) => State::absent(
                format!("TPM at {} has no attestation key's certificate", found.interface),
                Some("only on Google Cloud"),
            ),
        })
    }
}

/// A fault with the system's own words behind it.
fn told(fault: &TsmFault) -> String {
    match fault {
        TsmFault::Io { source, .. } => format!("{fault}: {source}"),
        TsmFault::Provider { .. } | TsmFault::Raced { .. } => fault.to_string(),
    }
}

fn hint(fault: &TsmFault) -> Option<&'static str> {
    match fault {
        TsmFault::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => ROOT,
        TsmFault::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            Some("the unit file must let the agent write below /sys/kernel/config/tsm")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
