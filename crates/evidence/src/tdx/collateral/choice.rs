//! Which edition of a document counts, where several are at hand: of those that are genuine and count now the one with the
//! highest evaluation number, then the newest. What is not genuine, or not of today, does not stand in the way of what is;
//! where nothing is left the newest stands there, so that the check says what is wrong with it.

use std::cmp::Reverse;
use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::chain::Chain;
use super::checked::{List, Signer};
use super::json::Head;
use super::parts::{CollateralParts, Edition, RevocationList};
use super::{CheckedCollateral, Collateral, Signed};
use crate::tdx::error::{Document, Unverified};
use crate::tdx::pck::{PckCa, PlatformKind, VerifiedPck};
use crate::tdx::pki::{self, BadCertificate, Certificate};
use crate::x509::{Anchor, Roots};

/// Editions of one document that are tried, each with every signer: Intel has two in force at a time.
const EDITIONS_MAX: usize = 16;
/// Signers that are tried: Intel has one, and renews it.
const SIGNERS_MAX: usize = 8;

impl CollateralParts {
    /// The four documents for one kind of platform, checked: of each the edition that counts, under `roots` and at `now`.
    ///
    /// # Errors
    /// [`Unverified::CollateralMissing`] for the first that is not there, else as [`Collateral::check`].
    pub fn check(&self, kind: PlatformKind, roots: &Roots, now: UnixTime) -> Result<CheckedCollateral, Unverified> {
        self.choose(kind, &Judge { roots, now, ca: None })
    }

    /// The same for the platform of a quote: the CA above its certificate says whose the PCK CRL is.
    ///
    /// # Errors
    /// As [`check`](Self::check). Whether it [admits](CheckedCollateral::admits) the platform is still to be asked.
    pub fn check_for(&self, pck: &VerifiedPck, roots: &Roots, now: UnixTime) -> Result<CheckedCollateral, Unverified> {
        self.choose(pck.platform().kind, &Judge { roots, now, ca: Some(&pck.ca) })
    }

    fn choose(&self, kind: PlatformKind, judge: &Judge<'_>) -> Result<CheckedCollateral, Unverified> {
        CheckedCollateral::made_by(|| Arc::new(self.take(kind, Some(judge))?).check_documents(judge.roots, judge.now))
    }

    /// The four documents for one kind of platform, of each the newest edition. Nothing is verified, so that anything newer
    /// stands in the way: who has roots asks [`check`](Self::check).
    ///
    /// # Errors
    /// [`Unverified::CollateralMissing`] for the first that is not there.
    pub fn collateral(&self, kind: PlatformKind) -> Result<Collateral, Unverified> {
        self.take(kind, None)
    }

    fn take(&self, kind: PlatformKind, judge: Option<&Judge<'_>>) -> Result<Collateral, Unverified> {
        let for_platform = self.tcb_infos.iter().filter(|edition| edition.head.fmspc == kind.fmspc);
        let tcb_info = self.edition(for_platform, Document::TcbInfo, judge)?;
        let qe_identity = self.edition(self.qe_identities.iter(), Document::QeIdentity, judge)?;
        let pck_list = self.pck_list(kind.ca, judge)?;
        let (tcb_signed, qe_signed) = (tcb_info.signed?, qe_identity.signed?);
        let root_list = self.root_list(&tcb_signed.signer, judge)?;
        Ok(Collateral {
            pck_ca: self.issuer_of(pck_list, judge),
            pck_chain: pck_list.chain.clone(),
            pck_crl: pck_list.der.clone(),
            root_crl: root_list.der.clone(),
            tcb_head: tcb_info.edition.head.clone(),
            qe_head: qe_identity.edition.head.clone(),
            tcb_info: tcb_signed,
            qe_identity: qe_signed,
            ca: kind.ca,
        })
    }

