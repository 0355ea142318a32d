//! A quote of a real instance, judged as its provenance says. It answers another tool's challenge, so that the checks are
//! made one by one. Reads `shared/vectors/cvm`.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_evidence::crypto::{Curve, HashAlg, PublicKey, SignatureAlg, SignatureValue, sha256};
use holdfast_evidence::gcp::{Instance, Unverified, checks};
use holdfast_evidence::snp::bundle;
use holdfast_evidence::tpm::{
    AttestationKey, Attributes, Bank, KeyPlace, PcrIndex, PcrSelection, Public, QuoteAsked, QuotedBoot, Scheme,
    Signature, Signed,
};
use holdfast_evidence::x509::manifest::known_root;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use serde_json::Value;

use crate::vectors;

/// 2026-11-21.
const TODAY: UnixTime = UnixTime(1_795_219_200);

#[derive(Clone)]
struct Real {
    nonce: Vec<u8>,
    /// Leaf, intermediate, root.
    chain: Vec<Vec<u8>>,
    key: PublicKey,
    attest: Vec<u8>,
    /// r and s.
    signature: (Vec<u8>, Vec<u8>),
    pcrs: Vec<(PcrIndex, Vec<u8>)>,
    now: UnixTime,
}

fn folder() -> Option<PathBuf> {
    vectors::folder().map(|folder| folder.join("cvm")).filter(|folder| folder.is_dir())
}

fn real() -> Option<Real> {
    let json = std::fs::read(folder()?.join("gcp-vtpm/sev-guest-ak-quote.json")).unwrap();
    let value: Value = serde_json::from_slice(&json).unwrap();
    let hex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let key = &value["ak_pubkeys"]["ecc_p256"];
    let tpm = &value["attestation"]["tpm"]["ecc_p256"];
    let signature = hex(&tpm["signature"]);
    // SEQUENCE { INTEGER r, INTEGER s }, 32 bytes each
    let (r, s) = (signature[4..36].to_vec(), signature[38..70].to_vec());
    let pcrs = value["pcrs"]["sha256"].as_object().unwrap();
    let mut pcrs: Vec<_> =
        pcrs.iter().map(|(pcr, value)| (PcrIndex::new(pcr.parse().unwrap()).unwrap(), hex(value))).collect();
    pcrs.sort();
    Some(Real {
        nonce: hex(&value["nonce"]),
        chain: bundle(value["attestation"]["gcp"]["ak_cert_chain"].as_str().unwrap().as_bytes()).unwrap(),
        key: PublicKey::ec(Curve::P256, &hex(&key["x"]), &hex(&key["y"])).unwrap(),
        attest: hex(&tpm["attest_data"]),
        signature: (r, s),
        pcrs,
        now: TODAY,
    })
}

impl Real {
    fn judge(&self) -> Result<(Instance, QuotedBoot), Unverified> {
        let pem = std::fs::read(folder().unwrap().join("roots/gcp-ek-ak-ca-root.pem")).unwrap();
        let root = bundle(&pem).unwrap().remove(0);
        let mut roots = Roots::new();
        roots.add(Anchor::new(&root, TrustClass::Cloud).unwrap());
        let roots = Arc::new(roots);
        let certificate = checks::leaf(&self.chain[0])?;
        checks::dates(&certificate, self.now)?;
        let above: Vec<&[u8]> = self.chain[1..].iter().map(Vec::as_slice).collect();
        checks::chain(&certificate, &above, &roots, self.now)?;
        let instance = Instance::of(&certificate)?;
        // go-tpm-tools' template, without noDA
        let attributes = Attributes::AK_TEMPLATE.without(Attributes::NO_DA);
        let scheme = Scheme::Signing { algorithm: SignatureAlg::Ecdsa, hash: HashAlg::Sha256.id() };
        let area = Public::encode(&self.key, HashAlg::Sha256, attributes, &[], None, scheme);
        let area = Public::parse(&area)?;
        checks::key(&certificate, area.key())?;
        let ak = AttestationKey::check(&area)?;
        let (r, s) = (&self.signature.0, &self.signature.1);
        let signature = Signature::encode(SignatureAlg::Ecdsa, HashAlg::Sha256, SignatureValue::Ecdsa { r, s });
        let signed = Signed { attest: &self.attest, signature: &signature };
        let selection = PcrSelection { bank: Bank::Sha256, pcrs: PcrIndex::all().collect() };
        let asked = QuoteAsked { extra_data: &self.nonce, selection };
        let claims: Vec<_> = self.pcrs.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect();
        Ok((instance, QuotedBoot::verify(&signed, &ak, KeyPlace::Endorsement, &asked, None, &claims)?))
    }

    fn code(&self) -> &'static str {
        self.judge().map_or_else(|refusal| refusal.code(), |_| "accepted")
    }
}

