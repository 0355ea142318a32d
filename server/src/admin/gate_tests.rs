//! What no state of the rollout gets past: a second person, signatures, one bank, selectors that choose, and the record.

use std::collections::BTreeSet;

use holdfast_protocol::admin;
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};

use super::rollout_tests::{MILD, STRICT, apply, code, policy, with};
use crate::clock;
use crate::record::Leaf;
use crate::rollout::{Approval, PolicyKey, RolloutSettings, signed_message};
use crate::store::{
    Actor, Document, Mode, NewVersion, NextRollout, PolicyDigest, PolicyDraft, PolicySignature, RolloutState,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_person_brings_back_what_was_just_before_and_nothing_else() {
    let settings = RolloutSettings { approval: Approval::TwoPersons, ..RolloutSettings::default() };
    let (operated, mut policies) = with(settings).await;
    let other = Actor::Operator { uid: 0x7fff_fffe, name: "grace".to_owned() };
    let compiled = |name: &str, require: &str| {
        let document = policy(name, require);
        let documents = vec![Document { name: document.name, text: document.text }];
        PolicyDraft { name: name.to_owned(), documents, mode: Mode::Enforce, message: String::new() }
    };
    for (name, require) in [("first", MILD), ("second", STRICT)] {
        operated.store.apply_policy(compiled(name, require), other.clone(), clock::now()).await.unwrap();
    }
    let state = operated.store.rollout().await.unwrap().state;
    let scope = || BTreeSet::from(["tpm:manufacturer:id:MAKER".parse().unwrap()]);
    let next = NextRollout {
        versions: Vec::new(),
        state: state.enforce(compiled("first", MILD).digest(), scope()),
        action: "policy.enforce",
        message: String::new(),
        restored: None,
        refused: 0,
        proposal: None,
    };
    operated.store.roll_out(next, other, clock::now()).await.unwrap().unwrap();
    let back = |to, selectors: &[&str]| {
        let selectors = selectors.iter().map(|text| (*text).to_owned()).collect();
        admin::RollbackPolicyRequest { to, selectors, ..Default::default() }
    };
    for request in [back(0, &["tpm:manufacturer:id:MAKER"]), back(1, &[]), back(2, &[])] {
        let proposed = policies.rollback(request).await.unwrap().into_inner();
        assert!(proposed.rollout.is_none(), "{proposed:?}");
        assert_eq!(proposed.proposal.unwrap().state, "open");
    }
    // Each says in the record what is proposed.
    let maker = "tpm:manufacturer:id:MAKER";
    let (first, second) =
        (compiled("first", MILD).digest().to_string(), compiled("second", STRICT).digest().to_string());
    let mut proposed = Vec::new();
    for entry in operated.store.ledger_entries(0, 1_000).await.unwrap() {
        if let Ok(Leaf::Act(act)) = Leaf::parse(&entry.leaf)
            && act["action"] == "policy.propose"
        {
            proposed.push(act["detail"].clone());
        }
    }
    for (detail, (policy, name, selectors, restored)) in proposed.iter().zip([
        (&second, "second", vec![maker], 2),
        (&first, "first", vec![], 1),
        (&second, "second", vec![], 2),
    ]) {
        let expected = serde_json::json!({ "policy": policy, "name": name, "mode": "enforce", "selectors": selectors });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&detail[field], value, "{detail}");
        }
        assert_eq!(detail["restored"], restored, "{detail}");
    }
    assert_eq!(proposed.len(), 3);
    for (to, refused) in [(99, "rollout.state.unknown"), (u64::MAX, "rollout.state.unknown"), (3, "rollout.state.same")]
    {
        assert_eq!(code(policies.rollback(back(to, &[])).await), refused);
    }
    let done = policies.rollback(back(0, &[])).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!((done.action.as_str(), done.scopes.len(), done.restored), ("policy.rollback", 0, 2));
    let further = policies.rollback(back(0, &[])).await.unwrap().into_inner();
    let proposal = further.proposal.unwrap();
    assert_eq!(proposal.what, "bring back what state 1 enforced for every node");
    // What was said is done, whatever was enforced meanwhile.
    let third = Actor::Operator { uid: 4321, name: "jane".to_owned() };
    operated.store.apply_policy(compiled("third", STRICT), third.clone(), clock::now()).await.unwrap();
    let done = operated.admin.approve_proposal(proposal.number, third).await.unwrap().rollout.unwrap();
    assert_eq!((done.restored, done.enforced.unwrap().name.as_str()), (1, "first"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_brought_back_is_of_one_bank_and_of_selectors_that_still_choose() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    let of_bank = |name: &str, bank: &str| {
        let document = policy(name, MILD);
        let text = document.text.replace("[issue]", &format!("pcr_bank = \"{bank}\"\n[issue]"));
        let documents = vec![Document { name: document.name, text }];
        PolicyDraft { name: name.to_owned(), documents, mode: Mode::Enforce, message: String::new() }
    };
    let (here, there) = (of_bank("here", "sha256"), of_bank("there", "sha384"));
    let versions =
        [&here, &there].map(|draft| NewVersion { draft: draft.clone(), signature: None, waivers: Vec::new() });
    let roll = async |state: RolloutState| {
        let next = NextRollout {
            versions: versions.to_vec(),
            state,
            action: "policy.enforce",
            message: String::new(),
            restored: None,
            refused: 0,
            proposal: None,
        };
        operated.store.roll_out(next, Actor::Server, clock::now()).await.unwrap().unwrap().state
    };
    let (maker, root) = ("tpm:manufacturer:id:MAKER", "tpm:root:00");
    let scope = |text: &str| BTreeSet::from([text.parse().unwrap()]);
    let state = roll(RolloutState::default().enforce(here.digest(), BTreeSet::new())).await;
    let state = roll(state.enforce(here.digest(), scope(root))).await;
    let state = roll(state.enforce(there.digest(), scope(maker))).await;
    roll(state.enforce(here.digest(), BTreeSet::new())).await;
    let back = |to, selectors: &[&str]| {
        let selectors = selectors.iter().map(|text| (*text).to_owned()).collect();
        admin::RollbackPolicyRequest { to, selectors, ..Default::default() }
    };
    // As an older server would have let them in.
    assert_eq!(code(policies.rollback(back(3, &[maker])).await), "rollout.bank");
    assert_eq!(code(policies.rollback(back(2, &[root])).await), "rollout.selector");
    assert_eq!(code(policies.rollback(back(0, &[])).await), "rollout.selector", "not even at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waivers_of_a_policy_stand_in_the_record_by_name_owner_and_end() {
    let (operated, mut policies) = with(RolloutSettings::default()).await;
    let waiver = "[[waiver]]\nname = \"old-tpms\"\nrule = \"rack\"\nnode = \"/holdfast/node/tpm/aa\"\nfacts = \
                  [\"tpm.firmware_version\"]\nowner = \"ada\"\nreason = \"ordered\"\nvalid_until = 2099-01-01T00:00:00Z\n";
    let mut document = policy("waiving", &format!("{MILD}\n{STRICT}"));
    document.text.push_str(waiver);
    let applied = policies.apply(apply(document, "enforce", None)).await.unwrap().into_inner();
    assert!(applied.policy.is_some(), "{:?}", applied.findings);
    let acts: Vec<_> = operated.store.ledger_entries(0, 100).await.unwrap();
    let acts = acts.iter().filter_map(|entry| match Leaf::parse(&entry.leaf) {
        Ok(Leaf::Act(act)) if act["action"] == "policy.apply" => Some(act),
        _ => None,
    });
    let details: Vec<_> = acts.map(|act| act["detail"].clone()).collect();
    let [detail] = details.as_slice() else { panic!("{details:?}") };
    assert_eq!(detail["waivers_in_all"], 1);
    let named = &detail["waivers"][0];
    assert_eq!(
        (&named["kind"], &named["name"], &named["owner"]),
        (&"waiver".into(), &"old-tpms".into(), &"ada".into())
    );
    assert_eq!(named["valid_until"], 4_070_908_800_i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_signatures_are_demanded_nothing_unsigned_decides_anew_by_whichever_way() {
    let (ours, theirs) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate().unwrap());
    let listed = PolicyKey::from_pem(&ours.public_key_pem()).unwrap();
    let settings = RolloutSettings { signing_keys: vec![listed.clone()], ..RolloutSettings::default() };
    let (operated, mut policies) = with(settings).await;
    let draft = |name: &str| {
        let document = policy(name, MILD);
        let documents = vec![Document { name: document.name, text: document.text }];
        PolicyDraft { name: name.to_owned(), documents, mode: Mode::Enforce, message: String::new() }
    };
    let signed = |name: &str, key: &KeyPair| admin::ApplyPolicyRequest {
        signature: key.sign(&signed_message(&draft(name).digest())).unwrap(),
        ..apply(policy(name, MILD), "observe", None)
    };
    assert_eq!(code(policies.apply(apply(policy("a", MILD), "observe", None)).await), "policy.signature.missing");
    assert_eq!(code(policies.apply(signed("a", &theirs)).await), "policy.signature.invalid");
    // The first rollout enforces the shipped policy, which nobody signed.
    policies.apply(signed("a", &ours)).await.unwrap();
    let shipped = operated.store.policy_in(Mode::Enforce).await.unwrap().unwrap();
    assert_eq!((shipped.name.as_str(), shipped.signing_key.as_str()), ("known-machines", ""));
    let promote = |version: PolicyDigest, selectors: &[&str]| admin::PromotePolicyRequest {
        version: version.to_string(),
        selectors: selectors.iter().map(|text| (*text).to_owned()).collect(),
        ..Default::default()
    };
    policies.promote(promote(draft("a").digest(), &[])).await.unwrap();
    // Back at once it may come; later it would be a way around the measurements.
    let back = || admin::RollbackPolicyRequest::default();
    let done = policies.rollback(back()).await.unwrap().into_inner().rollout.unwrap();
    assert_eq!(done.enforced.unwrap().name, "known-machines");
    policies.promote(promote(draft("a").digest(), &[])).await.unwrap();
    assert_eq!(code(policies.promote(promote(shipped.digest, &[])).await), "policy.signature.missing");
    let to = |to| admin::RollbackPolicyRequest { to, ..Default::default() };
    assert_eq!(code(policies.rollback(to(1)).await), "policy.signature.missing");
    // Versions of before the demand, one signed by a key that is not listed under the name of one that is.
    let forged = PolicySignature { key: listed.id().to_owned(), bytes: signed("c", &theirs).signature };
    let kept = [("b", None), ("c", Some(forged))];
    let versions = kept.map(|(name, signature)| NewVersion { draft: draft(name), signature, waivers: Vec::new() });
    for version in versions {
        let state = operated.store.rollout().await.unwrap().state;
        let digest = version.draft.digest();
        let scope = BTreeSet::from(["tpm:manufacturer:id:MAKER".parse().unwrap()]);
        for state in [state.enforce(digest, scope), state.enforce(draft("a").digest(), BTreeSet::new())] {
            let number = operated.store.rollout().await.unwrap().state.number;
            let next = NextRollout {
                versions: vec![version.clone()],
                state: RolloutState { number, ..state },
                action: "policy.enforce",
                message: String::new(),
                restored: None,
                refused: 0,
                proposal: None,
            };
            operated.store.roll_out(next, Actor::Server, clock::now()).await.unwrap().unwrap();
            // Neither for all while it decides about some, nor anew, nor back at once.
            for selectors in [&[][..], &["tpm:model:x"]] {
                let refused = code(policies.promote(promote(digest, selectors)).await);
                assert!(refused.starts_with("policy.signature."), "{refused}");
            }
        }
        let refused = code(policies.rollback(back()).await);
        assert!(refused.starts_with("policy.signature."), "{refused}");
    }
}
