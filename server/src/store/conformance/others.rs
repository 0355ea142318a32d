//! Policies and the bundle.

use super::*;

on_each_store! {
    one_version_is_in_force_and_the_same_text_is_the_same_version,
    the_bundles_sequence_rises_with_its_content_alone,
}

fn policy(text: &str, mode: Mode) -> PolicyDraft {
    let document = Document { name: "p.toml".to_owned(), text: text.to_owned() };
    PolicyDraft { name: "p".to_owned(), documents: vec![document], mode, message: "why".to_owned() }
}

async fn one_version_is_in_force_and_the_same_text_is_the_same_version(store: Arc<dyn Store>) {
    let apply = |draft| store.apply_policy(draft, operator(), NOW);
    let first = apply(policy("a", Mode::Enforce)).await.unwrap();
    let second = apply(policy("b", Mode::Enforce)).await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(store.policy_in(Mode::Enforce).await.unwrap().unwrap(), second);
    assert_eq!(store.policy(first.digest).await.unwrap().unwrap().mode, Mode::Retired);
    let back = apply(policy("a", Mode::Enforce)).await.unwrap();
    assert_eq!((back.number, back.digest), (1, first.digest));
    apply(policy("b", Mode::Observe)).await.unwrap();
    assert_eq!(store.policy_in(Mode::Observe).await.unwrap().unwrap().number, 2);
    let list = store.policies().await.unwrap();
    let modes: Vec<_> = list.iter().map(|version| (version.number, version.mode)).collect();
    assert_eq!(modes, [(2, Mode::Observe), (1, Mode::Enforce)]);
    // Promoted, it is observed no more.
    apply(policy("b", Mode::Enforce)).await.unwrap();
    assert_eq!(store.policy_in(Mode::Observe).await.unwrap(), None);
    assert!(list.iter().all(|version| version.documents.is_empty()));
}

async fn the_bundles_sequence_rises_with_its_content_alone(store: Arc<dyn Store>) {
    let publish = |der: &[u8]| store.publish_authority(der.to_vec(), operator(), NOW);
    assert_eq!(publish(b"one").await.unwrap().sequence, 1);
    assert_eq!(publish(b"one").await.unwrap().sequence, 1);
    let two = publish(b"two").await.unwrap();
    assert_eq!((two.sequence, two.authorities[1].der.as_slice()), (2, b"two".as_slice()));
    let one = store.withdraw_authority(Sha256::of(b"one"), operator(), NOW).await.unwrap();
    assert_eq!((one.sequence, one.authorities.len()), (3, 1));
    assert_eq!(store.bundle().await.unwrap(), one);
}
