//! What a workload's SVIDs and bundles look like on the wire. Full state, each time.

use std::collections::{BTreeMap, HashMap, HashSet};

use holdfast_protocol::workload::{JwtBundlesResponse, X509BundlesResponse, X509svid, X509svidResponse};

use super::refusal::Refusal;
use crate::svids::{WorkloadUpdate, X509Svid};

/// The answer of `FetchX509SVID`.
///
/// # Errors
/// `NoIdentity` rather than an empty list; `Starting` while the own bundle, a mandatory field, is not there.
pub(super) fn x509_svids(update: &WorkloadUpdate) -> Result<X509svidResponse, Refusal> {
    let svids = unique_hints(update);
    if svids.is_empty() {
        return Err(Refusal::NoIdentity);
    }
    let own: HashSet<&str> = svids.iter().map(|svid| svid.spiffe_id.trust_domain_name()).collect();
    let federated = update.bundles.iter().filter(|(name, bundle)| !own.contains(name.as_str()) && !bundle.is_empty());
    Ok(X509svidResponse {
        svids: svids.into_iter().map(|svid| x509_svid(svid, &update.bundles)).collect::<Result<_, _>>()?,
        crl: crls(update),
        federated_bundles: federated.map(bundle).collect(),
    })
}

/// The answer of `FetchX509Bundles`.
///
/// # Errors
/// As for [`x509_svids`]: bundles are for those who have an identity.
pub(super) fn x509_bundles(update: &WorkloadUpdate) -> Result<X509BundlesResponse, Refusal> {
    let Some(first) = update.svids.first() else { return Err(Refusal::NoIdentity) };
    let bundles: HashMap<_, _> = update.bundles.iter().filter(|(_, bundle)| !bundle.is_empty()).map(bundle).collect();
    if update.bundles.get(first.spiffe_id.trust_domain_name()).is_none_or(Vec::is_empty) {
        return Err(Refusal::Starting);
    }
    Ok(X509BundlesResponse { crl: crls(update), bundles })
}

/// The answer of `FetchJWTBundles`: plain sets of keys.
///
/// # Errors
/// As for [`x509_bundles`].
pub(super) fn jwt_bundles(update: &WorkloadUpdate) -> Result<JwtBundlesResponse, Refusal> {
    let Some(first) = update.svids.first() else { return Err(Refusal::NoIdentity) };
    let own = update.jwt_bundles.get(first.spiffe_id.trust_domain_name());
    if own.is_none_or(|keys| keys.keys().len() == 0) {
        return Err(Refusal::Starting);
    }
    let bundles = update.jwt_bundles.iter().map(|(name, keys)| (format!("spiffe://{name}"), keys.to_jwks()));
    Ok(JwtBundlesResponse { bundles: bundles.collect() })
}

/// Each list by itself, in the order of the domains' names.
fn crls(update: &WorkloadUpdate) -> Vec<Vec<u8>> {
    update.crls.values().flatten().cloned().collect()
}

/// The SVIDs in their order; of those with the same hint the first, which is of the oldest entry.
pub(super) fn unique_hints(update: &WorkloadUpdate) -> Vec<&X509Svid> {
    let mut hints = HashSet::new();
    let unique = |svid: &&X509Svid| svid.hint.is_empty() || hints.insert(svid.hint.clone());
    update.svids.iter().map(AsRef::as_ref).filter(unique).collect()
}

fn x509_svid(svid: &X509Svid, bundles: &BTreeMap<String, Vec<Vec<u8>>>) -> Result<X509svid, Refusal> {
    let bundle = bundles.get(svid.spiffe_id.trust_domain_name()).map(|certificates| certificates.concat());
    Ok(X509svid {
        spiffe_id: svid.spiffe_id.to_string(),
        x509_svid: svid.chain.concat(),
        x509_svid_key: svid.key_pkcs8.to_vec(),
        bundle: bundle.filter(|bundle| !bundle.is_empty()).ok_or(Refusal::Starting)?,
        hint: svid.hint.clone(),
    })
}

