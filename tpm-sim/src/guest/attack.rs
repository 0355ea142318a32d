//! Attacks by name: what a host, a provider's operator or a guest could try, as changes of what the guest is. Each stands
//! for a row of the tables that verifiers have been taken by.

use super::amd::{SigningKey, Tcb, random};
use super::place::{GuestKind, GuestSpec};

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done.
    pub description: &'static str,
    change: fn(&mut GuestSpec),
}

impl Attack {
    /// Does it.
    pub fn apply(&self, spec: &mut GuestSpec) {
        (self.change)(spec);
    }
}

macro_rules! attacks {
    ($variant:ident; $($name:literal $description:literal |$spec:ident| $change:expr;)*) => {
        &[$(Attack {
            name: $name,
            description: $description,
            change: |spec| if let GuestSpec::$variant($spec) = spec { $change },
        }),*]
    };
}

/// The attacks on guests of this kind.
#[must_use]
pub fn attacks_of(kind: GuestKind) -> &'static [Attack] {
    match kind {
        GuestKind::Snp => SNP,
        GuestKind::Nitro => NITRO,
    }
}

static SNP: &[Attack] = attacks! { Snp;
    "debug" "the guest allows the host to read and write its memory" |spec| spec.policy |= 1 << 19;
    "migration-agent" "the guest allows a migration agent to take it elsewhere" |spec| spec.policy |= 1 << 18;
    "masked-chip-key" "the host keeps the chip's key from signing" |spec| spec.mask_chip_key = true;
    "masked-chip-id" "the host hides the chip's id" |spec| spec.mask_chip_id = true;
    "wrong-key-kind" "the report names the provider's key, the chip's key signs" |spec| {
        spec.signing_key = SigningKey::Vlek;
        spec.signed_by_another_chip = true;
        spec.certificates = false;
    };
    "other-chip" "a key of another chip signs" |spec| spec.signed_by_another_chip = true;
    "other-tcb-certificate" "the certificate is for a newer TCB than the reported one" |spec| {
        spec.certified_tcb = Some(Tcb { snp: spec.reported_tcb.snp + 1, ..spec.reported_tcb });
    };
    "old-tcb" "the platform has not been updated (CacheWarp, EntrySign)" |spec| {
        spec.reported_tcb.microcode = 206;
        spec.reported_tcb.snp = 10;
    };
    "no-alias-check" "the platform does not say that it checked memory aliases (BadRAM)" |spec| {
        spec.platform_info &= !(1 << 5);
    };
    "replayed-report" "a report that answers an older challenge" |spec| spec.report_data = Some(random(64));
    "relayed-report" "a report of another guest, whose key is another" |spec| {
        spec.report_data = Some(format!("{}{}", random(32), "00".repeat(32)));
        spec.report_id = random(32);
    };
    "longer-report-data" "the binding with something behind it" |spec| spec.report_data = Some("11".repeat(64));
    "tampered-report" "a byte of the measurement is changed on the way" |spec| spec.flipped_byte = Some(0x90);
    "tampered-image" "another image is launched" |spec| {
        spec.measurement = hex::encode(ring::digest::digest(&ring::digest::SHA384, b"tampered guest image"));
    };
    "wrong-algorithm" "the report names another signature algorithm" |spec| spec.signature_algorithm = 2;
    "unknown-version" "the report has a version that nobody knows" |spec| spec.version = 4;
    "unpinned-svn" "a guest without an ID block claims a security version" |spec| spec.guest_svn = 99;
};

static NITRO: &[Attack] = attacks! { Nitro;
    "debug" "the enclave runs in debug mode: its image is not measured" |spec| {
        for pcr in 0..3 { spec.pcrs.insert(pcr, "00".repeat(48)); }
    };
    "tampered-image" "another image is launched" |spec| {
        let image = hex::encode(ring::digest::digest(&ring::digest::SHA384, b"tampered enclave image"));
        spec.pcrs.insert(0, image);
    };
    "other-instance" "PCR4 is that of another instance" |spec| { spec.pcrs.insert(4, random(48)); };
    "replayed-nonce" "a document that answers an older challenge" |spec| spec.nonce = Some(random(32));
    "replayed-user-data" "a document for another key" |spec| spec.user_data = Some(random(32));
    "stale" "a document that was made an hour ago" |spec| spec.time_shift = -3600;
    "from-the-future" "a document that is made in an hour" |spec| spec.time_shift = 3600;
    "other-chain" "another leaf's key signs" |spec| spec.signed_by_another = true;
    "tampered-document" "a byte is changed on the way" |spec| spec.flipped_byte = Some(60);
};
