//! IAK and IDevID: certificates, keys, and what the keys must say.

use holdfast_evidence::tpm::ownership::{DeviceRole, OfferedDeviceKey, OfferedOwnership};
use holdfast_evidence::tpm::{Attest, Attributes, Hierarchy, KnownTpm, Name, NodeKeyProof, Public, Scheme};
use holdfast_evidence::{Purpose, crypto};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::Made;
use super::maker::{module, naming};
use crate::pki::Ca;
use crate::stage::{Outcome, refused};
use crate::virtual_tpm::{Answer, ECDSA_SHA256, Key};

/// As TPM 2.0 Keys for Device Identity and Attestation has it.
const IAK: u32 = 0x0005_00f2;
const IDEVID: u32 = 0x0004_00f2;

/// A key as a certificate takes it.
struct Certified(Vec<u8>);

impl rcgen::PublicKeyData for Certified {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn certified(public: &Public) -> Certified {
    let (x, y) = public.key().coordinates();
    Certified([&[4], x, y].concat())
}

impl Made {
    fn device(&self, role: DeviceRole, key: &Key, spoil: impl FnOnce(&mut CertificateParams)) -> OfferedDeviceKey {
        let ek = &self.stage.tpm.eks[0].certificate;
        OfferedDeviceKey {
            role,
            public: key.public.sized(),
            certificate: self.maker.device(&certified(&key.public), ek, spoil),
            chain: Vec::new(),
        }
    }

    /// What a device key states: it certifies `name` over `extra_data`.
    fn states(&self, key: &Key, extra_data: &[u8], certified: &Public) -> Vec<u8> {
        let tpm = &self.stage.tpm;
        let (signer, name) = (key.public.name().qualified_in(Hierarchy::Endorsement), certified.name());
        let qualified = name.qualified_in(Hierarchy::Endorsement);
        Attest::encode_certify(&signer, extra_data, tpm.clock, 1, &name, &qualified)
    }

    /// The whole way in with this key, whose statement (made from the binding) is spoiled.
    fn enrol(&self, role: DeviceRole, key: &Key, spoil: impl FnOnce(&mut Answer, &[u8; 32])) -> Outcome {
        let offered = OfferedOwnership { platform: None, device_keys: vec![self.device(role, key, |_| {})] };
        let invitation = self.stage.invite_offering(offered).map_err(|uninvited| uninvited.code())?;
        let drawn = self.stage.draw(invitation, Purpose::Enrol);
        assert_eq!(drawn.ask.residency, [role]);
        let mut answer = self.stage.answer(&drawn);
        let binding = self.stage.tpm.binding(&drawn.ask, &drawn.nonce, &self.stage.trust_domain);
        let statement = self.states(key, &binding, &self.stage.tpm.ak.public);
        answer.residency = vec![(role, statement.clone(), key.sign(&statement))];
        spoil(&mut answer, &binding);
        self.stage.complete(&drawn, &answer)
    }

    fn offer_device(&self, key: OfferedDeviceKey) -> Result<usize, &'static str> {
        let offered = OfferedOwnership { platform: None, device_keys: vec![key] };
        self.offer(offered).map(|ownership| ownership.devices.len())
    }
}

fn key(attributes: u32) -> Key {
    Key::new(Attributes::from_bits(attributes), ECDSA_SHA256)
}

#[test]
fn a_device_key_that_speaks_for_the_attestation_key_is_the_machines_and_stays_on_record() {
    for (role, attributes) in [(DeviceRole::Iak, IAK), (DeviceRole::IdevId, IDEVID)] {
        let (made, key) = (Made::new(), key(attributes));
        let verified = made.enrol(role, &key, |_, _| {}).unwrap();
        let claims = verified.claims();
        let device = claims.ownership.device(role).unwrap();
        assert_eq!((device.serial.as_str(), device.spki_sha256), ("D-9", crypto::sha256(&[&key.spki()])));
        // it comes back by its quote alone
        let known = KnownTpm::parse(&claims.known().encode()).unwrap();
        let returning = holdfast_evidence::tpm::Invitation::returning(known, &made.stage.wanted, NodeKeyProof::Certify);
        let drawn = made.stage.draw(returning.unwrap(), Purpose::Return);
        assert!(drawn.ask.residency.is_empty());
        let again = made.stage.complete(&drawn, &made.stage.answer(&drawn)).unwrap();
        assert_eq!(again.claims().ownership.device(role), Some(device));
    }
}

