//! Collateral that was checked under a root: signatures, signers, their revocation. Dates are asked every time.

use std::sync::Arc;

use holdfast_identity::UnixTime;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{Collateral, Signed};
use crate::tdx::error::{Document, Unverified};
use crate::tdx::pck::VerifiedPck;
use crate::tdx::pki::{self, Certificate};
use crate::tdx::signatures::{self, Proven};
use crate::x509::{RootIdentity, Roots};

/// Collateral whose signatures hold, under one root. Keep it by [`Collateral::digest`] until
/// [`next_update`](Self::next_update): it is a value, and says the same of every quote. Made by [`Collateral::check`]
/// and [`CollateralParts::check`](super::CollateralParts::check).
#[derive(Clone, Debug)]
pub struct CheckedCollateral {
    pub(in crate::tdx) collateral: Arc<Collateral>,
    root: RootIdentity,
    windows: Vec<Window>,
    /// The signatures of the documents and of what is above them.
    pub(in crate::tdx) proven: Proven,
}

/// From when to when a document counts, seconds since 1970.
#[derive(Clone, Copy, Debug)]
struct Window {
    document: Document,
    not_before: i64,
    not_after: i64,
}

impl Collateral {
    /// Checks everything that does not need a quote: both documents by their signers, the signers and the root's CRL
    /// under one of `roots`, revocation of the signers, dates, and that they are about TDX.
    ///
    /// # Errors
    /// [`Unverified`], of which [`is_collateral`](Unverified::is_collateral) is true.
    pub fn check(self: &Arc<Self>, roots: &Roots, now: UnixTime) -> Result<CheckedCollateral, Unverified> {
        CheckedCollateral::made_by(|| self.check_documents(roots, now))
    }

    pub(super) fn check_documents(
        self: &Arc<Self>,
        roots: &Roots,
        now: UnixTime,
    ) -> Result<CheckedCollateral, Unverified> {
        self.check_kind()?;
        let mut windows = Vec::with_capacity(6);
        let tcb = Signer::check(&self.tcb_info, Document::TcbInfo, roots, now)?;
        let qe = Signer::check(&self.qe_identity, Document::QeIdentity, roots, now)?;
        for (document, signer) in [(Document::TcbInfo, &tcb), (Document::QeIdentity, &qe)] {
            let (not_before, not_after) = (signer.path.not_before, signer.path.not_after);
            windows.push(Window { document, not_before, not_after });
        }
        if tcb.path.root != qe.path.root {
            return Err(Unverified::CollateralRoot);
        }
        for (document, issued_at, next_update) in [
            (Document::TcbInfo, self.tcb_head.issued_at, self.tcb_head.next_update),
            (Document::QeIdentity, self.qe_head.issued_at, self.qe_head.next_update),
        ] {
            let (not_before, not_after) = (issued_at.seconds(), next_update.seconds());
            windows.push(Window { document, not_before, not_after });
        }
        let root = Certificate::parse(&tcb.path.root_der).map_err(|_| Unverified::CollateralRoot)?;
        let root_list = List::parse(&self.root_crl, Document::RootCrl)?;
        root_list.check_signature(&root)?;
        windows.push(root_list.window);
        for (document, serial) in [(Document::TcbInfo, &tcb.serial), (Document::QeIdentity, &qe.serial)] {
            if root_list.revokes(serial) {
                return Err(Unverified::CollateralSignerRevoked { document });
            }
        }
        let pck_list = List::parse(&self.pck_crl, Document::PckCrl)?;
        windows.push(pck_list.window);
        if let Some(chain) = &self.pck_chain {
            pck_list.check_signature(&chain.check_ca(&tcb.path.root_der, roots, now)?)?;
        } else if let Some(ca) = self.pck_ca.as_deref().and_then(|der| Certificate::parse(der).ok()) {
            learn(&ca, &root, &pck_list);
        }
        let root = tcb.path.root;
        let checked = CheckedCollateral { collateral: Arc::clone(self), root, windows, proven: Proven::new() };
        checked.is_current(now)?;
        Ok(checked)
    }

