//! Where each kind of evidence is found on this machine, and which kinds are wanted.

use std::path::PathBuf;
use std::str::FromStr;

use holdfast_evidence::EvidenceKind;
use tonic::codegen::http::Uri;

/// Which kinds this machine attests with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever the machine has.
    Auto,
    /// These, each once and in the order of a composite; what is missing is a fault.
    These(Vec<EvidenceKind>),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let mut kinds = Vec::new();
        for name in text.split(',').map(str::trim) {
            let kind: EvidenceKind = name
                .parse()
                .map_err(|_| format!("expected \"auto\" or kinds ({}), found {name:?}", EvidenceKind::NAMES))?;
            if kinds.contains(&kind) {
                return Err(format!("{kind} stands twice"));
            }
            kinds.push(kind);
        }
        let quoting: Vec<_> = kinds.iter().filter(|kind| kind.quotes_pcrs()).map(|kind| kind.as_str()).collect();
        if quoting.len() > 1 {
            return Err(format!("a machine has one TPM: {} exclude each other", quoting.join(" and ")));
        }
        kinds.sort_unstable();
        Ok(Self::These(kinds))
    }
}

/// A file of the system, or a simulator in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path.
    Path(PathBuf),
    /// The Unix socket of a simulator.
    Simulated(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, make): (&str, fn(PathBuf) -> Self) = match text.strip_prefix("sim:") {
            Some(socket) => (socket, Self::Simulated),
            None => (text, Self::Path),
        };
        if path.is_empty() { Err("is empty".to_owned()) } else { Ok(make(path.into())) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Simulated(socket) => write!(f, "simulator at {}", socket.display()),
        }
    }
}

/// Where everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// Which kinds.
    pub wanted: Wanted,
    /// The kernel's reports, for SNP and TDX.
    pub tsm: Place,
    /// SNP where the kernel has no such reports.
    pub sev_guest: PathBuf,
    /// TDX's event log, an ACPI table; a file that is not there means that the machine has none.
    pub tdx_event_log: PathBuf,
    /// The Nitro Secure Module of an enclave.
    pub nsm: Place,
    /// The program to run for NitroTPM in place of its command; `None` for the command.
    pub nitrotpm_program: Option<PathBuf>,
    /// Azure's metadata service.
    pub azure_imds: Uri,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_the_order_of_a_composite_each_once_and_with_one_tpm() {
        use EvidenceKind::{NitroTpm, Snp, Tpm};
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        assert_eq!("nitrotpm, tpm,snp".parse(), Ok(Wanted::These(vec![Snp, Tpm, NitroTpm])));
        for wrong in ["", "sev", "snp,snp", "tpm,azure", "azure,gcp", "auto,snp"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_is_a_path_or_a_simulators_socket() {
        assert_eq!("/dev/nsm".parse(), Ok(Place::Path("/dev/nsm".into())));
        assert_eq!("sim:/tmp/s".parse(), Ok(Place::Simulated("/tmp/s".into())));
        assert!("sim:".parse::<Place>().is_err() && "".parse::<Place>().is_err());
    }
}
