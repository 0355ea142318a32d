//! Attacks by name: what a host, a provider's operator or a guest could try, as changes of what the guest is. Each stands
//! for a row of the tables that verifiers have been taken by, and names the code by which Holdfast's verifier refuses it;
//! the simulator itself judges nothing.

mod azure;
mod gcp;
mod nitro;
mod nitrotpm;
mod snp;
mod tdx;

use super::place::{GuestKind, GuestSpec};

/// What an attack is refused as where verified evidence is not what the operator's policy demands: an image, a TCB, a
/// platform that is not on the list.
pub const BY_POLICY: &str = "policy";

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done.
    pub description: &'static str,
    /// The code by which the verifier refuses it, or [`BY_POLICY`]. `None` where it changes bytes that mean nothing: the
    /// guest is the node that it was, and a verifier that takes it for another one has been taken in.
    pub refused_as: Option<&'static str>,
    change: fn(&mut GuestSpec),
}

impl Attack {
    /// Does it.
    pub fn apply(&self, spec: &mut GuestSpec) {
        (self.change)(spec);
    }
}

/// A list of attacks on one kind: name, what comes of it, description, change.
macro_rules! attacks {
    ($variant:ident; $($name:literal $code:tt $description:literal |$spec:ident| $change:expr;)*) => {
        &[$($crate::guest::attack::Attack {
            name: $name,
            description: $description,
            refused_as: attacks!(@code $code),
            change: |spec| {
                if let $crate::guest::GuestSpec::$variant(boxed) = spec {
                    let $spec = &mut **boxed;
                    $change;
                }
            },
        }),*]
    };
    (@code policy) => { Some($crate::guest::attack::BY_POLICY) };
    (@code same_node) => { None };
    (@code $code:literal) => { Some($code) };
}
use attacks;

/// The attacks on guests of this kind.
#[must_use]
pub fn attacks_of(kind: GuestKind) -> &'static [Attack] {
    match kind {
        GuestKind::Snp => snp::ATTACKS,
        GuestKind::Tdx => tdx::ATTACKS,
        GuestKind::Nitro => nitro::ATTACKS,
        GuestKind::NitroTpm => nitrotpm::ATTACKS,
        GuestKind::Azure => azure::ATTACKS,
        GuestKind::Gcp => gcp::ATTACKS,
    }
}

/// SHA-384 of a text, hex: a measurement of something that does not exist.
pub(super) fn sha384(text: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA384, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own_and_changes_something() {
        for kind in GuestKind::ALL {
            let attacks = attacks_of(kind);
            for (at, attack) in attacks.iter().enumerate() {
                assert!(attacks.iter().skip(at + 1).all(|other| other.name != attack.name), "{}", attack.name);
                let mut spec = GuestSpec::new(kind);
                if let GuestSpec::Snp(snp) = &mut spec {
                    **snp = crate::guest::amd::SnpSpec::of("Genoa"); // has all that can be taken away
                }
                let before = spec.clone();
                attack.apply(&mut spec);
                assert_ne!(spec, before, "{} {}", kind.as_str(), attack.name);
            }
        }
    }
}
