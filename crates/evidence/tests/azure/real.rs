//! Evidence of real Azure machines, judged as its provenance says. It answers other tools' challenges, so that the checks
//! are made one by one. Reads `shared/vectors/cvm`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::azure::{
    AzureEndorsements, HardwareReport, HclReport, RuntimeData, Unverified, VerifiedHardware, checks,
    verify_ak_certificate,
};
use holdfast_evidence::crypto::{HashAlg, SignatureAlg, SignatureValue, sha256};
use holdfast_evidence::snp::{self, SnpEndorsements, bundle};
use holdfast_evidence::tdx::{self, CollateralParts, KnownCollateral, TdxEndorsements, pck_chain};
use holdfast_evidence::tpm::{
    AttestationKey, Bank, KeyPlace, PcrIndex, PcrSelection, QuoteAsked, QuotedBoot, Signature, Signed, SignedQuote,
};
use holdfast_evidence::x509::manifest::known_root;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use serde_json::Value;

use crate::vectors;

/// 2026-11-21.
const TODAY: UnixTime = UnixTime(1_795_219_200);
/// 2026-06-08, when the full set was taken.
const JUNE: UnixTime = UnixTime(1_780_922_561);

/// A real machine's evidence.
#[derive(Clone)]
pub(crate) struct Real {
    pub(crate) name: &'static str,
    pub(crate) now: UnixTime,
    pub(crate) nonce: Vec<u8>,
    pub(crate) hcl: Vec<u8>,
    pub(crate) attest: Vec<u8>,
    /// Bare.
    pub(crate) signature: Vec<u8>,
    pub(crate) pcrs: Vec<Vec<u8>>,
    /// VCEK and its issuer.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) td_quote: Option<Vec<u8>>,
    pub(crate) collateral: Option<Vec<u8>>,
}

fn folder() -> Option<PathBuf> {
    vectors::folder().map(|folder| folder.join("cvm")).filter(|folder| folder.is_dir())
}

fn read(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap()
}

fn der(pem: &[u8]) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem).unwrap().1.contents
}

/// The machines whose evidence is whole: its hardware report can be verified. None where there are no vectors.
pub(crate) fn machines() -> Vec<Real> {
    let Some(folder) = folder() else { return Vec::new() };
    let ask = read(&folder, "roots/amd-milan-ask.der");
    let json = |file: &str| -> Value { serde_json::from_slice(&read(&folder, file)).unwrap() };
    let mut machines = Vec::new();
    let v0 = json("azure-snp-vtpm/evidence-v0.json");
    let numbers =
        |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u8).collect::<Vec<u8>>();
    machines.push(Real {
        name: "SNP v0",
        now: TODAY,
        nonce: b"challenge".to_vec(),
        hcl: numbers(&v0["report"]),
        attest: numbers(&v0["quote"]["message"]),
        signature: numbers(&v0["quote"]["signature"]),
        pcrs: v0["quote"]["pcrs"].as_array().unwrap().iter().map(numbers).collect(),
        certificates: vec![der(v0["vcek"].as_str().unwrap().as_bytes()), ask.clone()],
        td_quote: None,
        collateral: None,
    });
    for (name, file) in [("SNP v1", "evidence-v1.json"), ("SNP v2", "evidence-v2.json")] {
        let value = json(&format!("azure-snp-vtpm/{file}"));
        let vcek = URL_SAFE_NO_PAD.decode(value["vcek"].as_str().unwrap().trim_end_matches('=')).unwrap();
        let nonce = if name == "SNP v1" { b"challenge".to_vec() } else { user_data(&hcl_of(&value))[..48].to_vec() };
        machines.push(Real { certificates: vec![vcek, ask.clone()], ..of_json(name, TODAY, nonce, &value) });
    }
    let old = read(&folder, "azure-snp-vtpm/old-v2-report/quote.bincode");
    machines.push(Real {
        name: "SNP old",
        now: TODAY,
        nonce: b"challenge".to_vec(),
        hcl: read(&folder, "azure-snp-vtpm/old-v2-report/hcl-report.bin"),
        signature: old[8..264].to_vec(),
        attest: old[272..394].to_vec(),
        pcrs: old[402..].chunks(32).map(<[u8]>::to_vec).collect(),
        certificates: bundle(&read(&folder, "azure-snp-vtpm/old-v2-report/vcek-and-chain.pem")).unwrap(),
        td_quote: None,
        collateral: None,
    });
    let full = |file: &str| read(&folder, &format!("azure-tdx-vtpm/full-2026-06-ak-cert/{file}"));
    machines.push(Real {
        name: "TDX full",
        now: JUNE,
        nonce: vec![0; 32],
        hcl: full("hcl-report.bin"),
        attest: full("tpm-quote-message.bin"),
        signature: full("tpm-quote-signature.bin"),
        pcrs: full("pcrs-sha256-24x32.bin").chunks(32).map(<[u8]>::to_vec).collect(),
        certificates: Vec::new(),
        td_quote: Some(full("td-quote.bin")),
        collateral: Some(full("collateral.json")),
    });
    machines
}