#[test]
fn an_iak_certificate_copied_to_another_tpm_is_refused() {
    let (made, theirs) = (Made::new(), key(IAK));
    let silent = made.enrol(DeviceRole::Iak, &theirs, |answer, _| answer.residency.clear());
    assert_eq!(refused(silent), "tpm.iak.residency");
    // signed by a key that is here
    let here = key(IAK);
    let forged = made.enrol(DeviceRole::Iak, &theirs, |answer, _| {
        let signature = here.sign(&answer.residency[0].1);
        answer.residency[0].2 = signature;
    });
    assert_eq!(refused(forged), "tpm.residency.signature");
    // with the public area of a key that is here
    let mut offered = made.device(DeviceRole::Iak, &theirs, |_| {});
    offered.public = here.public.sized();
    assert_eq!(made.offer_device(offered), Err("tpm.iak.public_mismatch"));
}

#[test]
fn what_a_device_key_states_is_about_this_attestation_key_and_this_challenge() {
    let (made, iak) = (Made::new(), key(IAK));
    let stating = |statement: &dyn Fn(&[u8; 32]) -> Vec<u8>| {
        refused(made.enrol(DeviceRole::Iak, &iak, |answer, binding| {
            let attest = statement(binding);
            answer.residency = vec![(DeviceRole::Iak, attest.clone(), iak.sign(&attest))];
        }))
    };
    let ak = &made.stage.tpm.ak.public;
    let other = Key::new(Attributes::AK_TEMPLATE, ECDSA_SHA256);
    assert_eq!(stating(&|binding| made.states(&iak, binding, &other.public)), "tpm.residency.name");
    assert_eq!(stating(&|_| made.states(&iak, &[1; 32], ak)), "tpm.residency.nonce");
    assert_eq!(stating(&|_| made.states(&iak, &[], ak)), "tpm.residency.nonce");
    assert_eq!(stating(&|binding| made.stage.tpm.quote(binding, &made.stage.wanted.selection)), "tpm.residency.type");
    let changed = |at: usize| {
        move |made: &Made, iak: &Key, binding: &[u8; 32]| {
            let mut attest = made.states(iak, binding, &made.stage.tpm.ak.public);
            attest[at] ^= 1;
            attest
        }
    };
    assert_eq!(stating(&|binding| changed(3)(&made, &iak, binding)), "tpm.residency.magic");
    assert_eq!(stating(&|binding| changed(20)(&made, &iak, binding)), "tpm.residency.signer");
    let elsewhere = |binding: &[u8; 32]| {
        let (signer, name) = (iak.public.name().qualified_in(Hierarchy::Endorsement), ak.name());
        let parent = name.qualified_under(&Name::of(name.alg(), &[b"parent"]));
        Attest::encode_certify(&signer, binding, made.stage.tpm.clock, 1, &name, &parent)
    };
    assert_eq!(stating(&elsewhere), "tpm.residency.name");
    let scheme = made.enrol(DeviceRole::Iak, &iak, |answer, _| answer.residency[0].2[3] = 4);
    assert_eq!(refused(scheme), "tpm.residency.scheme");
}

#[test]
fn a_statement_that_nobody_asked_for_is_refused() {
    let made = Made::new();
    let idevid = key(IDEVID);
    let outcome = made.stage.enrol_with(|answer| {
        let attest = answer.quote.clone();
        answer.residency = vec![(DeviceRole::IdevId, attest.clone(), idevid.sign(&attest))];
    });
    assert_eq!(refused(outcome), "tpm.idevid.residency");
}

#[test]
fn an_iak_that_is_the_attestation_key_has_spoken_by_its_quote() {
    let made = Made::new();
    let ak = made.stage.tpm.ak.again();
    let outcome = made.enrol(DeviceRole::Iak, &ak, |answer, _| answer.residency.clear());
    assert!(outcome.unwrap().claims().ownership.device(DeviceRole::Iak).is_some());
}

