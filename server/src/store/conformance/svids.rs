//! Certificates that live: found by whatever names them, and withdrawn together; and the list above intermediates.

use super::*;

on_each_store! {
    svids_are_found_by_name_entry_node_and_serial_number_page_by_page,
    all_that_a_filter_names_are_withdrawn_and_nothing_else,
    a_filter_that_names_nothing_withdraws_nothing,
    a_revoked_intermediate_stands_on_the_list_of_its_signer,
    an_operators_own_list_takes_the_place_of_one_that_was_made_here,
}

const VALIDITY: ListValidity =
    ListValidity { this_update: NOW, next_update: UnixTime(NOW.0 + 3600), issuer_ends: UnixTime(NOW.0 + 86_400) };
const ROOT: IssuerKeyId = IssuerKeyId([3; 20]);

async fn workload(store: &dyn Store, node: &Node, entry: &Entry) -> [u8; 16] {
    let origin = Origin::Workload { node: node.number, entry: entry.number, revision: entry.revision_number };
    let issuance = issuance(&entry.draft.spiffe_id, origin);
    let serial = issuance.serial;
    let answers = store.record_issuances(vec![issuance], store.revision().n, NOW).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    serial
}

struct Fleet {
    nodes: [Node; 2],
    web: [Entry; 2],
    serials: [[u8; 16]; 4],
}

/// Two nodes with an SVID of their own each, two of `/web`, and one of `/db` on the first.
async fn fleet(store: &dyn Store) -> Fleet {
    let nodes = [admit(store, enrolment(1)).await, admit(store, enrolment(2)).await];
    let name = |node: &Node| Parent::Id(node.spiffe_id.clone().unwrap());
    let mut web = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let mut draft = entry("web", name(node));
        draft.id = format!("web-{place}");
        web.push(store.create_entry(draft, operator(), NOW).await.unwrap().unwrap());
    }
    let db = store.create_entry(entry("db", name(&nodes[0])), operator(), NOW).await.unwrap().unwrap();
    let web: [Entry; 2] = web.try_into().unwrap();
    let serials = [
        workload(store, &nodes[0], &web[0]).await,
        workload(store, &nodes[1], &web[1]).await,
        workload(store, &nodes[0], &db).await,
        nodes[0].svid_serial.unwrap(),
    ];
    Fleet { nodes, web, serials }
}

async fn found(store: &dyn Store, filter: &SvidFilter) -> Vec<ShownSvid> {
    let (mut all, mut after) = (Vec::new(), SvidPlace::default());
    loop {
        let page = store.svids(filter.clone(), after, 2, NOW).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { return all };
        let entry = last.svid.entry.map_or(0, |entry| entry.0);
        after = SvidPlace { node: last.svid.node.0, entry, index: last.svid.index };
        all.extend(page);
    }
}

fn named(name: &SpiffeId) -> SvidFilter {
    SvidFilter { spiffe_id: Some(name.clone()), ..SvidFilter::default() }
}

async fn svids_are_found_by_name_entry_node_and_serial_number_page_by_page(store: Arc<dyn Store>) {
    let fleet = fleet(&*store).await;
    let serials = async |filter: SvidFilter| -> BTreeSet<[u8; 16]> {
        found(&*store, &filter).await.iter().map(|one| one.svid.serial).collect()
    };
    let [first, second, db, own] = fleet.serials;
    assert_eq!(found(&*store, &SvidFilter::default()).await.len(), 5);
    let web = fleet.web[0].draft.spiffe_id.clone();
    assert_eq!(serials(named(&web)).await, BTreeSet::from([first, second]));
    assert_eq!(serials(named(fleet.nodes[0].spiffe_id.as_ref().unwrap())).await, BTreeSet::from([own]));
    let of_node = SvidFilter { node: Some(fleet.nodes[0].number), ..SvidFilter::default() };
    assert_eq!(serials(of_node.clone()).await, BTreeSet::from([first, db, own]));
    assert_eq!(serials(SvidFilter { spiffe_id: Some(web.clone()), ..of_node }).await, BTreeSet::from([first]));
    let by_entry = SvidFilter { entry_id: Some(fleet.web[1].draft.id.clone()), ..SvidFilter::default() };
    assert_eq!(serials(by_entry).await, BTreeSet::from([second]));
    let by_serial = SvidFilter { serial: Some(db), ..SvidFilter::default() };
    let shown = found(&*store, &by_serial).await.remove(0);
    assert_eq!(shown.spiffe_id, id("/db").to_string());
    assert_eq!((shown.entry_id.as_str(), shown.svid.issuer), ("db", ISSUER));
    assert_eq!(shown.node_id, fleet.nodes[0].spiffe_id.as_ref().unwrap().to_string());
    assert_eq!(store.svids(SvidFilter::default(), SvidPlace::default(), 0, NOW.plus(90_000)).await.unwrap(), []);
}