/// Keyed by the ID of the trust domain, as SPIRE does.
fn bundle((name, certificates): (&String, &Vec<Vec<u8>>)) -> (String, Vec<u8>) {
    (format!("spiffe://{name}"), certificates.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn svid(id: &str, hint: &str, entry: &str) -> Arc<X509Svid> {
        Arc::new(X509Svid {
            spiffe_id: id.parse().unwrap(),
            chain: vec![vec![1], vec![2, 3]],
            key_pkcs8: vec![9].into(),
            hint: hint.to_owned(),
            entry_id: entry.to_owned(),
            not_after: holdfast_identity::UnixTime(0),
        })
    }

    fn update(svids: Vec<Arc<X509Svid>>) -> WorkloadUpdate {
        let bundles = [("td", vec![vec![5], vec![6]]), ("other", vec![vec![7]])];
        let bundles = bundles.map(|(name, bundle)| (name.to_owned(), bundle)).into();
        WorkloadUpdate { svids, bundles, ..WorkloadUpdate::default() }
    }

    #[test]
    fn chains_and_bundles_are_concatenated_in_order() {
        let answer = x509_svids(&update(vec![svid("spiffe://td/a", "", "1")])).unwrap();
        assert_eq!(answer.svids[0].x509_svid, [1, 2, 3]);
        assert_eq!(answer.svids[0].x509_svid_key, [9]);
        assert_eq!(answer.svids[0].bundle, [5, 6]);
        assert_eq!(answer.federated_bundles, HashMap::from([("spiffe://other".to_owned(), vec![7])]));
    }

    #[test]
    fn the_first_of_a_hint_stays_and_those_without_one_all_stay() {
        let svids = [("a", "x"), ("b", ""), ("c", "x"), ("d", ""), ("e", "y")];
        let svids = svids.map(|(name, hint)| svid(&format!("spiffe://td/{name}"), hint, name)).to_vec();
        let answer = x509_svids(&update(svids)).unwrap();
        let paths: Vec<_> = answer.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
        assert_eq!(paths, ["spiffe://td/a", "spiffe://td/b", "spiffe://td/d", "spiffe://td/e"]);
    }

    #[test]
    fn nothing_is_never_an_empty_message() {
        assert_eq!(x509_svids(&update(vec![])), Err(Refusal::NoIdentity));
        assert_eq!(x509_bundles(&update(vec![])), Err(Refusal::NoIdentity));
    }

    #[test]
    fn without_the_own_bundle_there_is_no_answer_yet() {
        for bundles in [BTreeMap::new(), BTreeMap::from([("td".to_owned(), vec![])])] {
            let update = WorkloadUpdate { bundles, ..update(vec![svid("spiffe://td/a", "", "1")]) };
            assert_eq!(x509_svids(&update), Err(Refusal::Starting));
            assert_eq!(x509_bundles(&update), Err(Refusal::Starting));
        }
    }

    #[test]
    fn revocation_lists_of_every_domain_are_in_both_answers() {
        let crls = [("td", vec![vec![8], vec![9]]), ("other", vec![vec![7]])];
        let crls = Arc::new(crls.map(|(name, lists)| (name.to_owned(), lists)).into());
        let update = WorkloadUpdate { crls, ..update(vec![svid("spiffe://td/a", "", "1")]) };
        let lists = [[7].to_vec(), vec![8], vec![9]];
        assert_eq!(x509_svids(&update).unwrap().crl, lists);
        assert_eq!(x509_bundles(&update).unwrap().crl, lists);
    }

    #[test]
    fn bundles_are_keyed_by_the_id_of_their_trust_domain() {
        let answer = x509_bundles(&update(vec![svid("spiffe://td/a", "", "1")])).unwrap();
        assert_eq!(answer.bundles["spiffe://td"], [5, 6]);
        assert_eq!(answer.bundles["spiffe://other"], [7]);
    }
}
