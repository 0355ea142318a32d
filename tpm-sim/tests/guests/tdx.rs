//! TDs before `dcap-qvl` alone, and before our own verifier.

use std::sync::Arc;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use holdfast_appraisal::decision::Ownership;
use holdfast_appraisal::facts;
use holdfast_evidence::tdx::{
    CollateralParts, KnownCollateral, PckCa, PlatformKind, TdxClaims, TdxEndorsements, TdxEvidence, TdxItem,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, TrustClass, Verified};
use holdfast_tpm_sim::guest::tdx::{Documents, Measured, TdxSpec};
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};
use ring::digest::{SHA256, digest};

use crate::lab;
use crate::policy::{assert_refused, assert_same_node};
use crate::stage::{Question, attack, attacked, now, padded};

/// Every TD that is honest.
fn honest() -> Vec<TdxSpec> {
    let td = TdxSpec::default;
    let mut unregistered = td();
    unregistered.platform.instance_id = String::new();
    unregistered.platform.ca = "processor".to_owned();
    vec![
        td(),
        td().v5(),
        TdxSpec { body_type: 4, ..td().v5() },
        TdxSpec { body_type: 2, ..td().v5() },
        TdxSpec { padding: 70, ..td() },
        TdxSpec { event_log: false, ..td() },
        TdxSpec { profile: "uki".to_owned(), ..td() },
        unregistered,
    ]
}

fn documents(spec: &TdxSpec) -> Documents {
    lab().intel().unwrap().documents(spec).unwrap()
}

fn endorsements(spec: &TdxSpec) -> Result<TdxEndorsements, &'static str> {
    let mut roots = Roots::new();
    roots.add(Anchor::new(lab().intel().unwrap().root(), TrustClass::Simulated).unwrap());
    let mut parts = CollateralParts::new();
    parts.add(documents(spec).to_json().to_string().as_bytes()).map_err(|malformed| malformed.code())?;
    // what the verifier asked for is what it gets, whatever it is about
    let about = spec.collateral.fmspc.as_ref().unwrap_or(&spec.platform.fmspc);
    let fmspc = hex::decode(about).unwrap().try_into().unwrap();
    let ca = if spec.platform.ca == "platform" { PckCa::Platform } else { PckCa::Processor };
    let collateral = parts.collateral(PlatformKind { fmspc, ca }).map_err(|refusal| refusal.code())?;
    let collateral = KnownCollateral::Fetched(Arc::new(collateral));
    Ok(TdxEndorsements { roots: Arc::new(roots), collateral, service_tds: Vec::new(), pck: None })
}

fn verify(spec: &TdxSpec) -> Result<Verified<TdxClaims>, &'static str> {
    let question = Question::of(EvidenceKind::Tdx);
    let log = Measured::of(spec).unwrap().log;
    let log_digest = log.as_ref().map(|log| digest(&SHA256, log).as_ref().try_into().unwrap());
    let report_data = padded(&question.binding(&[], log_digest.as_ref()));
    let quote = lab().intel().unwrap().quote(spec, &report_data).unwrap();
    let item = TdxItem { quote: &quote, ccel: log.as_deref() }.encode();
    let evidence = TdxEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    evidence.verify(&endorsements(spec)?, &binding, now()).map_err(|refusal| refusal.code())
}

fn facts_of(spec: &TdxSpec) -> facts::Facts {
    facts::tdx(verify(spec).unwrap_or_else(|code| panic!("{code}")).claims(), &Ownership::unknown())
}

#[test]
fn dcap_qvl_accepts_every_honest_quote_by_its_strict_policy() {
    for spec in honest() {
        let intel = lab().intel().unwrap();
        let quote = intel.quote(&spec, &[7; 64]).unwrap();
        let collateral: QuoteCollateralV3 = serde_json::from_value(documents(&spec).to_json()).unwrap();
        let seconds = u64::try_from(now().seconds()).unwrap();
        let policy = QuotePolicy::strict(seconds).allow_smt(true).accepted_sgx_types(&[0, 1]);
        let claims = QuoteVerifier::new(intel.root().to_vec())
            .verify_with_policy(&quote, collateral, seconds, &policy)
            .unwrap_or_else(|error| panic!("{error:#}: {spec:?}"));
        let td = claims.report.as_td10().unwrap();
        assert_eq!((hex::encode(td.mr_td), td.report_data), (spec.mrtd.clone(), [7; 64]));
        assert_eq!(claims.tcb.eval_data_number, 18);
        assert_eq!(hex::encode(claims.platform.pck.fmspc), spec.platform.fmspc);
        let piid = claims.platform.pck.platform_instance_id.map(hex::encode).unwrap_or_default();
        assert_eq!(piid, spec.platform.instance_id);
    }
}

