//! What came over the Workload API, taken apart and checked as a client must.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use holdfast_protocol::workload::{X509svid, X509svidResponse};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};
use zeroize::Zeroizing;

/// One answer.
pub(in crate::cli) struct Identities {
    /// The first one is the default.
    pub(in crate::cli) svids: Vec<Identity>,
    /// DER certificates by the ID of a foreign trust domain.
    pub(in crate::cli) federated: BTreeMap<String, Vec<Vec<u8>>>,
    /// DER revocation lists.
    pub(in crate::cli) crls: Vec<Vec<u8>>,
}

/// One X.509-SVID.
pub(in crate::cli) struct Identity {
    pub(in crate::cli) spiffe_id: String,
    pub(in crate::cli) hint: String,
    /// DER, leaf first.
    pub(in crate::cli) chain: Vec<Vec<u8>>,
    /// PKCS#8 DER.
    pub(in crate::cli) key: Zeroizing<Vec<u8>>,
    /// DER, the authorities of its own trust domain.
    pub(in crate::cli) bundle: Vec<Vec<u8>>,
}

/// From when to when a certificate is valid, and its number.
pub(in crate::cli) struct Validity {
    pub(in crate::cli) not_before: String,
    pub(in crate::cli) not_after: String,
    pub(in crate::cli) serial: String,
}

impl TryFrom<X509svidResponse> for Identities {
    type Error = anyhow::Error;

    fn try_from(answer: X509svidResponse) -> anyhow::Result<Self> {
        let svids = answer.svids.into_iter().map(Identity::try_from).collect::<anyhow::Result<Vec<_>>>()?;
        if svids.is_empty() {
            bail!("the answer holds no SVID");
        }
        let federated = answer.federated_bundles.into_iter();
        let federated = federated.map(|(name, bundle)| Ok((name, certificates(&bundle)?)));
        Ok(Self { svids, federated: federated.collect::<anyhow::Result<_>>()?, crls: answer.crl })
    }
}

impl TryFrom<X509svid> for Identity {
    type Error = anyhow::Error;

    fn try_from(svid: X509svid) -> anyhow::Result<Self> {
        let id = svid.spiffe_id;
        let chain = certificates(&svid.x509_svid).with_context(|| format!("chain of {id}"))?;
        let bundle = certificates(&svid.bundle).with_context(|| format!("bundle of {id}"))?;
        if chain.is_empty() || bundle.is_empty() || svid.x509_svid_key.is_empty() {
            bail!("{id} came without a certificate, key or bundle");
        }
        Ok(Self { spiffe_id: id, hint: svid.hint, chain, key: svid.x509_svid_key.into(), bundle })
    }
}

/// The certificates that are concatenated in `der`.
fn certificates(mut der: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).context("not a certificate")?;
        let length = der.len() - rest.len();
        found.push(der.get(..length).unwrap_or_default().to_vec());
        der = rest;
    }
    Ok(found)
}

/// Of the certificate `der`.
pub(in crate::cli) fn validity(der: &[u8]) -> anyhow::Result<Validity> {
    let (_, certificate) = X509Certificate::from_der(der).context("not a certificate")?;
    let time = |at: ASN1Time| {
        at.to_datetime().format(&time::format_description::well_known::Rfc3339).context("a time out of range")
    };
    Ok(Validity {
        not_before: time(certificate.validity().not_before)?,
        not_after: time(certificate.validity().not_after)?,
        serial: hex::encode(certificate.raw_serial()),
    })
}
