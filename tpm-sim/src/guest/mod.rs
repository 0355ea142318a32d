//! Confidential guests: a simulated chip or hypervisor with roots of its own, and the device that a guest asks for
//! evidence. Encoders of their own, written from the vendors' documents; verifies nothing, uses nothing of the verifier.

pub mod amd;
mod attack;
mod device;
pub mod nitro;
mod place;

pub use attack::{Attack, attacks_of};
pub use device::{Device, Running};
pub use place::{Guest, GuestKind, GuestSpec, Lab};
