//! What an operator's files are: roots, intermediates, CRLs, VEKs, collateral, told apart by what they say. Trusts
//! nothing that the operator did not name, but what is known by its fingerprint.

mod error;
mod proven;
mod sorted;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_evidence::x509::manifest::{KnownRoot, known_root};
use holdfast_evidence::x509::{Anchor, BadEndorsement, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

pub use error::NotImported;
use sorted::{Sorted, bad};

use crate::store::{Endorsement, EndorsementDraft, EndorsementRole, EndorsementSource, Serves, Sha256};

/// One certificate or CRL in DER, or a document of collateral in JSON.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it came from.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// What is said of this file alone, in place of what is said of all.
    pub told: Option<Told>,
    /// When another site fetched it.
    pub fetched_at: Option<UnixTime>,
}

impl File {
    /// A file of which nothing is said.
    #[must_use]
    pub const fn new(name: String, content: Vec<u8>) -> Self {
        Self { name, content, told: None, fetched_at: None }
    }
}

/// What the operator says about the files.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The class of roots that are not known.
    pub class: Option<TrustClass>,
    /// What they serve; empty where it can be told, and else TPMs.
    pub serves: Vec<Serves>,
    /// Certificates that are not self-signed are anchors too.
    pub pin: bool,
}

/// Reads files as what they are. `held` is what is trusted already.
///
/// # Errors
/// [`NotImported`], the first file that cannot be imported.
pub fn read(
    files: Vec<File>,
    told: &Told,
    held: &[Endorsement],
    source: EndorsementSource,
    now: UnixTime,
) -> Result<Vec<EndorsementDraft>, NotImported> {
    let mut sorted = Sorted::default();
    for file in &files {
        sorted.add(file)?;
    }
    let mut reading = Reading { told, source, now, issuers: Issuers::default(), drafts: Vec::new() };
    for held in held {
        reading.issuers.learn_held(&held.draft);
    }
    reading.certificates(&sorted)?;
    reading.crls(&sorted)?;
    reading.veks(&sorted, held)?;
    reading.collateral(&sorted, held)?;
    Ok(reading.drafts)
}

/// What stands above names, as far as it is known.
#[derive(Default)]
struct Issuers(BTreeMap<Vec<u8>, (BTreeSet<Serves>, Option<TrustClass>)>);

impl Issuers {
    fn learn_held(&mut self, draft: &EndorsementDraft) {
        if let (true, Ok((_, certificate))) =
            (draft.role != EndorsementRole::Crl, X509Certificate::from_der(&draft.content))
        {
            self.learn(certificate.subject().as_raw(), &[draft.serves], draft.class.parse().ok());
        }
    }

    fn learn(&mut self, subject: &[u8], serves: &[Serves], class: Option<TrustClass>) {
        let known = self.0.entry(subject.to_vec()).or_default();
        known.0.extend(serves);
        known.1 = known.1.or(class);
    }
}

struct Reading<'t> {
    told: &'t Told,
    source: EndorsementSource,
    now: UnixTime,
    issuers: Issuers,
    drafts: Vec<EndorsementDraft>,
}