async fn all_that_a_filter_names_are_withdrawn_and_nothing_else(store: Arc<dyn Store>) {
    let fleet = fleet(&*store).await;
    let [first, second, db, own] = fleet.serials;
    let revoke = async |filter: SvidFilter| {
        store.revoke_svids(filter, RevocationReason::KeyCompromise, operator(), NOW).await.unwrap().svids
    };
    let listed = async || -> BTreeSet<[u8; 16]> {
        let draft = store.draft_revocation_list(ISSUER, VALIDITY, NOW).await.unwrap();
        assert!(draft.revoked.iter().all(|one| one.reason == RevocationReason::KeyCompromise));
        draft.revoked.iter().map(|one| one.serial).collect()
    };
    assert_eq!(revoke(SvidFilter { serial: Some(db), ..SvidFilter::default() }).await, 1);
    assert_eq!(listed().await, BTreeSet::from([db]));
    let web = fleet.web[0].draft.spiffe_id.clone();
    let on_first = SvidFilter { node: Some(fleet.nodes[0].number), ..named(&web) };
    assert_eq!(revoke(on_first.clone()).await, 1);
    assert_eq!(listed().await, BTreeSet::from([db, first]));
    assert_eq!((revoke(on_first).await, revoke(named(&web)).await), (0, 1));
    assert_eq!(listed().await, BTreeSet::from([db, first, second]));
    assert_eq!(revoke(named(fleet.nodes[0].spiffe_id.as_ref().unwrap())).await, 1);
    assert_eq!(listed().await, BTreeSet::from([db, first, second, own]));
    let node = SvidFilter { node: Some(fleet.nodes[1].number), ..SvidFilter::default() };
    assert_eq!(revoke(node).await, 1);
    assert!(found(&*store, &SvidFilter::default()).await.is_empty());
}

async fn a_filter_that_names_nothing_withdraws_nothing(store: Arc<dyn Store>) {
    fleet(&*store).await;
    for filter in [
        SvidFilter::default(),
        SvidFilter { serial: Some([1; 16]), ..SvidFilter::default() },
        named(&id("/nobody")),
        SvidFilter { entry_id: Some("nothing".to_owned()), ..SvidFilter::default() },
    ] {
        let count = store.revoke_svids(filter, RevocationReason::Superseded, operator(), NOW).await.unwrap();
        assert_eq!(count, Withdrew::default());
    }
    assert_eq!(found(&*store, &SvidFilter::default()).await.len(), 5);
}

async fn a_revoked_intermediate_stands_on_the_list_of_its_signer(store: Arc<dyn Store>) {
    let draft = async || store.draft_upper_list(ROOT, VALIDITY, NOW).await.unwrap().unwrap();
    let first = draft().await;
    assert_eq!((first.number, first.revoked.len()), (1, 0));
    let mut changes = store.changes();
    let listed = ListedAuthority { issuer: ROOT, serial: [5; 16], not_after: NOW.plus(500) };
    let change = X509Change { action: "x509.revoke", list: vec![listed], ..X509Change::default() };
    assert!(store.change_x509(change, operator(), NOW).await.unwrap());
    let heard = changes.notices.recv().await.unwrap();
    assert!(matches!(&*heard, Notice::Revoked { issuers, .. } if issuers.contains(&ROOT)));
    let second = draft().await;
    assert_eq!(second.number, 2);
    let only = second.revoked[0];
    assert_eq!((only.serial, only.reason), ([5; 16], RevocationReason::CaCompromise));
    let signer = Signer::Above;
    let list = RevocationList { issuer: ROOT, signer, number: 2, validity: VALIDITY, der: vec![2].into() };
    assert!(store.keep_revocation_list(list.clone(), NOW).await.unwrap());
    assert_eq!(store.revocation_lists().await.unwrap(), [list]);
}

async fn an_operators_own_list_takes_the_place_of_one_that_was_made_here(store: Arc<dyn Store>) {
    let signer = Signer::Above;
    let list = |number: u64| RevocationList { issuer: ROOT, signer, number, validity: VALIDITY, der: vec![9].into() };
    for _ in 0..7 {
        store.draft_upper_list(ROOT, VALIDITY, NOW).await.unwrap().unwrap();
    }
    assert!(store.keep_revocation_list(list(7), NOW).await.unwrap());
    assert!(store.import_revocation_list(list(3), NOW).await.unwrap(), "whatever its number");
    assert!(!store.import_revocation_list(list(3), NOW).await.unwrap());
    assert_eq!(store.draft_upper_list(ROOT, VALIDITY, NOW).await.unwrap(), None, "it is somebody else's to give now");
    assert!(!store.keep_revocation_list(list(7), NOW).await.unwrap());
    assert_eq!(store.revocation_lists().await.unwrap(), [list(3)]);
}
