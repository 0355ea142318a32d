//! What is withdrawn, when, and on which lists it stands.

use super::*;
use holdfast_record::Leaf;

on_each_store! {
    a_ban_withdraws_the_node_and_its_workloads_and_nobody_else,
    what_is_withdrawn_is_withdrawn_once_and_named_in_the_record,
    a_deleted_entry_and_one_that_takes_back_withdraw_theirs_and_a_harmless_change_nothing,
    what_is_issued_and_withdrawn_in_one_transaction_is_withdrawn,
    an_entry_that_expires_withdraws_what_it_gave,
    an_entry_by_selectors_withdraws_what_it_gave_on_every_node,
    a_refused_quote_withdraws_what_the_node_had,
    other_selectors_withdraw_what_came_by_entries_that_are_not_the_nodes_any_more,
    numbers_of_lists_rise_and_an_older_list_never_takes_the_place_of_a_newer,
    an_entry_of_a_list_leaves_after_one_list_that_was_made_after_its_end,
    a_list_has_what_its_issuer_has_signed_and_no_more_than_fits,
    a_list_from_elsewhere_is_kept_if_it_is_newer_and_never_in_place_of_our_own,
    one_certificate_is_withdrawn_by_its_serial_number,
    what_has_ended_is_neither_withdrawn_nor_remembered,
}

const VALIDITY: ListValidity =
    ListValidity { this_update: NOW, next_update: UnixTime(NOW.0 + 3600), issuer_ends: UnixTime(NOW.0 + 86_400) };

async fn standing(store: &dyn Store, n: u8, name: &str) -> (Node, Entry) {
    let node = admit(store, enrolment(n)).await;
    let draft = entry(name, Parent::Id(node.spiffe_id.clone().unwrap()));
    (node, store.create_entry(draft, operator(), NOW).await.unwrap().unwrap())
}

fn workload(node: &Node, entry: &Entry) -> Issuance {
    let origin = Origin::Workload { node: node.number, entry: entry.number, revision: entry.revision_number };
    issuance(&entry.draft.spiffe_id, origin)
}

/// Records workload SVIDs; returns their serials.
async fn issue(store: &dyn Store, issuances: Vec<Issuance>) -> Vec<[u8; 16]> {
    let serials = issuances.iter().map(|issuance| issuance.serial).collect();
    let answers = store.record_issuances(issuances, store.revision().n, NOW).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    serials
}

/// What the next list of the usual issuer has, in the order of serials.
async fn listed(store: &dyn Store) -> Vec<[u8; 16]> {
    let draft = store.draft_revocation_list(ISSUER, VALIDITY, NOW).await.unwrap();
    let mut serials: Vec<_> = draft.revoked.iter().map(|one| one.serial).collect();
    serials.sort_unstable();
    serials
}

async fn living(store: &dyn Store, node: &Node) -> Vec<[u8; 16]> {
    store.live_svids(node.number, 0, NOW).await.unwrap().iter().map(|svid| svid.serial).collect()
}

async fn act(store: &dyn Store, node: &Node, action: NodeAction) {
    store.act(NodeTarget::Number(node.number), action, operator(), NOW).await.unwrap().unwrap();
}

fn ban() -> NodeAction {
    NodeAction::Ban { reason: "stolen".to_owned() }
}