    fn check_kind(&self) -> Result<(), Unverified> {
        let other = |document, field| Err(Unverified::CollateralMismatch { document, field });
        if self.tcb_head.id != "TDX" {
            return other(Document::TcbInfo, "id");
        }
        if self.tcb_head.version != 3 {
            return other(Document::TcbInfo, "version");
        }
        if self.qe_head.id != "TD_QE" {
            return other(Document::QeIdentity, "id");
        }
        if !matches!(self.qe_head.version, 2 | 3) {
            return other(Document::QeIdentity, "version");
        }
        Ok(())
    }
}

/// Has the signatures of a CA remembered that was found among the certificates at hand. It decides nothing: the CA that
/// counts is the quote's, which mostly is the same one.
fn learn(ca: &Certificate, root: &Certificate, list: &List) {
    if ca.is_issued_by(root).is_ok() {
        let _ = list.check_signature(ca);
    }
}

impl CheckedCollateral {
    /// What such a check gives, with the signatures that it verified.
    pub(super) fn made_by(check: impl FnOnce() -> Result<Self, Unverified>) -> Result<Self, Unverified> {
        let (checked, proven) = signatures::scope(Proven::new(), check);
        checked.map(|checked| Self { proven, ..checked })
    }

    /// The documents.
    #[must_use]
    pub fn collateral(&self) -> &Arc<Collateral> {
        &self.collateral
    }

    /// The root that it lies under.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.root
    }

    /// The earliest end of any document or certificate in it: fetch it anew before that.
    #[must_use]
    pub fn next_update(&self) -> UnixTime {
        UnixTime(self.windows.iter().map(|window| window.not_after).min().unwrap_or(i64::MIN))
    }

    /// Whether every document counts at `now`.
    ///
    /// # Errors
    /// [`Unverified::CollateralExpired`], [`Unverified::CollateralEarly`].
    pub fn is_current(&self, now: UnixTime) -> Result<(), Unverified> {
        let now = now.seconds();
        for Window { document, not_before, not_after } in self.windows.iter().copied() {
            if now < not_before {
                return Err(Unverified::CollateralEarly { document, not_before, now });
            }
            if now > not_after {
                return Err(Unverified::CollateralExpired { document, not_after, now });
            }
        }
        Ok(())
    }

    /// Whether the PCK CRL is the list of this CA, DER, and the root stands above the CA and has not revoked it: for
    /// those who keep collateral before any platform of its kind shows itself.
    ///
    /// # Errors
    /// [`Unverified::CollateralSigner`] for the CA, [`Unverified::CollateralRoot`], [`Unverified::PckRevoked`],
    /// [`Unverified::CollateralSignature`].
    pub fn check_pck_list(&self, ca: &[u8], roots: &Roots, now: UnixTime) -> Result<(), Unverified> {
        let document = Document::PckCrl;
        let bad = |problem| Unverified::CollateralSigner { document, problem };
        let ca = Certificate::parse(ca).map_err(bad)?;
        if pki::ca_path(&ca, roots, now).map_err(bad)?.sha256 != self.root.sha256 {
            return Err(Unverified::CollateralRoot);
        }
        if List::parse(&self.collateral.root_crl, Document::RootCrl)?.revokes(ca.parsed.raw_serial()) {
            return Err(Unverified::PckRevoked { certificate: "PCK CA" });
        }
        List::parse(&self.collateral.pck_crl, document)?.check_signature(&ca)
    }

    /// Whether it is about this platform, under its root, and revokes neither its PCK certificate nor the CA above.
    ///
    /// # Errors
    /// [`Unverified::CollateralMismatch`], [`Unverified::CollateralRoot`], [`Unverified::CollateralSignature`] of the
    /// PCK CRL, [`Unverified::PckRevoked`].
    pub fn admits(&self, pck: &VerifiedPck) -> Result<(), Unverified> {
        let Collateral { tcb_head, root_crl, pck_crl, .. } = &*self.collateral;
        let platform = pck.platform();
        let other = |document, field| Err(Unverified::CollateralMismatch { document, field });
        if tcb_head.fmspc != platform.kind.fmspc {
            return other(Document::TcbInfo, "fmspc");
        }
        if tcb_head.pce_id != platform.pce_id {
            return other(Document::TcbInfo, "pceId");
        }
        if self.root.sha256 != pck.root().sha256 {
            return Err(Unverified::CollateralRoot);
        }
        let malformed = |document| Unverified::CollateralSignature { document };
        let ca = Certificate::parse(&pck.ca).map_err(Unverified::Pck)?;
        let leaf = Certificate::parse(&pck.leaf).map_err(Unverified::Pck)?;
        if List::parse(root_crl, Document::RootCrl)?.revokes(ca.parsed.raw_serial()) {
            return Err(Unverified::PckRevoked { certificate: "PCK CA" });
        }
        let list = List::parse(pck_crl, Document::PckCrl)?;
        if list.issuer != ca.parsed.subject().as_raw() {
            return other(Document::PckCrl, "issuer");
        }
        list.check_signature(&ca).map_err(|_| malformed(Document::PckCrl))?;
        if list.revokes(leaf.parsed.raw_serial()) {
            return Err(Unverified::PckRevoked { certificate: "PCK" });
        }
        Ok(())
    }
}

