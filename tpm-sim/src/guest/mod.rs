//! Confidential guests: a simulated chip or hypervisor with roots of its own, and the device that a guest asks for
//! evidence. Encoders of their own, written from the vendors' documents; verifies nothing, uses nothing of the verifier.

pub mod amd;
mod attack;
mod device;
mod files;
mod lab;
mod malleable;
pub mod nitro;
mod place;
mod service;
pub mod tdx;
mod tsm;
mod vendors;
pub mod vtpm;

pub use attack::{Attack, BY_POLICY, attacks_of};
pub use device::{Device, Running};
pub use lab::Lab;
pub use place::{Guest, GuestKind, GuestSpec};
pub use service::{Answer, Handler, Request, Service, ServiceEffect, ServiceFault, asked_file, faults_file};
pub use vendors::vendors;

use ring::rand::{SecureRandom as _, SystemRandom};

/// So many random bytes, hex.
#[must_use]
pub fn random(bytes: usize) -> String {
    let mut drawn = vec![0; bytes];
    // Without randomness two guests share an id; whoever looks at them will see it.
    let _ = SystemRandom::new().fill(&mut drawn);
    hex::encode(drawn)
}