/// The acts of the record with this name.
async fn acts(store: &dyn Store, action: &str) -> Vec<serde_json::Value> {
    let mut entries = Vec::new();
    loop {
        let page = store.ledger_entries(entries.len() as u64, 10_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        entries.extend(page);
    }
    let acts = entries.iter().filter_map(|entry| match Leaf::parse(&entry.leaf) {
        Ok(Leaf::Act(act)) => Some(act),
        _ => None,
    });
    acts.filter(|act| act["action"] == action).collect()
}

fn sorted(parts: &[&[[u8; 16]]]) -> Vec<[u8; 16]> {
    let mut all = parts.concat();
    all.sort_unstable();
    all
}

async fn a_ban_withdraws_the_node_and_its_workloads_and_nobody_else(store: Arc<dyn Store>) {
    let (node, entry) = standing(&*store, 1, "web").await;
    let (other, db) = standing(&*store, 2, "db").await;
    let own = living(&*store, &node).await;
    assert_eq!(own, [node.svid_serial.unwrap()]);
    // More than one statement's rows.
    let theirs = issue(&*store, (0..20).map(|_| workload(&node, &entry)).collect()).await;
    issue(&*store, vec![workload(&other, &db)]).await;
    let mut changes = store.changes();
    act(&*store, &node, ban()).await;
    assert_eq!(listed(&*store).await, sorted(&[&own, &theirs]));
    assert!(living(&*store, &node).await.is_empty());
    assert_eq!(living(&*store, &other).await.len(), 2);
    let told = heard(&mut changes).into_iter().any(|notice| match &*notice {
        Notice::Revoked { issuers, .. } => issuers.iter().eq([&ISSUER]),
        _ => false,
    });
    assert!(told);
}

async fn what_is_withdrawn_is_withdrawn_once_and_named_in_the_record(store: Arc<dyn Store>) {
    let (node, _) = standing(&*store, 1, "web").await;
    act(&*store, &node, ban()).await;
    act(&*store, &node, ban()).await;
    act(&*store, &node, NodeAction::Evict).await;
    let acts = acts(&*store, "svid.revoke").await;
    assert_eq!(acts.len(), 1);
    let serial = hex::encode(node.svid_serial.unwrap());
    assert_eq!(acts[0]["detail"], serde_json::json!({"reason": "privilegeWithdrawn", "serials": [serial]}));
    assert_eq!(acts[0]["by"], operator().to_string());
    assert_eq!(listed(&*store).await.len(), 1);
    assert!(audit(&*store).await.findings.is_empty());
}

async fn a_deleted_entry_and_one_that_takes_back_withdraw_theirs_and_a_harmless_change_nothing(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let db = entry("db", web.draft.parent.clone());
    let db = store.create_entry(db, operator(), NOW).await.unwrap().unwrap();
    let first = issue(&*store, vec![workload(&node, &web)]).await;
    issue(&*store, vec![workload(&node, &db)]).await;
    let change = async |draft: EntryDraft| {
        store.update_entry("web".into(), draft, None, operator(), NOW).await.unwrap().unwrap()
    };
    let mut draft = EntryDraft { x509_svid_ttl: 600, hint: "h".into(), ..web.draft.clone() };
    draft.selectors = selectors(&["unix:uid:1000"]);
    draft.dns_names = vec!["web.test".into()];
    change(draft.clone()).await;
    assert!(listed(&*store).await.is_empty(), "whoever had it may have it still");
    draft.dns_names.clear();
    let web = change(draft.clone()).await;
    assert_eq!(listed(&*store).await, first, "a DNS name less");
    let second = issue(&*store, vec![workload(&node, &web)]).await;
    draft.selectors = selectors(&["unix:uid:1000", "unix:gid:7"]);
    let web = change(draft).await;
    assert_eq!(listed(&*store).await, sorted(&[&first, &second]), "a selector more");
    let third = issue(&*store, vec![workload(&node, &web)]).await;
    store.delete_entry("web".into(), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(listed(&*store).await, sorted(&[&first, &second, &third]));
    assert_eq!(living(&*store, &node).await.len(), 2, "its own, and that of the other entry");
}

/// What is handed in together is one transaction of a store that commits in groups.
async fn what_is_issued_and_withdrawn_in_one_transaction_is_withdrawn(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let judged = store.revision().n;
    let (before, after) = (workload(&node, &web), workload(&node, &web));
    let serial = before.serial;
    let issued = store.record_issuances(vec![before], judged, NOW);
    let deleted = store.delete_entry("web".into(), operator(), NOW);
    let late = store.record_issuances(vec![after], judged, NOW);
    let (issued, deleted, late) = futures_util::future::join3(issued, deleted, late).await;
    assert!(issued.unwrap()[0].is_ok() && deleted.unwrap().is_ok());
    assert_eq!(late.unwrap()[0].as_ref().unwrap_err(), &NotRecorded::EntryGone);
    assert_eq!(listed(&*store).await, [serial]);
    assert_eq!(living(&*store, &node).await, [node.svid_serial.unwrap()]);
}

async fn an_entry_that_expires_withdraws_what_it_gave(store: Arc<dyn Store>) {
    let node = admit(&*store, enrolment(1)).await;
    let mut draft = entry("web", Parent::Id(node.spiffe_id.clone().unwrap()));
    draft.expires_at = Some(NOW.plus(60));
    let web = store.create_entry(draft, operator(), NOW).await.unwrap().unwrap();
    let serials = issue(&*store, vec![workload(&node, &web)]).await;
    store.prune(NOW.plus(61)).await.unwrap();
    assert_eq!(listed(&*store).await, serials);
}

async fn an_entry_by_selectors_withdraws_what_it_gave_on_every_node(store: Arc<dyn Store>) {
    let (first, web) = standing(&*store, 1, "web").await;
    let (second, db) = standing(&*store, 2, "db").await;
    let everywhere = entry("everywhere", Parent::Selectors(selectors(&["tpm:secure_boot:on"])));
    let everywhere = store.create_entry(everywhere, operator(), NOW).await.unwrap().unwrap();
    issue(&*store, vec![workload(&first, &web), workload(&second, &db)]).await;
    let theirs = [&first, &second].map(|node| workload(node, &everywhere));
    let theirs = issue(&*store, theirs.to_vec()).await;
    store.delete_entry("everywhere".into(), operator(), NOW).await.unwrap().unwrap();
    assert_eq!(listed(&*store).await, sorted(&[&theirs]));
    assert_eq!(acts(&*store, "svid.revoke").await.len(), 1);
}

async fn a_refused_quote_withdraws_what_the_node_had(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let serials = issue(&*store, vec![workload(&node, &web)]).await;
    let mut attempt = enrolment(1);
    attempt.way = Way::Renew;
    attempt.subject = Subject::Known(node.number);
    attempt.clock = Some(clock(5, 2000));
    attempt.verdict = Verdict::Refuse { code: "policy.no_rule_matched".to_owned(), genuine: true };
    assert_eq!(refusal(&*store, attempt).await, "policy.no_rule_matched");
    assert_eq!(listed(&*store).await, sorted(&[&[node.svid_serial.unwrap()], &serials]));
}

async fn other_selectors_withdraw_what_came_by_entries_that_are_not_the_nodes_any_more(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let by_selector = entry("fips", Parent::Selectors(selectors(&["tpm:secure_boot:on"])));
    let fips = store.create_entry(by_selector, operator(), NOW).await.unwrap().unwrap();
    issue(&*store, vec![workload(&node, &web)]).await;
    let stray = issue(&*store, vec![workload(&node, &fips)]).await;
    let mut again = enrolment(1);
    again.clock = Some(clock(5, 2000));
    admission(&mut again).selectors = selectors(&["tpm:secure_boot:off"]);
    admit(&*store, again).await;
    assert_eq!(listed(&*store).await, stray);
    assert_eq!(living(&*store, &node).await.len(), 3, "both of its own, and that of the entry that names it");
}

fn signed(number: u64, this_update: UnixTime) -> RevocationList {
    let validity = ListValidity { this_update, ..VALIDITY };
    let (signer, der) = (Signer::Intermediate, vec![u8::try_from(number).unwrap()].into());
    RevocationList { issuer: ISSUER, signer, number, validity, der }
}

async fn numbers_of_lists_rise_and_an_older_list_never_takes_the_place_of_a_newer(store: Arc<dyn Store>) {
    let draft = async || store.draft_revocation_list(ISSUER, VALIDITY, NOW).await.unwrap().number;
    assert!(!store.keep_revocation_list(signed(1, NOW), NOW).await.unwrap(), "it was never recorded");
    // Two servers, or one that died between the two.
    assert_eq!((draft().await, draft().await), (1, 2));
    assert!(store.revocation_lists().await.unwrap().is_empty());
    let mut changes = store.changes();
    assert!(store.keep_revocation_list(signed(2, NOW), NOW).await.unwrap());
    assert!(matches!(*heard(&mut changes)[0], Notice::RevocationLists { .. }));
    assert!(!store.keep_revocation_list(signed(1, NOW), NOW).await.unwrap());
    assert!(!store.keep_revocation_list(signed(2, NOW), NOW).await.unwrap());
    assert!(!store.keep_revocation_list(signed(3, NOW), NOW).await.unwrap(), "nobody has recorded it yet");
    assert_eq!(draft().await, 3);
    assert_eq!(store.revocation_lists().await.unwrap(), [signed(2, NOW)]);
    let acts = acts(&*store, "crl.sign").await;
    assert_eq!(acts.iter().map(|act| act["detail"]["number"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    // The issuer's end is the end of its lists.
    store.prune(NOW.plus(86_401)).await.unwrap();
    assert!(store.revocation_lists().await.unwrap().is_empty());
}

async fn an_entry_of_a_list_leaves_after_one_list_that_was_made_after_its_end(store: Arc<dyn Store>) {
    let (node, _) = standing(&*store, 1, "web").await;
    act(&*store, &node, ban()).await;
    let end = NOW.plus(3600);
    for (this_update, count) in [(NOW, 1), (end, 1), (end.plus(1), 1), (end.plus(1), 0)] {
        let validity = ListValidity { this_update, ..VALIDITY };
        let draft = store.draft_revocation_list(ISSUER, validity, NOW).await.unwrap();
        assert_eq!(draft.revoked.len(), count, "{this_update:?}");
        assert!(store.keep_revocation_list(signed(draft.number, this_update), NOW).await.unwrap());
    }
}

async fn a_list_has_what_its_issuer_has_signed_and_no_more_than_fits(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let other = IssuerKeyId([9; 20]);
    let of_other = Issuance { issuer: other, ..workload(&node, &web) };
    let serials = issue(&*store, vec![of_other]).await;
    for part in 0..=LIST_SERIALS_MAX / 500 {
        let longer = |issuance: Issuance| Issuance { not_after: NOW.plus(3700), ..issuance };
        let batch: Vec<_> = (0..500).map(|_| longer(workload(&node, &web))).collect();
        if part * 500 < LIST_SERIALS_MAX {
            issue(&*store, batch).await;
        }
    }
    act(&*store, &node, ban()).await;
    let draft = store.draft_revocation_list(ISSUER, VALIDITY, NOW).await.unwrap();
    assert_eq!((draft.revoked.len(), draft.left_out), (LIST_SERIALS_MAX, 1));
    assert!(!draft.revoked.iter().any(|one| Some(one.serial) == node.svid_serial), "what ends first has no room");
    let draft = store.draft_revocation_list(other, VALIDITY, NOW).await.unwrap();
    assert_eq!(draft.revoked.iter().map(|one| one.serial).collect::<Vec<_>>(), serials);
    let acts = acts(&*store, "svid.revoke").await;
    let named: usize = acts.iter().map(|act| act["detail"]["serials"].as_array().unwrap().len()).sum();
    assert!(acts.iter().all(|act| act["detail"]["serials"].as_array().unwrap().len() <= 1000) && named > 0);
}

async fn a_list_from_elsewhere_is_kept_if_it_is_newer_and_never_in_place_of_our_own(store: Arc<dyn Store>) {
    assert!(store.import_revocation_list(signed(5, NOW), NOW).await.unwrap());
    assert!(!store.import_revocation_list(signed(5, NOW), NOW).await.unwrap());
    assert!(!store.import_revocation_list(signed(4, NOW), NOW).await.unwrap());
    assert!(store.import_revocation_list(signed(6, NOW), NOW).await.unwrap());
    assert_eq!(store.revocation_lists().await.unwrap(), [RevocationList { signer: Signer::Above, ..signed(6, NOW) }]);
    assert_eq!(acts(&*store, "crl.import").await.len(), 2);
    let own = IssuerKeyId([9; 20]);
    store.draft_revocation_list(own, VALIDITY, NOW).await.unwrap();
    let foreign = RevocationList { issuer: own, ..signed(7, NOW) };
    assert!(!store.import_revocation_list(foreign, NOW).await.unwrap());
}

async fn one_certificate_is_withdrawn_by_its_serial_number(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let serials = issue(&*store, vec![workload(&node, &web), workload(&node, &web)]).await;
    let revoke =
        async || store.revoke_svid(serials[0], RevocationReason::KeyCompromise, operator(), NOW).await.unwrap();
    assert_eq!(revoke().await.map(|svid| svid.entry), Some(Some(web.number)));
    assert_eq!(revoke().await, None, "it does not live any more");
    assert_eq!(listed(&*store).await, serials[..1]);
    assert_eq!(living(&*store, &node).await.len(), 2);
}

async fn what_has_ended_is_neither_withdrawn_nor_remembered(store: Arc<dyn Store>) {
    let (node, web) = standing(&*store, 1, "web").await;
    let ended = Issuance { not_after: NOW.plus(-1), ..workload(&node, &web) };
    issue(&*store, vec![ended]).await;
    act(&*store, &node, ban()).await;
    assert_eq!(listed(&*store).await, [node.svid_serial.unwrap()]);
}
