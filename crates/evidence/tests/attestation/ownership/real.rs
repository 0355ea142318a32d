//! A platform certificate that swtpm's own CA wrote: one for the endorsement key itself.

use holdfast_evidence::TrustClass;
use holdfast_evidence::tpm::endorsement::{Anchor, ExpiredIssuers, Roots};
use holdfast_evidence::tpm::ownership::OfferedOwnership;
use holdfast_evidence::tpm::{Endorsers, IdentityMaterial, Invitation, OfferedEk};
use holdfast_identity::UnixTime;
use ring::rand::SystemRandom;

use crate::stage::select;
use crate::vectors;

/// 2026-11-27.
const NOW: UnixTime = UnixTime(1_795_737_600);

#[test]
fn swtpms_platform_certificate_is_for_its_own_endorsement_key_alone() {
    let Some(folder) = vectors::folder() else { return };
    let read = |machine: &str, file: &str| std::fs::read(folder.join("vm").join(machine).join(file)).unwrap();
    let pem = |machine: &str, file: &str| pem::parse(read(machine, file)).unwrap().into_contents();
    let roots = |machine: &str| {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&pem(machine, "swtpm-localca-rootca-cert.pem"), TrustClass::Simulated).unwrap());
        roots.add_intermediate(&pem(machine, "issuercert.pem")).unwrap();
        roots
    };
    let invite = |machine: &str, platform_of: &str| {
        let (vendor, makers) = (roots(machine), roots(platform_of));
        let material = IdentityMaterial {
            endorsement: vec![OfferedEk {
                certificate: read(machine, "nv-0x1c00002.bin"),
                chain: Vec::new(),
                public: read(machine, "ek-rsa.tpm2b_public"),
            }],
            ak_public: read(machine, "ak-ecc.tpm2b_public"),
            ownership: OfferedOwnership {
                platform: Some(read(platform_of, "nv-0x1c08000.bin")),
                device_keys: Vec::new(),
            },
        };
        let endorsers = Endorsers {
            roots: &vendor,
            expired_issuers: ExpiredIssuers::Refused,
            platforms: &makers,
            devices: &makers,
        };
        let wanted = holdfast_evidence::tpm::Wanted { selection: select(&[]), known_firmware_log: None };
        Invitation::new(&material, &wanted, endorsers, NOW, &SystemRandom::new())
            .map(|invitation| invitation.expectation().ownership().clone())
            .map_err(|uninvited| uninvited.code())
    };
    let platform = invite("direct-kernel", "direct-kernel").unwrap().platform.unwrap();
    assert_eq!([&platform.manufacturer, &platform.model, &platform.serial], ["Fedora", "QEMU", ""]);
    assert_eq!(invite("direct-kernel", "uki-nosb"), Err("tpm.platform.holder"));
}