#[test]
fn every_attribute_of_a_device_key_counts() {
    let made = Made::new();
    // how use is authorised says nothing about what is signed
    let free = [6, 7, 10];
    for (role, attributes, code) in
        [(DeviceRole::Iak, IAK, "tpm.iak.attributes"), (DeviceRole::IdevId, IDEVID, "tpm.idevid.attributes")]
    {
        for bit in (0..32).filter(|bit| !free.contains(bit)) {
            let offered = made.device(role, &key(attributes ^ 1 << bit), |_| {});
            assert_eq!(made.offer_device(offered), Err(code), "bit {bit}");
        }
    }
    let unbound = Key::new(Attributes::from_bits(IAK), Scheme::Null);
    assert_eq!(made.offer_device(made.device(DeviceRole::Iak, &unbound, |_| {})), Err("tpm.iak.kind"));
    let free = Key::new(Attributes::from_bits(IDEVID), Scheme::Null);
    assert_eq!(made.offer_device(made.device(DeviceRole::IdevId, &free, |_| {})), Ok(1));
}

#[test]
fn a_device_certificate_names_the_tpm_that_its_key_is_in() {
    let (made, iak, idevid) = (Made::new(), key(IAK), key(IDEVID));
    let offer = |role, key: &Key, extension: Option<rcgen::CustomExtension>| {
        made.offer_device(made.device(role, key, |params| params.custom_extensions = extension.into_iter().collect()))
    };
    let other = naming(&hex::encode([7; 32]));
    assert_eq!(offer(DeviceRole::Iak, &iak, Some(other.clone())), Err("tpm.iak.holder"));
    assert_eq!(offer(DeviceRole::IdevId, &idevid, Some(other)), Err("tpm.idevid.holder"));
    assert_eq!(offer(DeviceRole::Iak, &iak, None), Err("tpm.iak.residency"));
    assert_eq!(offer(DeviceRole::IdevId, &idevid, None), Err("tpm.idevid.residency"));
    let module_of = |serial: &str| offer(DeviceRole::IdevId, &idevid, Some(module(serial)));
    assert_eq!(module_of("48460000:00:42"), Err("tpm.idevid.holder"));
    // not a serial number as the TCG writes it: it names nobody
    assert_eq!(module_of("42"), Err("tpm.idevid.residency"));
}

#[test]
fn the_certificate_of_an_ordinary_key_makes_no_iak_whatever_attributes_the_host_claims() {
    let (made, iak) = (Made::new(), key(IAK));
    let offer = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        made.offer_device(made.device(DeviceRole::Iak, &iak, |params| {
            (params.custom_extensions, params.extended_key_usages) = (Vec::new(), purposes);
        }))
    };
    let other = |arc| ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, arc]);
    assert_eq!(offer(Vec::new()), Err("tpm.iak.residency"));
    assert_eq!(offer(vec![other(1), ExtendedKeyUsagePurpose::ClientAuth]), Err("tpm.iak.purpose"));
    assert_eq!(offer(vec![ExtendedKeyUsagePurpose::Any]), Err("tpm.iak.residency"));
    // tcg-kp-AIKCertificate: the maker says what kind of key it is
    assert_eq!(offer(vec![other(3)]), Ok(1));
    // A certificate that names the TPM, and says that the key is for something else: that of an IDevID.
    let named = |purposes: Vec<ExtendedKeyUsagePurpose>| {
        made.offer_device(made.device(DeviceRole::Iak, &iak, |params| params.extended_key_usages = purposes))
    };
    assert_eq!(named(vec![ExtendedKeyUsagePurpose::ClientAuth]), Err("tpm.iak.purpose"));
    assert_eq!(named(Vec::new()), Ok(1));
    assert_eq!(named(vec![ExtendedKeyUsagePurpose::ClientAuth, other(3)]), Ok(1));
}

#[test]
fn device_certificates_have_dates_purposes_and_roots_of_their_own() {
    let (made, iak) = (Made::new(), key(IAK));
    let spoiled = |spoil: fn(&mut CertificateParams)| made.offer_device(made.device(DeviceRole::Iak, &iak, spoil));
    assert_eq!(spoiled(|params| params.not_after = rcgen::date_time_ymd(2025, 1, 1)), Err("tpm.iak.expired"));
    assert_eq!(spoiled(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement]), Err("tpm.iak.purpose"));
    let mut other = Made::new();
    other.maker.ca = Ca::root("another");
    let theirs = other.device(DeviceRole::Iak, &iak, |_| {});
    assert_eq!(made.offer_device(theirs), Ok(0));
    let twice = made.device(DeviceRole::Iak, &iak, |_| {});
    let offered = OfferedOwnership { platform: None, device_keys: vec![twice.clone(), twice] };
    assert_eq!(made.offer(offered).unwrap_err(), "tpm.iak.malformed");
}