fn hcl_of(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value["hcl_report"].as_str().unwrap().trim_end_matches('=')).unwrap()
}

fn user_data(hcl: &[u8]) -> [u8; 64] {
    RuntimeData::parse(HclReport::parse(hcl).unwrap().runtime_data).unwrap().user_data.unwrap()
}

fn of_json(name: &'static str, now: UnixTime, nonce: Vec<u8>, value: &Value) -> Real {
    let hex = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    Real {
        name,
        now,
        nonce,
        hcl: hcl_of(value),
        attest: hex(&value["tpm_quote"]["message"]),
        signature: hex(&value["tpm_quote"]["signature"]),
        pcrs: value["tpm_quote"]["pcrs"].as_array().unwrap().iter().map(hex).collect(),
        certificates: Vec::new(),
        td_quote: value["td_quote"].as_str().map(|text| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap()),
        collateral: None,
    }
}

fn roots(files: &[&str], class: TrustClass) -> Arc<Roots> {
    let folder = folder().unwrap();
    let mut roots = Roots::new();
    for file in files {
        let bytes = read(&folder, &format!("roots/{file}"));
        let bytes = if file.ends_with("pem") { der(&bytes) } else { bytes };
        roots.add(Anchor::new(&bytes, class).unwrap());
    }
    Arc::new(roots)
}

impl Real {
    pub(crate) fn endorsements(&self) -> AzureEndorsements {
        let snp = SnpEndorsements {
            roots: roots(&["amd-milan-ark.der", "amd-genoa-ark.der"], TrustClass::Firmware),
            ..SnpEndorsements::default()
        };
        let mut tdx = TdxEndorsements {
            roots: roots(&["intel-sgx-root-ca.der"], TrustClass::Firmware),
            ..TdxEndorsements::default()
        };
        if let (Some(quote), Some(collateral)) = (&self.td_quote, &self.collateral) {
            let quote = tdx::Quote::parse(quote).unwrap();
            let kind = pck_chain(&quote, &tdx.roots, self.now).unwrap().platform().kind;
            let mut parts = CollateralParts::new();
            parts.add(collateral).unwrap();
            tdx.collateral = KnownCollateral::Fetched(Arc::new(parts.collateral(kind).unwrap()));
        }
        let roots = roots(&["azure-virtual-tpm-root-2023.pem"], TrustClass::Cloud);
        AzureEndorsements { roots, verified: Vec::new(), snp, tdx }
    }

    /// The hardware report inside the HCL report, and that it is about the runtime data.
    pub(crate) fn hardware(&self, endorsements: &AzureEndorsements) -> Result<VerifiedHardware, Unverified> {
        let hcl = HclReport::parse(&self.hcl)?;
        match hcl.hardware {
            HardwareReport::Snp(report) => {
                let report = snp::verify_report(report, &self.certificates, &endorsements.snp, self.now)?;
                checks::runtime_data(&report.report().report_data(), hcl.runtime_data)?;
                checks::paravisor(report.report())?;
                Ok(VerifiedHardware::Snp(Box::new(report)))
            }
            HardwareReport::Tdx(td_report) => {
                let quote = self.td_quote.as_deref().unwrap();
                checks::runtime_data(hcl.hardware.td_report_data().unwrap(), hcl.runtime_data)?;
                checks::td_report(td_report, &tdx::Quote::parse(quote)?.report)?;
                let quote = tdx::verify_quote(quote, &endorsements.tdx, self.now)?;
                checks::runtime_data(&quote.report().report_data, hcl.runtime_data)?;
                Ok(VerifiedHardware::Tdx(Box::new(quote)))
            }
        }
    }

