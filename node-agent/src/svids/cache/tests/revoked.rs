//! What is replaced, soon or at once, and what is taken back.

use rcgen::*;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::super::tainted::tests::chain;
use super::*;

fn svid(entry: &Entry, chain: &[Vec<u8>]) -> X509Svid {
    X509Svid {
        spiffe_id: entry.spiffe_id.clone(),
        chain: chain.to_vec(),
        key_pkcs8: Zeroizing::new(vec![7]),
        hint: String::new(),
        entry_id: entry.id.clone(),
        not_after: clock::wall().plus(3600),
    }
}

/// A cache with one entry that has an SVID of this chain, and the entry.
fn holding(chain: &[Vec<u8>]) -> (SvidCache, Arc<Entry>) {
    let (cache, entry) = (cache(), entry("a", 1, 1, ""));
    cache.admit();
    push(&cache, &[Arc::clone(&entry)]);
    take(&cache, &entry, chain);
    (cache, entry)
}

/// What the server has signed comes, to be replaced in half an hour.
fn take(cache: &SvidCache, entry: &Arc<Entry>, chain: &[Vec<u8>]) {
    cache.store(vec![(Arc::clone(entry), svid(entry, chain), clock::wall().plus(1800))]);
}

/// An authority of the name that all have here, and its list of these certificates.
fn list(listed: &[&Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let (mut params, key) = (CertificateParams::default(), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().der().to_vec();
    let date = |year| date_time_ymd(year, 1, 1);
    let revoked = |der: &&Vec<u8>| RevokedCertParams {
        serial_number: SerialNumber::from_slice(X509Certificate::from_der(der).unwrap().1.raw_serial()),
        revocation_time: date(2030),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date(2030),
        next_update: date(2031),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: listed.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    (authority, list.signed_by(&Issuer::new(params, key)).unwrap().der().to_vec())
}

fn lists(state: &SvidState) -> usize {
    match state {
        SvidState::Ready(update) => update.crls.values().map(Vec::len).sum(),
        _ => 0,
    }
}

/// Seconds until the next SVID comes of age.
fn next(cache: &SvidCache) -> i64 {
    cache.next_rotation().unwrap().since(clock::wall())
}

#[test]
fn what_is_below_a_tainted_authority_is_replaced_soon_and_serves_until_then() {
    let (chain, [root, _]) = chain();
    let (cache, entry) = holding(&chain);
    let workload = cache.subscribe(set(1));
    cache.taint(Tainted::new(&[vec![9; 20]], &[vec![8; 20]]));
    assert!(next(&cache) > 62, "another authority is not its");
    cache.taint(Tainted::new(std::slice::from_ref(&root), &[]));
    assert!((0..=62).contains(&next(&cache)), "{}", next(&cache));
    assert_eq!(names(&workload.borrow()), ["a"]);
    // Signed before the server knew, and stored after it said so.
    take(&cache, &entry, &chain);
    assert!(next(&cache) <= 62);
}

#[test]
fn what_is_below_a_revoked_authority_is_replaced_at_once_and_serves_until_then() {
    let (chain, [root, intermediate]) = chain();
    for revoked in [root, intermediate] {
        let (cache, entry) = holding(&chain);
        let workload = cache.subscribe(set(1));
        cache.taint(Tainted::new(std::slice::from_ref(&revoked), &[]));
        cache.taint(Tainted::new(std::slice::from_ref(&revoked), std::slice::from_ref(&revoked)));
        assert_eq!(due(&cache), ["a"]);
        assert_eq!(names(&workload.borrow()), ["a"], "nothing is known in its place");
        // A server that signs below it still is not asked without a pause.
        take(&cache, &entry, &chain);
        assert!(due(&cache).is_empty() && next(&cache) <= 2);
        take(&cache, &entry, &super::super::super::tainted::tests::chain().0);
        assert!(due(&cache).is_empty() && next(&cache) > 62);
        assert_eq!(names(&workload.borrow()), ["a"]);
    }
}

#[test]
fn a_list_that_names_the_authority_goes_out_at_once_and_takes_nothing_from_whoever_is_below() {
    let (chain, _) = chain();
    let (cache, entry) = holding(&chain);
    let (authority, list) = list(&[&chain[1]]);
    cache.learn_bundles(BTreeMap::from([("td".to_owned(), vec![authority])]));
    let mut workload = cache.subscribe(set(1));
    workload.mark_unchanged();
    cache.learn_lists("td", std::iter::once(list.as_slice()));
    assert!(workload.has_changed().unwrap());
    let told = workload.borrow_and_update().clone();
    assert_eq!((names(&told), lists(&told)), (vec!["a".to_owned()], 1));
    assert_eq!(due(&cache), ["a"]);
    let (successor, _) = super::super::super::tainted::tests::chain();
    take(&cache, &entry, &successor);
    assert!(workload.has_changed().unwrap() && due(&cache).is_empty());
    let SvidState::Ready(update) = workload.borrow().clone() else { panic!("not ready") };
    assert_eq!(update.svids[0].chain, successor);
}

#[test]
fn an_svid_that_is_on_a_list_itself_is_taken_back_though_nothing_is_there_in_its_place() {
    let (chain, _) = chain();
    let (cache, entry) = holding(&chain);
    let workload = cache.subscribe(set(1));
    let (_, list) = list(&[&chain[0], &chain[1]]);
    cache.learn_lists("td", std::iter::once(list.as_slice()));
    assert_eq!(names(&workload.borrow()), ["starting"]);
    assert_eq!(due(&cache), ["a"]);
    take(&cache, &entry, &chain);
    assert_eq!(names(&workload.borrow()), ["starting"], "it was on the way when it was withdrawn");
}
