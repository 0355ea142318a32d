//! Facts of a TPM's machine in its maker's words: platform certificate, IAK and IDevID. Verifies nothing.

use holdfast_evidence::tpm::ownership::{DeviceRole, Ownership, PlatformIdentity};
use holdfast_evidence::x509::RootIdentity;
use holdfast_evidence::{Provenance, TrustClass};

use super::registry::kind_facts;
use super::{Fact, FactId, Facts};
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact about a TPM's machine that is not about its endorsement keys.
    OwnershipFact, FactId::Owned;
    PlatformId "tpm.platform.id" Text One Machine Inventory, Some("tpm:platform"),
        "the machine by manufacturer and serial number of its platform certificate, as manufacturer/serial (a slash in the manufacturer is %2F); absent if the certificate has no serial number, or one that stands for none";
    PlatformCertificate "tpm.platform.certificate_sha256" Digest One Machine Inventory, Some("tpm:platform_certificate"),
        "SHA-256 of the platform certificate, whose holder is an EK of the machine";
    PlatformManufacturer "tpm.platform.manufacturer" Text One Origin No, Some("tpm:platform_manufacturer"),
        "manufacturer of the machine as its platform certificate names it";
    PlatformModel "tpm.platform.model" Text One Hardware No, Some("tpm:platform_model"),
        "model of the machine as its platform certificate names it";
    PlatformVersion "tpm.platform.version" Text One Hardware No, Some("tpm:platform_version"),
        "version of the machine as its platform certificate names it";
    PlatformSerial "tpm.platform.serial" Text One Origin No, Some("tpm:platform_serial"),
        "serial number of the machine as its platform certificate names it; unique only beside the manufacturer";
    PlatformRoot "tpm.platform.root_sha256" Digest One Origin No, Some("tpm:platform_root"),
        "SHA-256 of the root certificate above the platform certificate";
    PlatformRootName "tpm.platform.root_name" Text One Origin No, None,
        "name under which that root was imported";
    PlatformClass "tpm.platform.class" Text One Origin No, Some("tpm:platform_class"),
        "trust class of that root: a rule whose trust_classes are all better is not satisfied";
    IakSpki "tpm.iak.spki_sha256" Digest One Machine Inventory, Some("tpm:iak"),
        "SHA-256 of the SubjectPublicKeyInfo of the initial attestation key (IAK), which certified the machine's own attestation key";
    IakCertificate "tpm.iak.certificate_sha256" Digest One Machine Inventory, Some("tpm:iak_certificate"),
        "SHA-256 of the IAK's certificate";
    IakSerial "tpm.iak.serial" Text One Origin No, Some("tpm:iak_serial"),
        "serialNumber in the subject of the IAK's certificate: the device's, by its maker";
    IakRoot "tpm.iak.root_sha256" Digest One Origin No, Some("tpm:iak_root"),
        "SHA-256 of the root certificate above the IAK's certificate";
    IakRootName "tpm.iak.root_name" Text One Origin No, None,
        "name under which that root was imported";
    IakClass "tpm.iak.class" Text One Origin No, Some("tpm:iak_class"),
        "trust class of that root: a rule whose trust_classes are all better is not satisfied";
    IdevidSpki "tpm.idevid.spki_sha256" Digest One Machine Inventory, Some("tpm:idevid"),
        "SHA-256 of the SubjectPublicKeyInfo of the initial device identity (IDevID), whose certificate names an EK of the machine";
    IdevidCertificate "tpm.idevid.certificate_sha256" Digest One Machine Inventory, Some("tpm:idevid_certificate"),
        "SHA-256 of the IDevID's certificate";
    IdevidSerial "tpm.idevid.serial" Text One Origin No, Some("tpm:idevid_serial"),
        "serialNumber in the subject of the IDevID's certificate: the device's, by its maker";
    IdevidRoot "tpm.idevid.root_sha256" Digest One Origin No, Some("tpm:idevid_root"),
        "SHA-256 of the root certificate above the IDevID's certificate";
    IdevidRootName "tpm.idevid.root_name" Text One Origin No, None,
        "name under which that root was imported";
    IdevidClass "tpm.idevid.class" Text One Origin No, Some("tpm:idevid_class"),
        "trust class of that root: a rule whose trust_classes are all better is not satisfied";
}