#[test]
fn a_real_instance_verifies_and_is_the_one_of_its_provenance() {
    let Some(real) = real() else { return };
    let (instance, boot) = real.judge().unwrap();
    assert_eq!((instance.zone.as_str(), instance.project_id.as_str()), ("us-central1-f", "lockboot"));
    assert_eq!(instance.instance_id, 0x2f61_d1c7_b72d_f40c);
    assert_eq!(instance.instance_name, "instance-20260202-065609");
    assert_eq!(instance.security.unwrap().production, Some(true));
    assert_eq!(boot.pcrs.iter().count(), 24);
    // 2026-02-02, and the thirty years of its certificate
    assert_eq!(Real { now: UnixTime(1_770_015_467), ..real.clone() }.code(), "accepted");
    assert_eq!(Real { now: UnixTime(1_770_015_466), ..real.clone() }.code(), "gcp.ak.expired");
    assert_eq!(Real { now: UnixTime(2_716_000_000), ..real.clone() }.code(), "accepted");
    assert_eq!(Real { now: UnixTime(2_717_000_000), ..real }.code(), "gcp.ak.expired");
}

#[test]
fn no_byte_of_the_real_quote_its_signature_or_its_registers_may_change() {
    let Some(real) = real() else { return };
    for at in 0..real.attest.len() {
        let mut changed = real.clone();
        changed.attest[at] ^= 1 << (at % 8);
        assert_ne!(changed.code(), "accepted", "quote byte {at}");
    }
    for at in 0..32 {
        let mut changed = real.clone();
        changed.signature.0[at] ^= 1;
        assert_eq!(changed.code(), "tpm.quote.signature");
        let mut changed = real.clone();
        changed.signature.1[at] ^= 1;
        assert_eq!(changed.code(), "tpm.quote.signature");
    }
    for register in 0..24 {
        let mut changed = real.clone();
        changed.pcrs[register].1[0] ^= 1;
        assert_eq!(changed.code(), "tpm.quote.pcr_digest", "PCR {register}");
    }
    let mut relabelled = real;
    let eight = relabelled.pcrs[8].1.clone();
    relabelled.pcrs[8].1 = relabelled.pcrs[9].1.clone();
    relabelled.pcrs[9].1 = eight;
    assert_eq!(relabelled.code(), "tpm.quote.pcr_digest");
}

#[test]
fn no_byte_of_the_real_chain_may_change() {
    let Some(real) = real() else { return };
    for (depth, certificate) in real.chain[..2].iter().enumerate() {
        for at in 0..certificate.len() {
            let mut changed = real.clone();
            changed.chain[depth][at] ^= 1 << (at % 8);
            assert_ne!(changed.code(), "accepted", "certificate {depth} byte {at}");
        }
    }
}

/// The reader of certificates takes any class of the outermost tag.
#[test]
fn no_bit_of_the_first_bytes_of_a_certificate_has_a_second_value() {
    let Some(real) = real() else { return };
    for depth in 0..2 {
        for bit in 0..32 {
            let mut changed = real.clone();
            changed.chain[depth][bit / 8] ^= 1 << (bit % 8);
            assert_ne!(changed.code(), "accepted", "certificate {depth} bit {bit}");
        }
    }
}

/// Google's other hierarchy, whose intermediate is found beside it.
#[test]
fn attestation_keys_below_googles_other_root_are_certified() {
    let Some(folder) = vectors::folder() else { return };
    let folder = folder.join("tpm/go-tpm-tools");
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let root = read("gce-cas/tpm_ek_root_1.cer");
    let known = known_root(&sha256(&[&root])).unwrap();
    assert_eq!((known.class, known.kinds[0]), (TrustClass::Cloud, EvidenceKind::Gcp));
    let mut roots = Roots::new();
    roots.add(Anchor::new(&root, known.class).unwrap());
    let intermediate = read("gce-cas/tpm_ek_intermediate_3.crt");
    for file in ["uca_tpm_ecc_sign_cert.pem", "uca_tpm_rsa_sign_cert.pem"] {
        let der = bundle(&read(&format!("gce-ek-ak-certs/{file}"))).unwrap().remove(0);
        let leaf = checks::leaf(&der).unwrap();
        checks::dates(&leaf, TODAY).unwrap();
        checks::chain(&leaf, &[&intermediate], &roots, TODAY).unwrap();
        assert_eq!(Instance::of(&leaf).unwrap().zone, "us-central1-a");
        let refused = checks::chain(&leaf, &[], &roots, TODAY).unwrap_err();
        let words = "certificate of the attestation key: no imported root leads to issuer 1 of the certificate";
        assert_eq!((refused.code(), refused.to_string().as_str()), ("chain.untrusted", words));
    }
}

/// Certificates of other instances are read too.
#[test]
fn certificates_of_other_real_instances_name_them() {
    let Some(folder) = vectors::folder() else { return };
    let pem = std::fs::read(folder.join("tpm/gcp-vtpm/certs/akcert.pem")).unwrap();
    let der = bundle(&pem).unwrap().remove(0);
    let instance = Instance::of(&checks::leaf(&der).unwrap()).unwrap();
    assert_eq!((instance.project_id.as_str(), instance.instance_name.as_str()), ("core-eso", "instance-1"));
    // the EK's certificate names the same instance, and is none of an attestation key
    let pem = std::fs::read(folder.join("tpm/gcp-vtpm/certs/ekcert.pem")).unwrap();
    let der = bundle(&pem).unwrap().remove(0);
    assert_eq!(checks::leaf(&der).unwrap_err().code(), "gcp.ak.certificate");
}
