//! Endorsements: what operators import is recorded and told; what the server keeps by itself is neither, but for CRLs.

use super::*;
use holdfast_evidence::EvidenceKind;

on_each_store! {
    endorsements_are_imported_once_for_each_kind_and_withdrawn_for_all,
    an_import_of_roots_is_told_and_one_of_keys_is_not,
    what_the_server_keeps_is_not_in_the_record,
    collateral_stands_in_place_of_that_about_the_same,
    a_newer_list_stands_in_place_of_the_old_and_is_recorded,
    endorsements_are_listed_in_the_order_of_import,
    the_trusted_are_read_without_the_many_others,
    what_the_server_kept_goes_after_its_end_and_what_operators_brought_stays,
    keys_that_the_server_kept_are_bounded_and_the_oldest_go,
}

fn draft(role: EndorsementRole, content: &[u8]) -> EndorsementDraft {
    EndorsementDraft {
        role,
        serves: EvidenceKind::Snp.into(),
        content: content.to_vec(),
        class: if role == EndorsementRole::Root { "firmware".to_owned() } else { String::new() },
        name: "maker".to_owned(),
        subject: "CN=Root".to_owned(),
        about: String::new(),
        not_after: NOW.plus(1000),
        source: EndorsementSource::File,
        fetched_at: NOW,
    }
}

fn about(role: EndorsementRole, content: &[u8], about: &str) -> EndorsementDraft {
    EndorsementDraft { about: about.to_owned(), source: EndorsementSource::Service, ..draft(role, content) }
}

async fn all(store: &dyn Store) -> Vec<Endorsement> {
    store.endorsements(Which::After { number: 0, limit: 0 }).await.unwrap()
}

async fn endorsements_are_imported_once_for_each_kind_and_withdrawn_for_all(store: Arc<dyn Store>) {
    let root = |class: &str, serves: EvidenceKind| EndorsementDraft {
        class: class.to_owned(),
        serves: serves.into(),
        ..draft(EndorsementRole::Root, &[1, 2, 3])
    };
    let import = |class, serves| store.import_endorsements(vec![root(class, serves)], operator(), NOW);
    assert_eq!(import("discrete", EvidenceKind::Tpm).await.unwrap(), 1);
    assert_eq!(import("firmware", EvidenceKind::Tpm).await.unwrap(), 0);
    assert_eq!(import("firmware", EvidenceKind::Snp).await.unwrap(), 1);
    let held = all(&*store).await;
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|held| held.draft.class == "firmware"));
    let withdraw = || store.withdraw_endorsement(held[0].sha256, operator(), NOW);
    assert!(withdraw().await.unwrap());
    assert!(!withdraw().await.unwrap());
    assert!(all(&*store).await.is_empty());
    assert_eq!(audit(&*store).await.acts, 4);
}

async fn an_import_of_roots_is_told_and_one_of_keys_is_not(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    let key = about(EndorsementRole::Vek, &[1], "vcek/1");
    store.import_endorsements(vec![key], operator(), NOW).await.unwrap();
    assert!(heard(&mut changes).is_empty(), "machines need not attest anew");
    assert_eq!(store.head().await.unwrap().size, 1, "but it is an operator's act");
    store.import_endorsements(vec![draft(EndorsementRole::Root, &[2])], operator(), NOW).await.unwrap();
    assert_eq!(heard(&mut changes).len(), 1);
}

async fn what_the_server_keeps_is_not_in_the_record(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    let drafts = vec![
        about(EndorsementRole::Vek, &[1], "vcek/1"),
        about(EndorsementRole::Intermediate, &[2], "ca/1"),
        about(EndorsementRole::Collateral, &[3], "tdx/1"),
    ];
    store.keep_endorsements(drafts.clone(), NOW).await.unwrap();
    store.keep_endorsements(drafts, NOW).await.unwrap();
    assert_eq!(all(&*store).await.len(), 3);
    assert_eq!(store.head().await.unwrap().size, 0);
    assert!(heard(&mut changes).is_empty());
    let found = store.endorsements(Which::About("vcek/1".to_owned())).await.unwrap();
    assert_eq!((found.len(), found[0].draft.content.as_slice()), (1, [1].as_slice()));
    assert!(store.endorsements(Which::About(String::new())).await.unwrap().is_empty());
}

