//! Every fact that a policy may name: its type, shape, meaning, and the PCRs it rests on. Holds no values. The facts of
//! a TPM stand here; each other kind of evidence has its table in the file of its name.

use super::FactId;
use crate::value::ValueType;

/// How many values a fact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exactly one.
    One,
    /// Any number, without order.
    Set,
    /// Any number, in the order of the events that say so.
    List,
}

/// What a fact speaks of: who the machine is, who vouches for it, or what state it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Names exactly one machine, for ever; may stand in a node ID template.
    Machine,
    /// On whose word the evidence rests, and by whose numbers its other facts are read: trust classes, roots, makers and
    /// their serial numbers, the kind of key that signed, the product.
    Origin,
    /// A property of the hardware, shared by many machines.
    Hardware,
    /// What the machine booted, proven by its quote.
    State,
}

/// How a fact can make a machine ours, if the operator listed its value beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownable {
    /// It cannot.
    No,
    /// As a key, chip, account, project or instance in the inventory.
    Inventory,
    /// As a launch that was registered before it happened.
    Launch,
}

/// One fact, or a family of facts numbered by PCR.
#[derive(Debug)]
pub struct Definition {
    /// Its name; a family ends in `.N`.
    pub name: &'static str,
    /// The fact; of a family, that of PCR 0.
    pub id: FactId,
    /// Type of each value.
    pub value_type: ValueType,
    /// How many values.
    pub shape: Shape,
    /// Machine, hardware or state.
    pub subject: Subject,
    /// The PCRs that must be quoted for it to be proven; a family needs its own number.
    pub pcrs: &'static [u8],
    /// Selector that it becomes where a policy issues it: `tpm:secure_boot`, to which `:true` is added.
    pub selector: Option<&'static str>,
    /// Whether its value may be listed beforehand as ours.
    pub ownable: Ownable,
    /// How many facts it stands for: 1, or the numbers of a family from 0.
    pub members: u8,
    /// What it says, in one sentence.
    pub description: &'static str,
}

impl Definition {
    /// Whether the fact says whose machine it is, or whose word is believed: no waiver may name it.
    #[must_use]
    pub const fn is_fixed(&self) -> bool {
        matches!(self.subject, Subject::Machine | Subject::Origin) || !matches!(self.ownable, Ownable::No)
    }

    const fn members_of(name: &str) -> u8 {
        match name.as_bytes() {
            [.., b'.', b'N'] => super::PCR_COUNT,
            _ => 1,
        }
    }
}

/// The inventory lists endorsement keys by either digest.
const fn ownable(id: FactId) -> Ownable {
    match id {
        FactId::EkSpki | FactId::EkCertificate => Ownable::Inventory,
        _ => Ownable::No,
    }
}