    /// The quote by the key that the paravisor names.
    pub(crate) fn quote(&self) -> Result<QuotedBoot, Unverified> {
        let runtime_data = RuntimeData::parse(HclReport::parse(&self.hcl)?.runtime_data)?;
        let area = checks::area(&runtime_data.ak)?;
        let ak = AttestationKey::check(&area)?;
        let signature = Signature::encode(SignatureAlg::Rsassa, HashAlg::Sha256, SignatureValue::Rsa(&self.signature));
        let signed = Signed { attest: &self.attest, signature: &signature };
        let selection = PcrSelection { bank: Bank::Sha256, pcrs: PcrIndex::all().collect() };
        let asked = QuoteAsked { extra_data: &self.nonce, selection };
        let quote = SignedQuote::verify(&signed, &ak, KeyPlace::Endorsement, &asked)?;
        let claims: Vec<_> = PcrIndex::all().zip(self.pcrs.iter().map(Vec::as_slice)).collect();
        Ok(quote.prove(None, &claims)?)
    }

    /// All of it, in the order of the verifier.
    pub(crate) fn judge(&self, endorsements: &AzureEndorsements) -> Result<VerifiedHardware, Unverified> {
        // a cheap refusal first
        let quote = self.quote()?;
        assert_eq!(quote.pcrs.iter().count(), 24);
        self.hardware(endorsements)
    }
}

#[test]
fn every_whole_machine_verifies() {
    for real in machines() {
        let hardware = real.judge(&real.endorsements()).unwrap_or_else(|refusal| panic!("{}: {refusal}", real.name));
        let root = if real.td_quote.is_some() { "Intel SGX Root CA" } else { "ARK-Milan" };
        assert_eq!(hardware.root().name, root, "{}", real.name);
    }
}

#[test]
fn the_facts_are_those_of_the_provenance() {
    for real in machines() {
        let runtime_data = RuntimeData::parse(HclReport::parse(&real.hcl).unwrap().runtime_data).unwrap();
        let configuration = &runtime_data.configuration;
        assert_eq!((configuration.secure_boot, configuration.console_enabled), (Some(true), Some(true)));
        let hardware = real.judge(&real.endorsements()).unwrap();
        let (id, says) = match &hardware {
            VerifiedHardware::Snp(report) => {
                let report = report.report();
                assert_eq!((report.vmpl(), report.has_id_block()), (0, true));
                let id_key = hex::encode(&report.id_key_digest()[..4]);
                (configuration.vm_unique_id.as_str(), format!("{id_key} {}", report.guest_svn()))
            }
            VerifiedHardware::Tdx(quote) => {
                assert_eq!(quote.report().rt_mr, [[0; 48]; 4]);
                (configuration.vm_unique_id.as_str(), hex::encode(&quote.report().mr_td[..4]))
            }
        };
        let expected = match real.name {
            "SNP v0" | "SNP v1" => ("26f8bc30-774e-4290-8e7a-535f3b672aee", "942fd93e 10"),
            "SNP v2" => ("7df7b373-b947-4aaa-96e5-c358f2a03d20", "942fd93e 12"),
            "SNP old" => ("911b0ef8-9dba-48b0-b275-4e4df2d39252", "03562158 5"),
            "TDX full" => ("3c18c97a-0d2a-4565-969d-166cdcef26a3", "ff450b13"),
            other => panic!("{other}"),
        };
        assert_eq!((id, says.as_str()), expected, "{}", real.name);
    }
}