async fn collateral_stands_in_place_of_that_about_the_same(store: Arc<dyn Store>) {
    let keep = |content: u8, on: &'static str, at: UnixTime| {
        let draft = EndorsementDraft { fetched_at: at, ..about(EndorsementRole::Collateral, &[content], on) };
        store.keep_endorsements(vec![draft], at)
    };
    for (content, on) in [(1, "tdx/a"), (2, "tdx/b"), (3, "tdx/a")] {
        keep(content, on, NOW).await.unwrap();
    }
    let contents: Vec<u8> = all(&*store).await.iter().map(|held| held.draft.content[0]).collect();
    assert_eq!(contents, [2, 3]);
    keep(3, "tdx/a", NOW.plus(60)).await.unwrap();
    let held = store.endorsements(Which::Collateral).await.unwrap();
    assert_eq!((held.len(), held[0].draft.fetched_at), (2, NOW.plus(60)), "confirmed is as good as new");
    let brought = EndorsementDraft {
        source: EndorsementSource::File,
        not_after: NOW.plus(2000),
        ..about(EndorsementRole::Collateral, &[4], "tdx/a")
    };
    store.import_endorsements(vec![brought], operator(), NOW).await.unwrap();
    let held = store.endorsements(Which::About("tdx/a".to_owned())).await.unwrap();
    assert_eq!(held.iter().map(|held| held.draft.content[0]).collect::<Vec<_>>(), [4, 3], "the last end first");
}

async fn a_newer_list_stands_in_place_of_the_old_and_is_recorded(store: Arc<dyn Store>) {
    let mut changes = store.changes();
    let keep = |content: u8, end: i64| {
        let draft = EndorsementDraft { not_after: NOW.plus(end), ..about(EndorsementRole::Crl, &[content], "crl/1") };
        store.keep_endorsements(vec![draft], NOW)
    };
    for (content, end) in [(1, 10), (1, 10), (2, 20), (3, 15)] {
        keep(content, end).await.unwrap();
    }
    let held = all(&*store).await;
    assert_eq!((held.len(), held[0].draft.content[0]), (1, 2), "the list that ends last");
    assert_eq!(store.head().await.unwrap().size, 2);
    assert_eq!(heard(&mut changes).len(), 2);
}

async fn endorsements_are_listed_in_the_order_of_import(store: Arc<dyn Store>) {
    for content in 0..10 {
        store.import_endorsements(vec![draft(EndorsementRole::Vek, &[content])], operator(), NOW).await.unwrap();
    }
    let (mut contents, mut number) = (Vec::new(), 0);
    loop {
        let page = store.endorsements(Which::After { number, limit: 3 }).await.unwrap();
        let Some(last) = page.last() else { break };
        number = last.number;
        contents.extend(page.iter().map(|held| held.draft.content[0]));
    }
    assert_eq!(contents, (0..10).collect::<Vec<u8>>());
}

async fn the_trusted_are_read_without_the_many_others(store: Arc<dyn Store>) {
    let drafts = EndorsementRole::ALL.into_iter().zip(0..).map(|(role, content)| draft(role, &[content])).collect();
    store.import_endorsements(drafts, operator(), NOW).await.unwrap();
    let trusted = store.endorsements(Which::Trust).await.unwrap();
    assert_eq!(trusted.len(), 3);
    assert!(trusted.iter().all(|held| held.draft.role.is_trust()));
    let counts = store.count_endorsements().await.unwrap();
    assert_eq!(counts.len(), 5);
    assert!(counts.iter().all(|of| of.count == 1 && of.first_end == NOW.plus(1000)));
}

async fn what_the_server_kept_goes_after_its_end_and_what_operators_brought_stays(store: Arc<dyn Store>) {
    store.keep_endorsements(vec![about(EndorsementRole::Vek, &[1], "vcek/1")], NOW).await.unwrap();
    store.import_endorsements(vec![draft(EndorsementRole::Vek, &[2])], operator(), NOW).await.unwrap();
    store.prune(NOW.plus(2000)).await.unwrap();
    assert_eq!(all(&*store).await.len(), 2, "it has ended, but not long ago");
    store.prune(NOW.plus(40 * 86_400)).await.unwrap();
    assert_eq!(all(&*store).await.iter().map(|held| held.draft.content[0]).collect::<Vec<_>>(), [2]);
}

async fn keys_that_the_server_kept_are_bounded_and_the_oldest_go(store: Arc<dyn Store>) {
    store.import_endorsements(vec![draft(EndorsementRole::Vek, &[99])], operator(), NOW).await.unwrap();
    for content in 0..8 {
        let at = NOW.plus(i64::from(content));
        let name = format!("vcek/{content}");
        let key = EndorsementDraft { fetched_at: at, ..about(EndorsementRole::Vek, &[content], &name) };
        store.keep_endorsements(vec![key], at).await.unwrap();
    }
    store.prune(NOW.plus(10)).await.unwrap();
    let contents: Vec<u8> = all(&*store).await.iter().map(|held| held.draft.content[0]).collect();
    assert_eq!(contents, [99, 3, 4, 5, 6, 7]);
}
