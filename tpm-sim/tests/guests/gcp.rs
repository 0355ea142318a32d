//! Google Cloud instances: NV indices in front of a real swtpm, its quotes, and what our own verifier makes of them.

use std::sync::Arc;

use holdfast_appraisal::facts;
use holdfast_evidence::gcp::{GcpClaims, GcpEndorsements, GcpEvidence, GcpItem};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSelection, PcrSet, Public, Signed};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, TrustClass, Verified};
use holdfast_tpm_sim::guest::vtpm::gcp::GcpSpec;
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};
use ring::digest::{SHA256, digest};

use crate::lab;
use crate::policy::assert_refused;
use crate::stage::{Question, attack, attacked, now};
use crate::tpm::Running;

fn launch(name: &str, spec: &GcpSpec) -> Running {
    Running::launch(&format!("test-gcp-{name}"), &GuestSpec::Gcp(Box::new(spec.clone())))
}

/// PCRs of the firmware, of GRUB and of shim.
pub(crate) fn selection() -> PcrSelection {
    let more = [8, 9, 14].into_iter().filter_map(PcrIndex::new);
    PcrSelection { bank: Bank::Sha256, pcrs: more.fold(PcrSet::FIRMWARE, |set, pcr| set.with(pcr)) }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

fn verify(running: &Running) -> Result<Verified<GcpClaims>, &'static str> {
    let question = Question::of_quote(EvidenceKind::Gcp, selection());
    let mut tpm = running.tpm();
    let defined = tpm.handles(0x01c1_0000);
    let (certificate, template) =
        if defined.contains(&0x01c1_0002) { (0x01c1_0002, 0x01c1_0003) } else { (0x01c1_0000, 0x01c1_0001) };
    let (certificate, template) = (tpm.provided(certificate), tpm.provided(template));
    let (key, public) = tpm.primary(&template);
    let log = running.firmware_log();
    let ak = sha256(&Public::parse(&public).unwrap().key().spki());
    let binding = question.binding(&ak, Some(&sha256(&log)));
    let (attest, signature) = tpm.quote(key, &binding, &question.selection().encode());
    tpm.flush(key);
    let item = GcpItem {
        ak_certificates: vec![&certificate],
        ak_public: &public,
        quote: Signed { attest: &attest, signature: &signature },
        firmware_log: Some(&log),
        pcr_claims: Vec::new(),
    }
    .encode();
    let evidence = GcpEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    let authority = lab().gcp().unwrap();
    let mut roots = Roots::new();
    roots.add(Anchor::new(authority.root(), TrustClass::Simulated).unwrap());
    roots.add_intermediate(authority.intermediate()).unwrap();
    let endorsements = GcpEndorsements { roots: Arc::new(roots), verified: Vec::new() };
    evidence.verify(&endorsements, &binding, now()).map_err(|refusal| refusal.code())
}

#[test]
fn an_instance_is_verified_by_either_of_its_keys() {
    for (name, ecc) in [("ecc", true), ("rsa", false)] {
        let spec = GcpSpec { ecc, ..GcpSpec::default() };
        let running = launch(name, &spec);
        let verified = verify(&running).unwrap_or_else(|code| panic!("{code}"));
        let instance = &verified.claims().instance;
        assert_eq!((instance.instance_id, instance.project_id.as_str()), (spec.instance_id, "holdfast-simulator"));
        assert_eq!(instance.security.unwrap().production, Some(true));
        assert!(verified.claims().boot.boot().is_some_and(|boot| !boot.boot_applications.is_empty()));
    }
}

#[test]
fn a_relaunched_instance_has_another_id_and_another_key() {
    let running = launch("relaunched", &GcpSpec::default());
    let before = verify(&running).unwrap();
    let mut spec = running.guest.spec().unwrap();
    spec.relaunch();
    running.guest.keep(&spec).unwrap();
    let after = verify(&running).unwrap();
    assert_ne!(before.claims().instance.instance_id, after.claims().instance.instance_id);
    assert_ne!(before.claims().ak_spki_sha256, after.claims().ak_spki_sha256);
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::Gcp, name);
    let honest = GuestSpec::Gcp(Box::default());
    let GuestSpec::Gcp(spec) = &honest else { panic!("no instance") };
    let running = launch(name, spec);
    let before = verify(&running).unwrap();
    running.guest.keep(&attacked(honest.clone(), attack)).unwrap();
    let after = verify(&running);
    if attack.refused_as == Some(BY_POLICY) {
        let pcrs = &before.claims().boot.pcrs;
        let pinned = [4, 7, 8, 9].map(|pcr| {
            let digest = pcrs.get(PcrIndex::new(pcr).unwrap()).unwrap();
            format!("tpm.pcr.{pcr} = \"{}\"", hex::encode(digest.as_bytes()))
        });
        let demands = format!(
            "gcp.instance_id = \"{}\"\ngcp.project_number = \"{}\"\ngcp.production = true\n{}",
            spec.instance_id,
            spec.project_number,
            pinned.join("\n")
        );
        let (before, after) = (facts::gcp(before.claims()), facts::gcp(after.unwrap().claims()));
        assert_refused("gcp", "gcp.instance_id", &demands, &before, &after);
    } else {
        assert_eq!(after.map(drop).err(), attack.refused_as);
    }
}

crate::refused! { GuestKind::Gcp, refuse;
    tampered_image secure_boot_off other_project same_name test_environment own_root certificate_of_another_key
    expired_certificate certificate_of_an_authority certificate_for_encryption no_instance replayed_quote other_selection
    no_pcrs tampered_quote event_omitted event_of_another_digest event_log_cut
}
