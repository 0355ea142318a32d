//! Whom an inspection of confidential computing trusts: what `--roots` names, else what came along and is known by its
//! fingerprint.

use std::path::Path;

use anyhow::{Context, bail};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::x509::manifest::known_root;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};

use super::certificates;
use super::flags::Flags;

/// Trusted roots for evidence of one kind. Certificates that issued themselves are roots, others help to build paths.
/// `None` if nobody is trusted and nobody claims to be a root: then nothing can be asked.
///
/// # Errors
/// `--roots` cannot be read, or holds no certificate: usage, and no refusal of the evidence.
pub(super) fn roots(flags: &Flags, kind: EvidenceKind, offered: &[Vec<u8>]) -> anyhow::Result<Option<Roots>> {
    match &flags.roots {
        Some(path) => named(path, flags.root_class).map(Some),
        None => Ok(known(kind, offered)),
    }
}

/// What `--roots` names: a file of certificates, or a folder in which other things may lie.
fn named(path: &Path, class: TrustClass) -> anyhow::Result<Roots> {
    let found = certificates::below(path)?;
    let mut roots = Roots::new();
    for der in &found {
        let cannot = || format!("certificate in {}", path.display());
        if certificates::is_self_issued(der) {
            match Anchor::new(der, class_of(der, class)) {
                Ok(anchor) => roots.add(anchor),
                Err(_) if path.is_dir() => {}
                Err(error) => return Err(error).with_context(cannot),
            }
        } else {
            roots.add_intermediate(der).with_context(cannot)?;
        }
    }
    if roots.is_empty() {
        bail!("no root certificate in {}", path.display());
    }
    Ok(roots)
}

/// What came along and is a vendor's root for this kind.
fn known(kind: EvidenceKind, offered: &[Vec<u8>]) -> Option<Roots> {
    let mut claimed = offered.iter().filter(|der| certificates::is_self_issued(der)).peekable();
    claimed.peek()?;
    let mut roots = Roots::new();
    for der in claimed {
        let vendor = known_root(&sha256(&[der])).filter(|root| root.kinds.contains(&kind));
        if let Some(anchor) = vendor.and_then(|root| Anchor::new(der, root.class).ok()) {
            roots.add(anchor);
        }
    }
    Some(roots)
}

/// The class of a root that is known by its fingerprint, else what the caller says.
fn class_of(der: &[u8], otherwise: TrustClass) -> TrustClass {
    known_root(&sha256(&[der])).map_or(otherwise, |root| root.class)
}
