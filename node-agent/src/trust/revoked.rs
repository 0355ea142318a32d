//! Authorities that count no more: by the server's word, and intermediates by the lists of whoever signed them. Remembered over a restart: whoever holds such a key could speak as the server to an agent that forgot.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Identifiers that the server may name; a trust domain in trouble has a few.
const KEY_IDS_MAX: usize = 256;
/// Bytes of one identifier.
const KEY_ID_BYTES_MAX: usize = 32;
/// Certificates on the lists of all authorities that are remembered.
const LISTED_MAX: usize = 4096;

/// What they are known by, in hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    /// Subject key identifiers.
    key_ids: BTreeSet<String>,
    /// Name of the issuer and serial number, one behind the other.
    listed: BTreeSet<String>,
}

impl Revoked {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.key_ids.is_empty() && self.listed.is_empty()
    }

    /// With these identifiers in place of the former ones; what cannot be one is left out.
    #[must_use]
    pub fn with_key_ids(&self, ids: &[Vec<u8>]) -> Self {
        let fits = |id: &&Vec<u8>| (1..=KEY_ID_BYTES_MAX).contains(&id.len());
        let key_ids = ids.iter().filter(fits).take(KEY_IDS_MAX).map(hex::encode).collect();
        Self { key_ids, ..self.clone() }
    }

    /// With what stands on the lists `above`, and on those of `lists` whose issuer is one of `authorities` (DER), in place of
    /// what stood there: an organisation's CA between the authorities and servers' intermediates is none of the bundle's.
    #[must_use]
    pub fn with_lists<'a, 'l>(
        &self,
        authorities: impl Iterator<Item = &'a [u8]>,
        above: impl Iterator<Item = &'l [u8]>,
        lists: impl Iterator<Item = &'l [u8]>,
    ) -> Self {
        let names = authorities.filter_map(|der| X509Certificate::from_der(der).ok());
        let names: BTreeSet<_> = names.map(|(_, authority)| authority.subject().as_raw().to_vec()).collect();
        let read = |der: &'l [u8]| CertificateRevocationList::from_der(der).ok();
        let of_authorities = lists.filter_map(read).filter(|(_, list)| names.contains(list.issuer().as_raw()));
        let (mut listed, mut left_out) = (BTreeSet::new(), 0_usize);
        // The authorities' own first: no other list, however long, leaves them out.
        for (_, list) in of_authorities.chain(above.filter_map(read)) {
            let issuer = list.issuer().as_raw();
            for one in list.iter_revoked_certificates() {
                let one = listed_as(issuer, one.raw_serial());
                // A list may be among both.
                if listed.len() < LISTED_MAX {
                    listed.insert(one);
                } else if !listed.contains(&one) {
                    left_out += 1;
                }
            }
        }
        if left_out > 0 {
            tracing::error!(left_out, limit = LISTED_MAX, "lists of authorities name more than is remembered");
        }
        Self { key_ids: self.key_ids.clone(), listed }
    }

    /// Whether a certificate of a chain (DER) is one of them, or signed by one. Whoever leaves theirs out has no path.
    #[must_use]
    pub fn covers<'a>(&self, chain: impl IntoIterator<Item = &'a [u8]>) -> bool {
        !self.is_empty() && chain.into_iter().any(|der| self.has(der))
    }

    fn has(&self, der: &[u8]) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
        let is_revoked = certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => self.key_ids.contains(&hex::encode(id.0)),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                id.key_identifier.as_ref().is_some_and(|id| self.key_ids.contains(&hex::encode(id.0)))
            }
            _ => false,
        });
        is_revoked || self.listed.contains(&listed_as(certificate.issuer().as_raw(), certificate.raw_serial()))
    }
}