/// The facts of one kind of evidence: an enum with a variant for each, and its table.
macro_rules! kind_facts {
    ($(#[$doc:meta])* $enum:ident, $wrap:path;
     $($variant:ident $name:literal $value_type:ident $shape:ident $subject:ident $ownable:ident, $selector:expr, $description:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum { $(#[doc = $description] $variant),* }

        impl $enum {
            /// Its registry entry.
            #[must_use]
            pub fn definition(self) -> &'static super::Definition {
                match self {
                    $(Self::$variant => {
                        static ENTRY: super::Definition = super::Definition {
                            name: $name, id: $wrap($enum::$variant), value_type: crate::value::ValueType::$value_type,
                            shape: super::Shape::$shape, subject: super::Subject::$subject, pcrs: &[], selector: $selector,
                            ownable: super::Ownable::$ownable, members: 1, description: $description,
                        };
                        &ENTRY
                    })*
                }
            }

            /// Every fact of the kind, in the order of the reference.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];
        }
    };
}
pub(super) use kind_facts;

macro_rules! facts {
    ($($name:literal $id:expr, $value_type:ident $shape:ident $subject:ident, $pcrs:expr, $selector:expr, $description:literal;)*) => {
        /// Every fact of a TPM, in the order of the reference.
        pub(super) static TPM: &[Definition] = &[$(Definition {
            name: $name, id: $id, value_type: ValueType::$value_type, shape: Shape::$shape, subject: Subject::$subject,
            pcrs: &$pcrs, selector: $selector, ownable: ownable($id), members: Definition::members_of($name),
            description: $description,
        }),*];
    };
}

facts! {
    "tpm.machine" FactId::Machine, Digest One Machine, [], Some("tpm:machine"),
        "SHA-256 of the SubjectPublicKeyInfo of the endorsement key (EK) that names the machine: the smallest of its EKs, or the one on record";
    "tpm.class" FactId::Class, Text Set Origin, [], Some("tpm:class"),
        "trust class of the root above each EK: discrete, firmware, vtpm, cloud or simulated";
    "tpm.ek.spki_sha256" FactId::EkSpki, Digest Set Machine, [], Some("tpm:ek"),
        "SHA-256 of the SubjectPublicKeyInfo of every EK of the machine";
    "tpm.ek.certificate_sha256" FactId::EkCertificate, Digest Set Machine, [], Some("tpm:ek_certificate"),
        "SHA-256 of every EK certificate of the machine";
    "tpm.manufacturer" FactId::Manufacturer, Text Set Hardware, [], Some("tpm:manufacturer"),
        "manufacturer as the EK certificates name it, such as id:49465800";
    "tpm.model" FactId::Model, Text Set Hardware, [], Some("tpm:model"),
        "model as the EK certificates name it";
    "tpm.version" FactId::HardwareVersion, Text Set Hardware, [], Some("tpm:version"),
        "version as the EK certificates name it";
    "tpm.root.sha256" FactId::RootDigest, Digest Set Origin, [], Some("tpm:root"),
        "SHA-256 of the root certificate above each EK";
    "tpm.root.name" FactId::RootName, Text Set Origin, [], None,
        "name of the root certificate above each EK";
    "tpm.firmware_version" FactId::FirmwareVersion, Version One Hardware, [], Some("tpm:firmware_version"),
        "the TPM's own firmware version, from the quote; absolute only for attestation keys of the endorsement hierarchy";
    "tpm.secure_boot.enabled" FactId::SecureBootEnabled, Bool One State, [7], Some("tpm:secure_boot"),
        "whether the firmware checked signatures of what it started";
    "tpm.secure_boot.pk" FactId::SecureBootPk, Labelled Set State, [7], None,
        "platform key";
    "tpm.secure_boot.kek" FactId::SecureBootKek, Labelled Set State, [7], None,
        "key exchange keys";
    "tpm.secure_boot.db" FactId::SecureBootDb, Labelled Set State, [7], None,
        "what the firmware may start: certificates and image digests";
    "tpm.secure_boot.dbx" FactId::SecureBootDbx, Labelled Set State, [7], None,
        "what the firmware must not start: certificates and image digests";
    "tpm.secure_boot.authorities" FactId::SecureBootAuthorities, Labelled List State, [7], Some("tpm:authority"),
        "what vouched for each image that was started, as variable:kind:digest, in order";
    "tpm.secure_boot.sbat_level" FactId::SbatLevel, Text One State, [7], None,
        "shim's revocation level, as shim measured it";
    "tpm.secure_boot.dma_protection_disabled" FactId::DmaProtectionDisabled, Bool One State, [7], Some("tpm:dma_protection_disabled"),
        "whether the firmware says that it left memory open to devices while booting";
    "tpm.boot.firmware_versions" FactId::FirmwareVersions, Text List State, [0], Some("tpm:boot_firmware_version"),
        "versions that the firmware gives itself, where it measures them as text";
    "tpm.boot.applications" FactId::BootApplications, Digest List State, [4], Some("tpm:boot_application"),
        "Authenticode digests of everything that was started (boot loader, kernel, UKI), in order";
    "tpm.boot.command_lines" FactId::CommandLines, Text List State, [8, 9, 12], Some("tpm:command_line"),
        "everything that may be a kernel command line, in order; under GRUB the kernel's file name comes first";
    "tpm.boot.loaded_files" FactId::LoadedFiles, Digest List State, [9], None,
        "digests of everything else that was loaded (initial RAM disk, GRUB's files and modules), in order; a condition on command lines is sound only together with one on these";
    "tpm.boot.loader_texts" FactId::LoaderTexts, Text List State, [8, 12], None,
        "everything that the boot loader says it did (GRUB's commands, the stub's texts), in order";
    "tpm.boot.uki_sections" FactId::UkiSections, Labelled List State, [11], None,
        "sections of the unified kernel image, as name:digest, in order";
    "tpm.ima.entries" FactId::ImaEntries, Integer One State, [8, 9, 10], None,
        "how many entries of the kernel's list of measured files the quote proves";
    "tpm.ima.violations" FactId::ImaViolations, Integer One State, [8, 9, 10], Some("tpm:ima_violations"),
        "how many of them are violations: files that changed while they were measured";
    "tpm.ima.boot_aggregates" FactId::ImaBootAggregates, Integer One State, [8, 9, 10], None,
        "how many of them are named boot_aggregate: one, and one more for each kernel that was started by kexec";
    "tpm.ima.template_hash" FactId::ImaTemplateHash, Text One State, [8, 9, 10], Some("tpm:ima_template_hash"),
        "by what the kernel extends the quoted bank for an entry: bank (the bank's own hash), or sha1 (SHA-1 and zeros)";
    "tpm.events.N" FactId::Events(0), Digest List State, [], None,
        "digests of all events that extended PCR N, in order: for what has no typed fact";
    "tpm.pcr.N" FactId::Pcr(0), Digest One State, [], Some("tpm:pcr"),
        "bare value of PCR N in the policy's bank: for what has no events";
}