/// A document's signer, verified together with its signature.
pub(super) struct Signer {
    path: pki::Path,
    serial: Vec<u8>,
}

impl Signer {
    /// Checks the signer, the chain that stood beside the document, and the signature.
    pub(super) fn check(signed: &Signed, document: Document, roots: &Roots, now: UnixTime) -> Result<Self, Unverified> {
        let bad = |problem| Unverified::CollateralSigner { document, problem };
        let signer = Certificate::parse(&signed.signer).map_err(bad)?;
        // Intel's root issues it itself, as it does the CAs: no CA of platforms speaks for TCBs.
        let path = pki::path(&signer, None, roots, now).map_err(bad)?;
        pki::verify_raw(&signer.key, signed.text.as_bytes(), &signed.signature)
            .map_err(|_| Unverified::CollateralSignature { document })?;
        if let Some(chain) = &signed.chain {
            chain.check(&signed.signer, &path.root_der, document)?;
        }
        Ok(Self { path, serial: signer.parsed.raw_serial().to_vec() })
    }
}

/// A revocation list.
pub(super) struct List<'a> {
    document: Document,
    parsed: CertificateRevocationList<'a>,
    issuer: Vec<u8>,
    window: Window,
}

impl<'a> List<'a> {
    pub(super) fn parse(der: &'a [u8], document: Document) -> Result<Self, Unverified> {
        let other = |field| Unverified::CollateralMismatch { document, field };
        let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| other("encoding"))?;
        // A list without an end would never be out of date.
        let end = parsed.next_update().ok_or(other("nextUpdate"))?;
        if !rest.is_empty() || parsed.extensions().iter().any(|extension| extension.critical) {
            return Err(other("encoding"));
        }
        // The second of nextUpdate is the next list's already. A list from the future revokes no less.
        let window = Window { document, not_before: i64::MIN, not_after: end.timestamp().saturating_sub(1) };
        Ok(Self { document, issuer: parsed.issuer().as_raw().to_vec(), parsed, window })
    }

    pub(super) fn check_signature(&self, issuer: &Certificate<'_>) -> Result<(), Unverified> {
        let bad = Unverified::CollateralSignature { document: self.document };
        let is_ours = pki::is_ours(&self.parsed.signature_algorithm, &self.parsed.tbs_cert_list.signature);
        if !is_ours || self.issuer != issuer.parsed.subject().as_raw() {
            return Err(bad);
        }
        let signature = &self.parsed.signature_value.data;
        pki::verify_der(&issuer.key, self.parsed.tbs_cert_list.as_ref(), signature).map_err(|_| bad)
    }

    fn revokes(&self, serial: &[u8]) -> bool {
        self.parsed.iter_revoked_certificates().any(|entry| digits(entry.raw_serial()) == digits(serial))
    }
}

/// A serial number without zeros in front.
fn digits(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    serial.get(zeros..).unwrap_or_default()
}
