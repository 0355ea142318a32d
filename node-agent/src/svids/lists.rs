//! The revocation lists of the own trust domain, as the server gave them: what is on them, and whether they may be passed
//! on. Believes the server as to their signatures, which whoever relies on them checks again.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Serial numbers of all lists together: a dozen full ones.
const SERIALS_MAX: usize = 250_000;

/// The lists, read once.
#[derive(Default)]
pub(super) struct Lists {
    trust_domain: String,
    ders: Vec<Vec<u8>>,
    /// DER of the name of whoever signed each.
    issuers: HashSet<Vec<u8>>,
    /// Name of the issuer and serial number, one behind the other.
    revoked: HashSet<Vec<u8>>,
    /// Some certificate of a chain of ours has a signer without a list.
    uncovered: bool,
    shown: Arc<BTreeMap<String, Vec<Vec<u8>>>>,
}

impl Lists {
    /// Reads them; what is no list is left out.
    pub(super) fn read<'a>(trust_domain: &str, ders: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut lists = Self { trust_domain: trust_domain.to_owned(), ..Self::default() };
        for der in ders {
            let Ok((rest, list)) = CertificateRevocationList::from_der(der) else {
                tracing::warn!(code = "agent.crl.form", "revocation list passed over: it cannot be read");
                continue;
            };
            if !rest.is_empty() {
                tracing::warn!(code = "agent.crl.form", "revocation list passed over: bytes behind it");
                continue;
            }
            let issuer = list.issuer().as_raw();
            let room = SERIALS_MAX.saturating_sub(lists.revoked.len());
            lists.revoked.extend(list.iter_revoked_certificates().take(room).map(|one| key(issuer, one.raw_serial())));
            if list.iter_revoked_certificates().nth(room).is_some() {
                tracing::error!(limit = SERIALS_MAX, "revocation lists name more certificates than this agent reads");
            }
            lists.issuers.insert(issuer.to_vec());
            lists.ders.push(der.to_vec());
        }
        lists
    }

    /// Whether the leaf of `chain` is on one of them: this SVID was withdrawn.
    pub(super) fn has(&self, chain: &[Vec<u8>]) -> bool {
        chain.first().is_some_and(|leaf| self.is_listed(leaf))
    }

    /// Whether an intermediate above the leaf of `chain` is: what it signed is to be replaced, and was withdrawn from nobody.
    pub(super) fn has_above(&self, chain: &[Vec<u8>]) -> bool {
        chain.iter().skip(1).any(|der| self.is_listed(der))
    }

    fn is_listed(&self, der: &[u8]) -> bool {
        let is_listed =
            |one: &X509Certificate<'_>| self.revoked.contains(&key(one.issuer().as_raw(), one.raw_serial()));
        !self.revoked.is_empty() && X509Certificate::from_der(der).is_ok_and(|(_, one)| is_listed(&one))
    }

    /// Passes them on no longer where a certificate of `chain` has a signer without one: of an authority above ours, say.
    pub(super) fn seen(&mut self, chain: &[Vec<u8>]) {
        let is_covered = |der: &Vec<u8>| {
            X509Certificate::from_der(der).is_ok_and(|(_, one)| self.issuers.contains(one.issuer().as_raw()))
        };
        if !self.ders.is_empty() && !self.uncovered && !chain.iter().all(is_covered) {
            tracing::warn!(code = "agent.crl.incomplete", "revocation lists held back: a signer of ours has none");
            self.uncovered = true;
            self.shown = Arc::default();
        }
    }

    /// Passes them on if there is one of each authority in the bundle: whoever checks by lists refuses what an authority
    /// without one has signed, and would refuse everybody.
    pub(super) fn believe(&mut self, bundles: &BTreeMap<String, Vec<Vec<u8>>>) {
        let authorities = bundles.get(&self.trust_domain).map(Vec::as_slice).unwrap_or_default();
        let has_one = |der: &Vec<u8>| {
            X509Certificate::from_der(der)
                .is_ok_and(|(_, authority)| self.issuers.contains(authority.subject().as_raw()))
        };
        let complete =
            !self.uncovered && !self.ders.is_empty() && !authorities.is_empty() && authorities.iter().all(has_one);
        if !complete && !self.uncovered && !self.ders.is_empty() && !authorities.is_empty() {
            tracing::warn!(code = "agent.crl.incomplete", "revocation lists held back: the server has none of a root");
        }
        let shown = complete.then(|| (self.trust_domain.clone(), self.ders.clone()));
        self.shown = Arc::new(shown.into_iter().collect());
    }

    /// What workloads get.
    pub(super) fn shown(&self) -> Arc<BTreeMap<String, Vec<Vec<u8>>>> {
        Arc::clone(&self.shown)
    }
}