#[test]
fn collateral_of_june_is_expired_today() {
    for real in machines().into_iter().filter(|real| real.td_quote.is_some()) {
        let endorsements = real.endorsements();
        let today = Real { now: TODAY, ..real };
        assert!(today.hardware(&endorsements).unwrap_err().code().starts_with("tdx.collateral."));
    }
}

#[test]
fn the_attestation_key_of_june_is_certified_by_azure() {
    let Some(folder) = folder() else { return };
    let full = |file: &str| read(&folder, &format!("azure-tdx-vtpm/full-2026-06-ak-cert/{file}"));
    let mut certificates = bundle(&full("ak-cert.pem")).unwrap();
    certificates.extend(bundle(&full("ak-intermediates.pem")).unwrap());
    let all: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
    let hcl = full("hcl-report.bin");
    let ak = RuntimeData::parse(HclReport::parse(&hcl).unwrap().runtime_data).unwrap().ak;
    let roots = roots(&["azure-virtual-tpm-root-2023.pem"], TrustClass::Cloud);
    let certificate = verify_ak_certificate(&all, &ak, &roots, JUNE).unwrap();
    assert_eq!(certificate.subject, "2ede2d532aaf.ConfidentialVM.Azure.windows.net");
    assert_eq!(certificate.root.name, "Azure Virtual TPM Root Certificate Authority 2023");
    // 2027-06-07
    assert_eq!(certificate.not_after, UnixTime(1_812_326_400));
    assert!(verify_ak_certificate(&all, &ak, &roots, TODAY).is_ok());
    let next_year = UnixTime(1_812_326_401);
    assert_eq!(verify_ak_certificate(&all, &ak, &roots, next_year).unwrap_err().code(), "azure.ak.expired");
    let refused = verify_ak_certificate(&all[..1], &ak, &roots, JUNE).unwrap_err();
    assert_eq!(refused.code(), "chain.untrusted");
    let words = "certificate of the attestation key: no imported root leads to issuer 1 of the certificate";
    assert_eq!(refused.to_string(), words);
    let expired = verify_ak_certificate(&all, &ak, &roots, next_year).unwrap_err().to_string();
    assert!(expired.ends_with("to 2027-06-07T00:00:00Z, now is 2027-06-07T00:00:01Z"), "{expired}");
    // no bit of the first bytes of the certificate or of its issuers has a second value
    for depth in 0..2 {
        for bit in 0..32 {
            let mut spoiled = certificates.clone();
            spoiled[depth][bit / 8] ^= 1 << (bit % 8);
            let spoiled: Vec<&[u8]> = spoiled.iter().map(Vec::as_slice).collect();
            assert!(verify_ak_certificate(&spoiled, &ak, &roots, JUNE).is_err(), "certificate {depth} bit {bit}");
        }
    }
    for (file, name) in [
        ("azure-virtual-tpm-root-2023.pem", "Azure Virtual TPM Root CA 2023"),
        ("microsoft-rsa-devices-root-ca-2021.pem", "Microsoft RSA Devices Root CA 2021"),
    ] {
        let known = known_root(&sha256(&[&der(&read(&folder, &format!("roots/{file}")))])).unwrap();
        assert_eq!((known.name, known.class, known.kinds), (name, TrustClass::Cloud, &[EvidenceKind::Azure][..]));
    }
    for other in machines().iter().filter(|real| real.name.starts_with("SNP")) {
        let other = RuntimeData::parse(HclReport::parse(&other.hcl).unwrap().runtime_data).unwrap().ak;
        assert_eq!(verify_ak_certificate(&all, &other, &roots, JUNE).unwrap_err().code(), "azure.ak.key_mismatch");
    }
}

