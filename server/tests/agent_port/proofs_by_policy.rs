//! Proofs of decisions that rest on a waiver or on a version for some nodes; and the samples that attacks on proofs start
//! from.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_appraisal::{Document as AppraisedDocument, Policy};
use holdfast_proof::{Conclusion, ProofBundle};
use holdfast_server::clock;
use holdfast_server::store::{Document, Mode, NewVersion, NextRollout, PolicyDraft, RolloutState, Scope};

use crate::house::{BY, House};
use crate::proofs::{checked, latest, proof_of};
use crate::virtual_tpm::{Spoil, VirtualTpm};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/proof/tests/samples");

fn path_of(spiffe_id: &str) -> &str {
    spiffe_id.strip_prefix("spiffe://example.org").unwrap()
}

fn with_waiver(node: &str, until: &str) -> String {
    format!(
        "[rule.require]\ntpm.secure_boot.enabled = {{ equals = false }}\n\
         [[waiver]]\nname = \"repair\"\nreason = \"a board on the bench\"\nowner = \"jane@example.org\"\n\
         valid_until = {until}\nnode = \"{node}\"\nrule = \"rack\"\n\
         facts = [\"tpm.secure_boot.enabled\"]\n\
         [waiver.instead]\ntpm.secure_boot.enabled = {{ equals = true }}\n"
    )
}

#[tokio::test]
async fn an_admission_by_a_waiver_is_proven_at_the_moment_of_then() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    let node = path_of(&admitted.spiffe_id).to_owned();
    house.apply(&with_waiver(&node, "2100-01-01T00:00:00Z")).await;
    let applied = house.store.policies().await.unwrap().remove(0).digest;
    let text = house.store.policy(applied).await.unwrap().unwrap().documents.remove(0).text;
    let parsed = Policy::parse(AppraisedDocument { name: "lab.toml", text: &text }, &[]);
    assert!(parsed.is_ok(), "{parsed:#?}");
    house.own(&tpm, &admitted).await.renew(&mut tpm, &house.boot).await.unwrap();
    let bundle = proof_of(&house, &latest(&house).await).await;
    let report = checked(&bundle);
    assert_eq!((report.conclusion, report.verdict.as_str()), (Conclusion::Proven, "admitted"), "{report:#?}");
    assert!(bundle.decision.as_ref().unwrap().contains("\"repair\""), "{:?}", bundle.decision);

    // Without the waiver the same machine is refused, and that is proven as well; neither's policy proves the other.
    house.apply(&with_waiver(&node, "2020-02-01T00:00:00Z")).await;
    house.own(&tpm, &admitted).await.renew(&mut tpm, &house.boot).await.unwrap_err();
    let refused = proof_of(&house, &latest(&house).await).await;
    let report = checked(&refused);
    assert_eq!((report.conclusion, report.verdict.as_str()), (Conclusion::Proven, "refused"), "{report:#?}");
    let exchanged = ProofBundle { policies: bundle.policies.clone(), ..refused };
    assert!(checked(&exchanged).failures().contains(&"proof.policy"));
}

#[tokio::test]
async fn a_decision_by_a_version_for_some_nodes_names_that_version() {
    let house = House::open().await;
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    let selectors = house.node(&admitted.spiffe_id).await.fixed;
    assert!(!selectors.is_empty());
    let text = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"pilot\"\n\
                [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\nselectors = [\"tpm.secure_boot.enabled\"]\n\
                [[rule]]\nname = \"pilot-rack\"\nownership = \"inventory\"\ntrust_classes = [\"discrete\"]\n\
                [rule.require]\ntpm.secure_boot.enabled = { equals = true }\n";
    let documents = vec![Document { name: "pilot.toml".to_owned(), text: text.to_owned() }];
    let draft = PolicyDraft { name: "pilot".to_owned(), documents, mode: Mode::Enforce, message: String::new() };
    let pilot = draft.digest();
    let state = house.store.rollout().await.unwrap().state;
    let scopes = vec![Scope { selectors: selectors.into_iter().collect::<BTreeSet<_>>(), policy: pilot }];
    let next = NextRollout {
        versions: vec![NewVersion { draft, signature: None, waivers: Vec::new() }],
        state: RolloutState { scopes, ..state },
        action: "promote",
        message: String::new(),
        restored: None,
        refused: 0,
        proposal: None,
    };
    house.store.roll_out(next, BY, clock::now()).await.unwrap().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    house.own(&tpm, &admitted).await.renew(&mut tpm, &house.boot).await.unwrap();
    let bundle = proof_of(&house, &latest(&house).await).await;
    let report = checked(&bundle);
    assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
    assert!(report.policy.as_ref().unwrap().starts_with("pilot "), "{:?}", report.policy);
    assert!(report.explanation.contains("pilot-rack"), "{}", report.explanation);
    assert_eq!(bundle.policies.len(), 1);

    // An unknown machine is judged by the version for all others.
    let mut other = house.machine().await;
    house.enrol(&mut other).await;
    let report = checked(&proof_of(&house, &latest(&house).await).await);
    assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
    assert!(report.policy.as_ref().unwrap().starts_with("lab "), "{:?}", report.policy);
}

/// Makes the samples of `crates/proof/tests` again, after a change of what is kept:
/// `HOLDFAST_REGENERATE=1 cargo test -p holdfast-server --test agent_port samples`.
#[tokio::test]
async fn samples_like_those_of_the_proof_crate_are_proven() {
    let rewrite = std::env::var_os("HOLDFAST_REGENERATE").is_some();
    let house = House::open().await;
    let made = async |name: &str| {
        let bundle = proof_of(&house, &latest(&house).await).await;
        assert_eq!(checked(&bundle).conclusion, Conclusion::Proven);
        if rewrite {
            std::fs::create_dir_all(SAMPLES).unwrap();
            std::fs::write(Path::new(SAMPLES).join(name), bundle.encode()).unwrap();
        }
    };
    let mut tpm = VirtualTpm::that_comes_again(&house.vendor);
    house.allow(&tpm).await;
    let admitted = house.enrol(&mut tpm).await;
    made("admitted.proof").await;
    house.own(&tpm, &admitted).await.renew(&mut tpm, &house.boot).await.unwrap();
    made("renewed.proof").await;
    let mut spoilt = house.machine().await;
    spoilt.spoil = Spoil::QuoteSignature;
    house.stranger().await.attest(&mut spoilt, &house.boot).await.unwrap_err();
    made("refused-evidence.proof").await;
    house.apply("[rule.require]\ntpm.secure_boot.enabled = { equals = false }\n").await;
    house.stranger().await.attest(&mut tpm, &house.boot).await.unwrap_err();
    made("refused-policy.proof").await;
}