#[test]
fn our_verifier_accepts_every_honest_td_as_a_simulated_one() {
    for spec in honest() {
        let verified = verify(&spec).unwrap_or_else(|code| panic!("{code}: {spec:?}"));
        let claims = verified.claims();
        assert_eq!(hex::encode(claims.quote.report().mr_td), spec.mrtd);
        assert_eq!(claims.root.class, TrustClass::Simulated);
        assert_eq!(claims.quote.trailing_bytes(), spec.padding);
        assert_eq!(claims.boot.is_some(), spec.event_log);
    }
}

#[test]
fn the_event_log_proves_what_was_booted() {
    let verified = verify(&TdxSpec::default()).unwrap();
    let boot = verified.claims().boot.clone().unwrap();
    assert!(boot.secure_boot.as_ref().is_some_and(|secure_boot| secure_boot.enabled), "{:?}", boot.secure_boot);
    // shim, GRUB, kernel
    assert_eq!(boot.applications.len(), 3, "{:?}", boot.applications);
    assert!(boot.command_lines.iter().any(|line| line.text.as_ref().is_some_and(|text| text.contains("root="))));
}

#[test]
fn every_status_of_intels_reaches_the_verifier() {
    for status in ["SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate"] {
        let mut spec = TdxSpec::default();
        spec.collateral.status = status.to_owned();
        spec.collateral.advisories = vec!["INTEL-SA-00828".to_owned()];
        let verified = verify(&spec).unwrap();
        assert_eq!(verified.claims().quote.tcb().status.as_str(), status);
        assert_eq!(verified.claims().quote.tcb().advisories, ["INTEL-SA-00828"]);
    }
    // of the quoting enclave and of the module, too
    for change in [
        (|spec| spec.collateral.qe_status = "OutOfDate".to_owned()) as fn(&mut TdxSpec),
        |spec| spec.collateral.module_status = "OutOfDate".to_owned(),
        |spec| spec.platform.qe_isvsvn = 5,
    ] {
        let mut spec = TdxSpec::default();
        change(&mut spec);
        assert_eq!(verify(&spec).unwrap().claims().quote.tcb().status.as_str(), "OutOfDate");
    }
}

fn demands(spec: &TdxSpec) -> String {
    let rtmrs = Measured::of(spec).unwrap().rtmrs;
    format!(
        "tdx.mrtd = \"{}\"\ntdx.rtmr1 = \"{}\"\ntdx.rtmr2 = \"{}\"\ntdx.tcb.status = \"UpToDate\"\n\
         tdx.secure_boot.enabled = true\ntdx.platform.cached_keys = false\ntdx.platform.dynamic = false\n\
         tdx.attributes.perfmon = false",
        spec.mrtd,
        hex::encode(&rtmrs[1]),
        hex::encode(&rtmrs[2])
    )
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::Tdx, name);
    let honest = TdxSpec::default();
    let GuestSpec::Tdx(spec) = attacked(GuestSpec::Tdx(Box::new(honest.clone())), attack) else { panic!("no TD") };
    match attack.refused_as {
        Some(BY_POLICY) => {
            assert_refused("tdx", "tdx.instance", &demands(&honest), &facts_of(&honest), &facts_of(&spec));
        }
        Some(code) => assert_eq!(verify(&spec).map(drop), Err(code)),
        None => assert_same_node("tdx", "tdx.instance", &demands(&honest), &facts_of(&honest), &facts_of(&spec)),
    }
}

crate::refused! { GuestKind::Tdx, refuse;
    debug under_debug reserved_attribute exceptions_at_will migratable service_td partition own_module debug_module own_root
    no_certificate forged_certificate expired_certificate platform_as_authority no_extension revoked_platform
    revoked_authority other_platform own_quoting_enclave debug_quoting_enclave own_key other_key replayed_quote relayed_quote
    longer_report_data shorter_report_data padded_quote bytes_behind_quote re_encoded_quote tampered_quote unknown_version
    other_technology other_vendor other_key_type revoked_tcb ancient_platform unknown_module old_tcb old_quoting_enclave old_module
    cached_keys dynamic_platform performance_counters bar_raised
    foreign_platform tampered_image tampered_firmware no_event_log event_omitted event_of_another_digest events_swapped
    event_log_cut expired_collateral early_collateral forged_collateral revoked_signer other_collateral
}