/// Quotes whose TD quote has no collateral at hand: all but the TCB.
#[test]
fn quotes_without_collateral_are_bound_to_their_hcl_report() {
    let Some(folder) = folder() else { return };
    for (name, file, mrtd) in
        [("TDX v1", "evidence-v1.json", None), ("TDX live", "live-2026-user-data.json", Some("273828c4"))]
    {
        let value: Value = serde_json::from_slice(&read(&folder, &format!("azure-tdx-vtpm/{file}"))).unwrap();
        let nonce = if name == "TDX v1" { b"challenge".to_vec() } else { b"attestation-test-fixture".to_vec() };
        let real = of_json(name, TODAY, nonce, &value);
        real.quote().unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let hcl = HclReport::parse(&real.hcl).unwrap();
        checks::runtime_data(hcl.hardware.td_report_data().unwrap(), hcl.runtime_data).unwrap();
        let quote = real.td_quote.as_deref().unwrap();
        let quote = tdx::Quote::parse(quote).unwrap();
        checks::runtime_data(&quote.report.report_data, hcl.runtime_data).unwrap();
        let HardwareReport::Tdx(td_report) = hcl.hardware else { panic!("{name}: no TDREPORT") };
        checks::td_report(td_report, &quote.report).unwrap();
        if let Some(mrtd) = mrtd {
            assert_eq!(hex::encode(&quote.report.mr_td[..4]), mrtd);
            assert_eq!(&user_data(&real.hcl)[..24], b"attestation-test-fixture");
        }
        tdx::checks::quote_signature(&quote).unwrap();
        let refused = real.hardware(&real.endorsements()).map(|_| ()).unwrap_err();
        // the paravisor of 2024 did without SEPT_VE_DISABLE, which no TD may
        let expected = if name == "TDX v1" { "tdx.td.sept_ve" } else { "tdx.collateral.missing" };
        assert_eq!(refused.code(), expected, "{name}");
    }
}

/// A TDREPORT and a quote of two machines, whose report data alone is made the same.
#[test]
fn a_real_tdreport_does_not_fit_another_ones_quote() {
    let Some(folder) = folder() else { return };
    let mut found = Vec::new();
    for file in ["evidence-v1.json", "live-2026-user-data.json"] {
        let value: Value = serde_json::from_slice(&read(&folder, &format!("azure-tdx-vtpm/{file}"))).unwrap();
        found.push(of_json("TDX", TODAY, Vec::new(), &value));
    }
    let quote = tdx::Quote::parse(found[1].td_quote.as_deref().unwrap()).unwrap();
    let hcl = HclReport::parse(&found[0].hcl).unwrap();
    let HardwareReport::Tdx(td_report) = hcl.hardware else { panic!("no TDREPORT") };
    let mut mixed = *td_report;
    mixed[128..192].copy_from_slice(&quote.report.report_data);
    assert_eq!(checks::td_report(&mixed, &quote.report), Err(Unverified::TdReport { field: "TEE_TCB_SVN" }));
}

#[test]
fn no_machine_verifies_with_another_ones_report() {
    let all = machines();
    for real in &all {
        for other in all.iter().filter(|other| {
            // v0 and v1 are two quotes of one machine
            other.name != real.name && !(other.name.ends_with(['0', '1']) && real.name.ends_with(['0', '1']))
        }) {
            let mixed = Real { hcl: other.hcl.clone(), ..real.clone() };
            assert!(mixed.quote().is_err(), "{} with {}", real.name, other.name);
        }
    }
}

/// The reports that az-cvm-vtpm tests its parser with, one of them of an early preview.
#[test]
fn reports_of_az_cvm_vtpm_are_read() {
    let Some(folder) = vectors::folder() else { return };
    let folder = folder.join("tpm/azure-cvm-tooling/quotes");
    for (file, id, keys) in [
        ("hcl-report-snp.bin", "baefd3e1-184b-4c4c-ab88-0bdad260505f", false),
        ("hcl-report-tdx.bin", "d270e56b-f668-4990-a5bc-9b624576841d", true),
    ] {
        let bytes = read(&folder, file);
        let hcl = HclReport::parse(&bytes).unwrap();
        let data = RuntimeData::parse(hcl.runtime_data).unwrap();
        assert_eq!((data.configuration.vm_unique_id.as_str(), data.ek.is_some()), (id, keys), "{file}");
        let report_data = match hcl.hardware {
            HardwareReport::Snp(report) => snp::Report::parse(report).unwrap().report_data(),
            HardwareReport::Tdx(_) => *hcl.hardware.td_report_data().unwrap(),
        };
        checks::runtime_data(&report_data, hcl.runtime_data).unwrap();
    }
}