impl Reading<'_> {
    fn told<'f>(&'f self, file: &'f File) -> &'f Told {
        file.told.as_ref().unwrap_or(self.told)
    }

    fn fetched_at(&self, file: &File) -> UnixTime {
        file.fetched_at.unwrap_or(self.now).min(self.now)
    }

    /// Roots first, then whoever stands below one that is known by now, then the others.
    fn certificates(&mut self, sorted: &Sorted<'_>) -> Result<(), NotImported> {
        let mut waiting: Vec<&(&File, X509Certificate<'_>)> = sorted.certificates.iter().collect();
        let mut last = false;
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut later = Vec::new();
            for one in waiting {
                let (file, certificate) = one;
                let is_root = self.told(file).pin || certificate.subject().as_raw() == certificate.issuer().as_raw();
                if is_root {
                    self.root(file, certificate)?;
                } else if last || self.issuers.0.contains_key(certificate.issuer().as_raw()) {
                    self.intermediate(file, certificate)?;
                } else {
                    later.push(one);
                }
            }
            last = later.len() == before;
            waiting = later;
        }
        Ok(())
    }

    fn root(&mut self, file: &File, certificate: &X509Certificate<'_>) -> Result<(), NotImported> {
        let known = known_root(&Sha256::of(&file.content).0);
        let class = match (self.told(file).class, known) {
            (Some(told), Some(KnownRoot { name, class, .. })) if told != *class => {
                let (file, name) = (file.name.clone(), (*name).to_owned());
                return Err(NotImported::OtherClass { file, name, class: *class });
            }
            (Some(class), _) => class,
            (None, Some(known)) => known.class,
            (None, None) => return Err(NotImported::NoClass { file: file.name.clone() }),
        };
        let above = known.map(|known| known.kinds.iter().copied().map(Serves::from).collect()).unwrap_or_default();
        let serves = self.serves(file, above);
        let anchor = Anchor::new(&file.content, class).map_err(|source| bad(file, source))?;
        let name = known.map_or_else(|| anchor.name().to_owned(), |known| known.name.to_owned());
        self.push(EndorsementRole::Root, file, certificate, &serves, Some(class), name);
        Ok(())
    }

    fn intermediate(&mut self, file: &File, certificate: &X509Certificate<'_>) -> Result<(), NotImported> {
        let above = self.issuers.0.get(certificate.issuer().as_raw()).cloned().unwrap_or_default();
        let no_class = || NotImported::NoClass { file: file.name.clone() };
        let class = self.told(file).class.or(above.1).ok_or_else(no_class)?;
        let serves = self.serves(file, above.0);
        let name = match Anchor::new(&file.content, class) {
            Ok(anchor) => anchor.name().to_owned(),
            // Platform certificates are signed by keys that certify nothing else.
            Err(BadEndorsement::NotCa) if serves == [Serves::Platforms] => certificate.subject().to_string(),
            Err(source) => return Err(bad(file, source)),
        };
        self.push(EndorsementRole::Intermediate, file, certificate, &serves, Some(class), name);
        Ok(())
    }

    /// The kinds that the operator names, else what is known of it or stands above, else TPMs.
    fn serves(&self, file: &File, above: BTreeSet<Serves>) -> Vec<Serves> {
        match self.told(file).serves.as_slice() {
            [] if above.is_empty() => vec![EvidenceKind::Tpm.into()],
            [] => above.into_iter().collect(),
            told => told.to_vec(),
        }
    }

    fn push(
        &mut self,
        role: EndorsementRole,
        file: &File,
        certificate: &X509Certificate<'_>,
        serves: &[Serves],
        class: Option<TrustClass>,
        name: String,
    ) {
        self.issuers.learn(certificate.subject().as_raw(), serves, class);
        for serves in held_for(serves) {
            self.drafts.push(EndorsementDraft {
                role,
                serves,
                content: file.content.clone(),
                class: class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
                name: name.clone(),
                subject: certificate.subject().to_string(),
                about: String::new(),
                not_after: UnixTime(certificate.validity().not_after.timestamp()),
                source: self.source,
                fetched_at: self.fetched_at(file),
            });
        }
    }

    fn crls(&mut self, sorted: &Sorted<'_>) -> Result<(), NotImported> {
        for (file, crl) in &sorted.crls {
            let above = self.issuers.0.get(crl.issuer().as_raw()).cloned().unwrap_or_default();
            for serves in held_for(&self.serves(file, above.0)) {
                Roots::new().add_crl(&file.content).map_err(|source| bad(file, source))?;
                self.drafts.push(EndorsementDraft {
                    role: EndorsementRole::Crl,
                    serves,
                    content: file.content.clone(),
                    class: String::new(),
                    name: file.name.clone(),
                    subject: crl.issuer().to_string(),
                    about: String::new(),
                    not_after: crl.next_update().map_or(UnixTime(0), |time| UnixTime(time.timestamp())),
                    source: self.source,
                    fetched_at: self.fetched_at(file),
                });
            }
        }
        Ok(())
    }
}

/// The kinds under which it is held: Nitro Enclaves and NitroTPM are one.
fn held_for(serves: &[Serves]) -> BTreeSet<Serves> {
    let one = |serves: &Serves| match serves {
        Serves::Evidence(EvidenceKind::NitroTpm) => EvidenceKind::Nitro.into(),
        other => *other,
    };
    serves.iter().map(one).collect()
}
