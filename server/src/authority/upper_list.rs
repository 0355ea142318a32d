//! The list of intermediates that are revoked, where the key of whoever signs them is at hand: an upstream authority in
//! files or in a token. Elsewhere it is the operator's to name.

use holdfast_identity::UnixTime;
use rustls_pki_types::CertificateDer;
use tracing::warn;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::current::{Authority, LIST_LIFETIME_FIRST};
use super::profile::BACKDATE_SECONDS;
use super::rotation_fault::RotationFault;
use super::upstream::Minted;
use super::{AuthorityFault, KeyId, issuer::end_of};
use crate::store::{
    IssuerKeyId, ListDraft, ListValidity, ListedAuthority, RevocationList, Signer, Store, X509Authority,
};

impl Authority {
    /// Whoever signs intermediates of ours, if its key is at hand for lists too.
    #[must_use]
    pub fn upper(&self) -> Option<IssuerKeyId> {
        self.upper_certificate().and_then(|der| IssuerKeyId::of_certificate(&der))
    }

    fn upper_certificate(&self) -> Option<Vec<u8>> {
        let signer = self.rotation.upstream.as_ref()?.list_signer();
        let signer = signer.unwrap_or_else(|fault| {
            warn!(code = fault.code(), %fault, "the upstream authority's certificate cannot be read");
            None
        });
        // Another one may be there already, that has signed nothing yet.
        signer.filter(|der| self.above().contains(der))
    }

    /// Has the next list of whoever signs intermediates recorded, has it signed, and gives it to the store for everybody.
    /// `None` where it is not ours to give.
    ///
    /// # Errors
    /// [`RotationFault`]; then the list before it goes on.
    pub async fn publish_upper(
        &self,
        store: &dyn Store,
        lifetime: i64,
        now: UnixTime,
    ) -> Result<Option<ListDraft>, RotationFault> {
        match self.upper_certificate() {
            Some(certificate) => self.sign_upper(store, &certificate, lifetime, now).await,
            None => Ok(None),
        }
    }

    /// The same for whoever has just signed an intermediate: its list is there before anybody hears of it.
    pub(super) async fn publish_upper_of(
        &self,
        store: &dyn Store,
        minted: &Minted,
        now: UnixTime,
    ) -> Result<(), RotationFault> {
        let upstream = self.rotation.upstream.as_ref().ok_or(RotationFault::NoUpstream)?;
        let signer = upstream.list_signer()?;
        if let Some(signer) = signer.filter(|der| minted.chain.contains(der) || minted.path.root == *der) {
            self.sign_upper(store, &signer, LIST_LIFETIME_FIRST, now).await?;
        }
        Ok(())
    }

    async fn sign_upper(
        &self,
        store: &dyn Store,
        certificate: &[u8],
        lifetime: i64,
        now: UnixTime,
    ) -> Result<Option<ListDraft>, RotationFault> {
        let upstream = self.rotation.upstream.as_ref().ok_or(RotationFault::NoUpstream)?;
        let crypto = || AuthorityFault::Crypto { action: "read the upstream authority's certificate" };
        let issuer = IssuerKeyId::of_certificate(certificate).ok_or_else(crypto)?;
        let ends = end_of(certificate).ok_or_else(crypto)?;
        let (this_update, next_update) = (now.plus(-BACKDATE_SECONDS), now.plus(lifetime).min(ends));
        let validity = ListValidity { this_update, next_update, issuer_ends: ends };
        let Some(draft) = store.draft_upper_list(issuer, validity, now).await? else { return Ok(None) };
        let der = upstream.sign_list(draft.clone()).await?;
        // A token may hold another key than its certificate says.
        let signed = X509Certificate::from_der(certificate).ok().is_some_and(|(_, signer)| {
            let list = x509_parser::parse_x509_crl(&der);
            list.is_ok_and(|(_, list)| list.verify_signature(signer.public_key()).is_ok())
        });
        if !signed {
            return Err(AuthorityFault::Crypto { action: "verify the list that the upstream authority signed" }.into());
        }
        let list = RevocationList { issuer, signer: Signer::Above, number: draft.number, validity, der: der.into() };
        store.keep_revocation_list(list, now).await?;
        Ok(Some(draft))
    }

    /// How the list of whoever signed it names an intermediate; `None` where we do not sign that list.
    pub(super) fn listed(&self, one: &X509Authority) -> Option<ListedAuthority> {
        let upper = self.upper_certificate()?;
        let (_, certificate) = X509Certificate::from_der(&one.der).ok()?;
        let signer = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => KeyId::new(id.key_identifier.as_ref()?.0),
            _ => None,
        });
        if signer != KeyId::of(&CertificateDer::from(upper.as_slice())) {
            return None;
        }
        let (issuer, serial) = (IssuerKeyId::of_certificate(&upper)?, certificate.raw_serial().try_into().ok()?);
        Some(ListedAuthority { issuer, serial, not_after: UnixTime(certificate.validity().not_after.timestamp()) })
    }
}