    fn edition<'e, H: Head + 'e>(
        &self,
        editions: impl Iterator<Item = &'e Edition<H>>,
        document: Document,
        judge: Option<&Judge<'_>>,
    ) -> Result<Chosen<'e, H>, Unverified> {
        let mut editions: Vec<&Edition<H>> = editions.collect();
        editions.sort_by_key(|edition| Reverse(edition.head.rank()));
        if let Some(judge) = judge {
            let signers = self.signers(judge.roots);
            let of_today = editions.iter().filter(|edition| edition.head.counts_at(judge.now)).take(EDITIONS_MAX);
            for edition in of_today {
                if let Some(signed) = judge.signed(edition, &signers, document) {
                    return Ok(Chosen { edition, signed: Ok(signed) });
                }
            }
        }
        let newest = editions.into_iter().max_by_key(|edition| edition.head.issued_at());
        let edition = newest.ok_or(Unverified::missing(document))?;
        Ok(Chosen { edition, signed: self.unjudged(edition, document) })
    }

    /// Certificates that may sign documents under one of these roots, by their names, the last that came first.
    fn signers(&self, roots: &Roots) -> Vec<&Vec<u8>> {
        let parsed = |der: &[u8]| Certificate::parse(der).ok().map(|one| one.parsed.subject().as_raw().to_vec());
        let names: Vec<Vec<u8>> = roots.anchors().iter().filter_map(|anchor| parsed(anchor.der())).collect();
        let may_sign = |der: &&Vec<u8>| {
            Certificate::parse(der).is_ok_and(|leaf| {
                !leaf.parsed.is_ca() && names.iter().any(|name| name == leaf.parsed.issuer().as_raw())
            })
        };
        self.certificates.iter().rev().filter(may_sign).take(SIGNERS_MAX).collect()
    }

    /// The document with its signer: of the chain beside it, else of the certificates at hand the one that it verifies
    /// under, else the last that could be one, so that the check says what is wrong.
    fn unjudged<H>(&self, edition: &Edition<H>, document: Document) -> Result<Signed, Unverified> {
        let missing = Unverified::CollateralSigner { document, problem: BadCertificate::Missing };
        if let Some(chain) = &edition.chain {
            return Ok(edition.signed_by(chain.signer().ok_or(missing)?));
        }
        let mut signers =
            self.certificates.iter().rev().filter(|der| Certificate::parse(der).is_ok_and(|leaf| !leaf.parsed.is_ca()));
        let verifies = |der: &&Vec<u8>| {
            Certificate::parse(der)
                .is_ok_and(|one| pki::verify_raw(&one.key, edition.text.as_bytes(), &edition.signature).is_ok())
        };
        let last = signers.clone().next();
        Ok(edition.signed_by(signers.find(verifies).or(last).ok_or(missing)?))
    }

    /// The list of whoever issued that signer. A list of anybody else, of another vendor's root say, is none.
    fn root_list(&self, signer: &[u8], judge: Option<&Judge<'_>>) -> Result<&RevocationList, Unverified> {
        let name = Certificate::parse(signer).map(|signer| signer.parsed.issuer().as_raw().to_vec());
        let is_named = |list: &&RevocationList| name.as_ref().is_ok_and(|name| *name == list.issuer);
        let roots = judge.into_iter().flat_map(|judge| judge.roots.anchors());
        let issuers: Vec<&[u8]> = roots.map(Anchor::der).collect();
        self.list(is_named, &issuers, Document::RootCrl, judge)
    }

    /// The list of a CA of that name.
    fn pck_list(&self, ca: PckCa, judge: Option<&Judge<'_>>) -> Result<&RevocationList, Unverified> {
        let is_named = |list: &&RevocationList| PckCa::of(&list.issuer_name) == Some(ca);
        let issuers = judge.map(|judge| self.cas(judge)).unwrap_or_default();
        self.list(is_named, &issuers, Document::PckCrl, judge)
    }

    /// Of the lists the newest that verifies under one of the issuers and has not ended, else the newest.
    fn list(
        &self,
        is_named: impl Fn(&&RevocationList) -> bool,
        issuers: &[&[u8]],
        document: Document,
        judge: Option<&Judge<'_>>,
    ) -> Result<&RevocationList, Unverified> {
        let mut lists: Vec<&RevocationList> = self.lists.iter().filter(is_named).collect();
        lists.sort_by_key(|list| Reverse(list.issued_at));
        let newest = lists.first().copied().ok_or(Unverified::missing(document))?;
        let Some(judge) = judge else { return Ok(newest) };
        let of_today = lists.into_iter().filter(|list| list.ends_at > judge.now.seconds()).take(EDITIONS_MAX);
        let verifies = |list: &&RevocationList| {
            let Ok(parsed) = List::parse(&list.der, document) else { return false };
            let is_own = |der: &&[u8]| {
                let whole = |chain: &Chain| judge.roots.anchors().iter().any(|root| chain.is(der, root.der()));
                list.chain.as_ref().is_none_or(whole)
            };
            let mut issuers = issuers.iter().copied().filter(is_own);
            issuers.any(|der| Certificate::parse(der).is_ok_and(|ca| parsed.check_signature(&ca).is_ok()))
        };
        Ok(of_today.into_iter().find(verifies).unwrap_or(newest))
    }

    /// The quote's CA and those at hand that stand under a root.
    fn cas<'c>(&'c self, judge: &Judge<'c>) -> Vec<&'c [u8]> {
        let is_ca = |der: &&[u8]| {
            Certificate::parse(der)
                .is_ok_and(|ca| ca.parsed.is_ca() && pki::ca_path(&ca, judge.roots, judge.now).is_ok())
        };
        let at_hand = self.certificates.iter().rev().map(Vec::as_slice);
        judge.ca.into_iter().chain(at_hand).filter(is_ca).take(SIGNERS_MAX).collect()
    }

    /// The certificate under which a list verifies, if it is at hand.
    fn issuer_of(&self, list: &RevocationList, judge: Option<&Judge<'_>>) -> Option<Vec<u8>> {
        let parsed = List::parse(&list.der, Document::PckCrl).ok()?;
        let signs = |der: &&Vec<u8>| {
            Certificate::parse(der).is_ok_and(|ca| {
                ca.parsed.subject().as_raw() == list.issuer
                    && judge.is_none_or(|judge| pki::ca_path(&ca, judge.roots, judge.now).is_ok())
                    && parsed.check_signature(&ca).is_ok()
            })
        };
        self.certificates.iter().rev().find(signs).cloned()
    }
}

/// By what it is judged which edition is genuine.
struct Judge<'a> {
    roots: &'a Roots,
    now: UnixTime,
    /// The CA above a quote's certificate.
    ca: Option<&'a [u8]>,
}

impl Judge<'_> {
    /// The document with a signer under which it holds.
    fn signed<H>(&self, edition: &Edition<H>, signers: &[&Vec<u8>], document: Document) -> Option<Signed> {
        let own = edition.chain.as_ref().map(|chain| chain.signer());
        let signers = own.map_or_else(|| signers.to_vec(), |own| own.into_iter().collect());
        let signed = signers.into_iter().map(|der| edition.signed_by(der));
        let mut holds = signed.filter(|signed| Signer::check(signed, document, self.roots, self.now).is_ok());
        holds.next()
    }
}

/// An edition with what could be found of its signer.
struct Chosen<'e, H> {
    edition: &'e Edition<H>,
    signed: Result<Signed, Unverified>,
}
