//! Machines with a software TPM, for tests, demonstrations and CI: manufactured with endorsement certificates of their
//! own vendor, booted from declarative profiles, rebooted, tampered with and made to fail. Verifies nothing.
//!
//! ```no_run
//! use holdfast_tpm_sim::{Machine, Profile, Vendor};
//!
//! let directory = tempfile::tempdir()?;
//! let vendor = Vendor::ephemeral()?;
//! let mut machine = Machine::manufacture(&directory.path().join("m0"), &vendor, 0)?.start(&Profile::load("shim-grub")?)?;
//! println!("{} {}", machine.tcti(), machine.firmware_log_path().display());
//! machine.reboot(&Profile::load("uki")?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod authenticode;
pub mod boot;
mod change;
pub mod cli;
mod console;
mod der;
mod digest;
mod endorsement;
mod error;
mod factory;
mod fault;
pub mod guest;
mod keys;
pub mod log;
mod machine;
mod maker;
mod measuring;
mod ports;
mod powered;
pub mod profile;
mod reference;
mod report;
mod tamper;
mod tpm;
mod vendor;

pub use change::Change;
pub use console::{Answer, Console, Request, tell};
pub use digest::{Bank, Digests};
pub use endorsement::{CHAIN_INDEX, ECC_CERTIFICATE_INDEX, EkAlgorithm, Endorsement, RSA_CERTIFICATE_INDEX};
pub use error::SimError;
pub use factory::Factory;
pub use fault::{Effect, Fault};
pub use keys::file_signer_pem;
pub use machine::Machine;
pub use maker::{
    IAK_HANDLE, IAK_INDEX, IDEVID_HANDLE, IDEVID_INDEX, Maker, MakerAttack, MakerReport, PLATFORM_INDEX,
    PLATFORM_MANUFACTURER, PLATFORM_MODEL,
};
pub use measuring::ListLie;
pub use powered::{LoadedHandles, Powered};
pub use profile::Profile;
pub use reference::{ReferenceValue, ReferenceValues};
pub use report::{EndorsementReport, MachineReport, RunningReport};
pub use tamper::LogLie;
pub use tpm::{ClockCounters, CommandCode};
pub use vendor::{MANUFACTURER, MODEL, VERSION, Vendor};
