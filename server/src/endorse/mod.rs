//! Endorsements: what vendors say about hardware, found for the desk before it verifies. Fetches, checks and keeps;
//! decides nothing about a machine, and an outage of whoever is asked is a fault of ours, never a verdict.

mod amd;
pub mod bundle;
mod directory;
mod endorser;
mod fault;
mod flight;
mod intel;
mod kept;
mod pace;
pub mod reading;
mod refresh;
mod service;
mod settings;
mod snp;
mod tdx;
mod turns;
mod unknown;

pub(crate) use amd::vek_about;
pub use endorser::{Endorser, Trust};
pub use fault::EndorseFault;
pub use pace::Asker;
pub use refresh::{Had, Refreshed};
pub use settings::{DEFAULT_CA_FILE, EndorseSettings, UpdateChannel};
pub use unknown::Wanted;