/// What one maker says: the class of its root, and everything that rests on it.
const MAKERS: [(OwnershipFact, &[OwnershipFact]); 3] = {
    use OwnershipFact as F;
    [
        (
            F::PlatformClass,
            &[
                F::PlatformId,
                F::PlatformCertificate,
                F::PlatformManufacturer,
                F::PlatformModel,
                F::PlatformVersion,
                F::PlatformSerial,
                F::PlatformRoot,
                F::PlatformRootName,
            ],
        ),
        (F::IakClass, &[F::IakSpki, F::IakCertificate, F::IakSerial, F::IakRoot, F::IakRootName]),
        (F::IdevidClass, &[F::IdevidSpki, F::IdevidCertificate, F::IdevidSerial, F::IdevidRoot, F::IdevidRootName]),
    ]
};

/// The classes of the roots of makers that say anything of the machine: the fact that states it, and `None` where something
/// is said and no root stated.
pub(crate) fn maker_classes(facts: &Facts) -> impl Iterator<Item = (FactId, Option<&Fact>)> {
    MAKERS.into_iter().filter_map(|(class, resting)| {
        let stated = facts.get(FactId::Owned(class));
        let is_there = stated.is_some() || resting.iter().any(|fact| facts.get(FactId::Owned(*fact)).is_some());
        is_there.then_some((FactId::Owned(class), stated))
    })
}

impl OwnershipFact {
    /// Whether inventories of before had its value as it is, in one list with endorsement keys.
    #[must_use]
    pub const fn was_listed_bare(self) -> bool {
        matches!(
            self,
            Self::PlatformCertificate
                | Self::IakSpki
                | Self::IakCertificate
                | Self::IdevidSpki
                | Self::IdevidCertificate
        )
    }
}

/// Manufacturer and serial number in one text that no other pair gives; `None` without a serial number.
#[must_use]
pub fn platform_id(platform: &PlatformIdentity) -> Option<String> {
    let escaped = platform.manufacturer.replace('%', "%25").replace('/', "%2F");
    (!platform.serial.is_empty()).then(|| format!("{escaped}/{}", platform.serial))
}

/// Adds what was proven. `provenance` is that of the machine's endorsement keys: nothing here is better vouched for.
pub(super) fn add(ownership: &Ownership, provenance: Provenance, facts: &mut Facts) {
    let mut add = |fact: OwnershipFact, root: &RootIdentity, value: Option<Value>| {
        let vouched = match root.class {
            TrustClass::Discrete | TrustClass::Firmware => Provenance::Hardware,
            TrustClass::Vtpm | TrustClass::Cloud => Provenance::Provider,
            TrustClass::Simulated => Provenance::Simulated,
        };
        if let Some(value) = value {
            facts.insert(FactId::Owned(fact), Fact::of(vouched.max(provenance), vec![value]));
        }
    };
    let digest = |bytes: &[u8; 32]| digest_of(bytes).map(Value::Digest);
    let text = |text: &str| (!text.is_empty()).then(|| Value::text(text));
    if let Some(platform) = &ownership.platform {
        let root = &platform.root;
        add(OwnershipFact::PlatformId, root, platform_id(platform).map(|id| Value::text(&id)));
        add(OwnershipFact::PlatformCertificate, root, digest(&platform.certificate_sha256));
        add(OwnershipFact::PlatformManufacturer, root, text(&platform.manufacturer));
        add(OwnershipFact::PlatformModel, root, text(&platform.model));
        add(OwnershipFact::PlatformVersion, root, text(&platform.version));
        add(OwnershipFact::PlatformSerial, root, text(&platform.serial));
        add(OwnershipFact::PlatformRoot, root, digest(&root.sha256));
        add(OwnershipFact::PlatformRootName, root, text(&root.name));
        add(OwnershipFact::PlatformClass, root, text(root.class.as_str()));
    }
    for device in &ownership.devices {
        let [spki, certificate, serial, above, name, class] = match device.role {
            DeviceRole::Iak => [
                OwnershipFact::IakSpki,
                OwnershipFact::IakCertificate,
                OwnershipFact::IakSerial,
                OwnershipFact::IakRoot,
                OwnershipFact::IakRootName,
                OwnershipFact::IakClass,
            ],
            DeviceRole::IdevId => [
                OwnershipFact::IdevidSpki,
                OwnershipFact::IdevidCertificate,
                OwnershipFact::IdevidSerial,
                OwnershipFact::IdevidRoot,
                OwnershipFact::IdevidRootName,
                OwnershipFact::IdevidClass,
            ],
        };
        add(spki, &device.root, digest(&device.spki_sha256));
        add(certificate, &device.root, digest(&device.certificate_sha256));
        add(serial, &device.root, text(&device.serial));
        add(above, &device.root, digest(&device.root.sha256));
        add(name, &device.root, text(&device.root.name));
        add(class, &device.root, text(device.root.class.as_str()));
    }
}