fn listed_as(issuer: &[u8], serial: &[u8]) -> String {
    hex::encode([issuer, serial].concat())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    };

    use super::*;

    type Authority = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str, serial: u64) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from(serial));
        params
    }

    fn key() -> KeyPair {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
    }

    fn key_id(der: &[u8]) -> Vec<u8> {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        let mut extensions = certificate.extensions().iter();
        let id = extensions.find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        id.unwrap()
    }

    fn list(issuer: &Authority, serial: u64) -> Vec<u8> {
        list_of(issuer, &[serial])
    }

    fn list_of(issuer: &Authority, serials: &[u64]) -> Vec<u8> {
        let date = |year| rcgen::date_time_ymd(year, 1, 1);
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
        params.signed_by(issuer).unwrap().der().to_vec()
    }

    #[test]
    fn an_intermediate_is_known_by_its_key_and_by_its_place_on_an_authoritys_list() {
        let root = CertifiedIssuer::self_signed(params("root", 1), key()).unwrap();
        let other = CertifiedIssuer::self_signed(params("other", 1), key()).unwrap();
        let intermediate = CertifiedIssuer::signed_by(params("intermediate", 5), key(), &root).unwrap();
        let (root_der, der) = (root.der().to_vec(), intermediate.der().to_vec());
        let id = key_id(&der);
        let none = Revoked::default();
        assert!(none.is_empty() && !none.covers([&der[..]]));
        let named = none.with_key_ids(&[vec![], vec![7; 33], id]);
        assert!(named.covers([&root_der[..], &der]) && !named.covers([&root_der[..], b"nonsense"]));
        assert!(named.with_key_ids(&[]).is_empty(), "the server says all of them each time");
        let authorities = || std::iter::once(&root_der[..]);
        let listed = |list: &[u8]| none.with_lists(authorities(), std::iter::empty(), std::iter::once(list));
        assert!(listed(&list(&root, 5)).covers([&der[..]]));
        assert!(!listed(&list(&root, 6)).covers([&der[..]]));
        assert!(!listed(&list(&other, 5)).covers([&der[..]]), "another's list is of other certificates");
        assert!(listed(&list(&intermediate, 5)).is_empty(), "what an intermediate has signed is no authority");
        assert!(named.with_lists(authorities(), std::iter::empty(), std::iter::empty()).covers([&der[..]]));
    }

    #[test]
    fn an_intermediate_on_the_list_of_a_ca_between_it_and_the_root_counts_no_more() {
        let root = CertifiedIssuer::self_signed(params("root", 1), key()).unwrap();
        let between = CertifiedIssuer::signed_by(params("organisation", 2), key(), &root).unwrap();
        let intermediate = CertifiedIssuer::signed_by(params("intermediate", 5), key(), &between).unwrap();
        let (root, der, list) = (root.der().to_vec(), intermediate.der().to_vec(), list(&between, 5));
        let with = |above: Option<&[u8]>| {
            let lists = std::iter::once(&list[..]);
            Revoked::default().with_lists(std::iter::once(&root[..]), above.into_iter(), lists)
        };
        assert!(!with(None).covers([&der[..]]), "nobody says that it stands above");
        let learned = with(Some(&list));
        assert!(learned.covers([&der[..]]));
        let empty = || std::iter::empty::<&[u8]>();
        assert!(learned.with_lists(empty(), empty(), empty()).is_empty(), "the server says all of them each time");
    }

    #[test]
    fn a_list_of_another_however_long_leaves_out_nothing_of_the_authorities_own() {
        let root = CertifiedIssuer::self_signed(params("root", 1), key()).unwrap();
        let between = CertifiedIssuer::signed_by(params("organisation", 2), key(), &root).unwrap();
        let intermediate = CertifiedIssuer::signed_by(params("intermediate", 5), key(), &root).unwrap();
        let numbers: Vec<u64> = (10_000..10_000 + LISTED_MAX as u64 + 1).collect();
        let (root_der, der) = (root.der().to_vec(), intermediate.der().to_vec());
        let (long, of_root) = (list_of(&between, &numbers), list(&root, 5));
        let learned = Revoked::default().with_lists(
            std::iter::once(&root_der[..]),
            [&long[..], &of_root].into_iter(),
            std::iter::once(&of_root[..]),
        );
        assert!(learned.covers([&der[..]]));
    }
}
