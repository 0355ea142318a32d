//! Files by what they are: certificates, CRLs, VEKs, documents. Nothing is verified.

use holdfast_evidence::snp::Vek;
use holdfast_evidence::x509::BadEndorsement;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::{File, NotImported};
use crate::store::endorsements::{CERTIFICATE_BYTES_MAX, CRL_BYTES_MAX};

/// The files by what they are.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) certificates: Vec<(&'a File, X509Certificate<'a>)>,
    pub(super) crls: Vec<(&'a File, CertificateRevocationList<'a>)>,
    pub(super) veks: Vec<(&'a File, Vek)>,
    pub(super) documents: Vec<&'a File>,
}

impl<'a> Sorted<'a> {
    pub(super) fn add(&mut self, file: &'a File) -> Result<(), NotImported> {
        if file.content.trim_ascii_start().starts_with(b"{") {
            self.documents.push(file);
            return Ok(());
        }
        let too_large = |limit| NotImported::TooLarge { file: file.name.clone(), found: file.content.len(), limit };
        if let Ok((rest, certificate)) = X509Certificate::from_der(&file.content) {
            if file.content.len() > CERTIFICATE_BYTES_MAX {
                return Err(too_large(CERTIFICATE_BYTES_MAX));
            }
            if !rest.is_empty() {
                return Err(bad(file, BadEndorsement::NotACertificate));
            }
            match Vek::parse(&file.content) {
                Ok(vek) => self.veks.push((file, vek)),
                Err(_) => self.certificates.push((file, certificate)),
            }
            return Ok(());
        }
        let (_, crl) = CertificateRevocationList::from_der(&file.content)
            .map_err(|_| bad(file, BadEndorsement::NotACertificate))?;
        if file.content.len() > CRL_BYTES_MAX {
            return Err(too_large(CRL_BYTES_MAX));
        }
        self.crls.push((file, crl));
        Ok(())
    }
}

pub(super) fn bad(file: &File, source: BadEndorsement) -> NotImported {
    NotImported::Bad { file: file.name.clone(), source }
}