fn key(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    [issuer, serial].concat()
}

#[cfg(test)]
mod tests {
    use rcgen::*;

    use super::*;

    struct Authority(Issuer<'static, KeyPair>, Vec<u8>);

    fn authority(name: &str) -> Authority {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Authority(Issuer::new(params, key), der)
    }

    impl Authority {
        fn list(&self, serials: &[u64]) -> Vec<u8> {
            let date = |year| date_time_ymd(year, 1, 1);
            let revoked = |serial: &u64| RevokedCertParams {
                serial_number: SerialNumber::from(*serial),
                revocation_time: date(2030),
                reason_code: None,
                invalidity_date: None,
            };
            let params = CertificateRevocationListParams {
                this_update: date(2030),
                next_update: date(2031),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: serials.iter().map(revoked).collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params.signed_by(&self.0).unwrap().der().to_vec()
        }

        fn leaf(&self, serial: u64) -> Vec<Vec<u8>> {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = CertificateParams::default();
            params.serial_number = Some(SerialNumber::from(serial));
            vec![params.signed_by(&key, &self.0).unwrap().der().to_vec()]
        }
    }

    #[test]
    fn a_serial_number_counts_for_its_own_issuer_alone() {
        let (ours, other) = (authority("ours"), authority("other"));
        let (list, empty) = (ours.list(&[5]), other.list(&[]));
        let lists = Lists::read("td", [list.as_slice(), &empty, b"nothing"].into_iter());
        assert!(lists.has(&ours.leaf(5)));
        let below = [other.leaf(6), ours.leaf(5)].concat();
        assert!(lists.has_above(&below) && !lists.has(&below), "an intermediate is listed as a leaf is");
        assert!(!lists.has_above(&ours.leaf(5)) && !lists.has_above(&[]) && !lists.has_above(&[vec![0], vec![0]]));
        assert!(!lists.has(&ours.leaf(6)) && !lists.has(&other.leaf(5)) && !lists.has(&[]) && !lists.has(&[vec![0]]));
    }

    #[test]
    fn a_signer_without_a_list_that_was_seen_before_the_bundle_holds_them_back_too() {
        let (root, above) = (authority("root"), authority("above"));
        let list = root.list(&[]);
        let mut lists = Lists::read("td", [list.as_slice()].into_iter());
        lists.believe(&BTreeMap::from([("td".to_owned(), vec![root.1.clone(), authority("former").1])]));
        assert!(lists.shown().is_empty(), "a root has none");
        lists.seen(&above.leaf(1));
        lists.believe(&BTreeMap::from([("td".to_owned(), vec![root.1.clone()])]));
        assert!(lists.shown().is_empty(), "whoever checks by lists would refuse what the agent holds");
        let both = [list.as_slice(), &above.list(&[])].map(<[u8]>::to_vec);
        let mut lists = Lists::read("td", both.iter().map(Vec::as_slice));
        lists.seen(&above.leaf(1));
        lists.believe(&BTreeMap::from([("td".to_owned(), vec![root.1.clone()])]));
        assert_eq!(lists.shown()["td"], both);
    }

    #[test]
    fn lists_are_passed_on_once_every_authority_has_one() {
        let (first, second) = (authority("first"), authority("second"));
        let (one, two) = (first.list(&[]), second.list(&[]));
        let bundle = BTreeMap::from([("td".to_owned(), vec![first.1.clone(), second.1.clone()])]);
        let mut lists = Lists::read("td", [one.as_slice()].into_iter());
        lists.believe(&bundle);
        assert!(lists.shown().is_empty());
        let mut lists = Lists::read("td", [one.as_slice(), &two].into_iter());
        assert!(lists.shown().is_empty(), "nobody is believed yet");
        lists.believe(&bundle);
        assert_eq!(lists.shown()["td"], [one, two]);
        lists.seen(&first.leaf(1));
        assert!(!lists.shown().is_empty());
        lists.seen(&authority("above").leaf(1));
        lists.believe(&bundle);
        assert!(lists.shown().is_empty(), "whoever checks by lists would refuse it");
    }
}
