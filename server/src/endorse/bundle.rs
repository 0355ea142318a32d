//! Endorsements as one file for sites without a network: a line of JSON for each, a head before and a digest behind. The
//! digest says that nothing was lost on the way; it is no signature, and nothing is trusted for being in a bundle.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_evidence::TrustClass;
use holdfast_evidence::x509::manifest::known_root;
use holdfast_identity::{TrustDomain, UnixTime};
use serde::{Deserialize, Serialize};

use super::reading::{self, File, NotImported, Told};
use crate::store::{Endorsement, EndorsementDraft, EndorsementRole, EndorsementSource, Serves, Sha256};

/// Bytes of a bundle: some 50,000 VEKs.
pub const BUNDLE_BYTES_MAX: usize = 128 << 20;
/// The first words of every bundle.
const FORMAT: &str = "holdfast-endorsements/1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    trust_domain: String,
    exported_at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    role: String,
    serves: String,
    class: String,
    name: String,
    about: String,
    fetched_at: i64,
    not_after: i64,
    sha256: String,
    content: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    endorsements: u64,
    sha256: String,
}

/// Why a bundle cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum BadBundle {
    /// It is something else, or of a later version.
    #[error("not a bundle of endorsements of format {FORMAT}")]
    Format,
    /// A line does not read.
    #[error("line {line} of the bundle does not read: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something is missing, or was changed on the way.
    #[error("bundle is not whole: its digest is {found}, its last line says {expected}")]
    Digest {
        /// As the last line says.
        expected: String,
        /// Of what came.
        found: String,
    },
    /// What is in it cannot be imported.
    #[error(transparent)]
    NotImported(#[from] NotImported),
}

impl BadBundle {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Format => "endorsements.bundle_format",
            Self::Line { .. } => "endorsements.bundle_line",
            Self::Digest { .. } => "endorsements.bundle_digest",
            Self::NotImported(refused) => refused.code(),
        }
    }
}

/// Writes a bundle, part by part.
pub struct BundleWriter {
    hash: ring::digest::Context,
    lines: u64,
}

impl BundleWriter {
    /// A bundle's writer, and its first line.
    #[must_use]
    pub fn new(trust_domain: &TrustDomain, now: UnixTime) -> (Self, Vec<u8>) {
        let mut writer = Self { hash: ring::digest::Context::new(&ring::digest::SHA256), lines: 0 };
        let head =
            Head { format: FORMAT.to_owned(), trust_domain: trust_domain.to_string(), exported_at: now.seconds() };
        let head = writer.line(&head);
        (writer, head)
    }

    /// The line of one endorsement.
    #[must_use]
    pub fn endorsement(&mut self, held: &Endorsement) -> Vec<u8> {
        self.lines += 1;
        let draft = &held.draft;
        self.line(&Line {
            role: draft.role.as_str().to_owned(),
            serves: draft.serves.as_str().to_owned(),
            class: draft.class.clone(),
            name: draft.name.clone(),
            about: draft.about.clone(),
            fetched_at: draft.fetched_at.seconds(),
            not_after: draft.not_after.seconds(),
            sha256: held.sha256.to_string(),
            content: STANDARD.encode(&draft.content),
        })
    }

    /// The last line.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        let sha256 = hex::encode(self.hash.clone().finish());
        self.line(&End { endorsements: self.lines, sha256 })
    }

    fn line(&mut self, line: &impl Serialize) -> Vec<u8> {
        // Texts and numbers: always written.
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        self.hash.update(&bytes);
        bytes
    }
}

/// Whether roots are trusted that only the bundle speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownRoots {
    /// They are refused.
    Refused,
    /// They are imported with the class that the bundle gives them.
    Accepted,
}

/// Reads a bundle: everything in it that has not ended. `held` is what is trusted already.
///
/// # Errors
/// [`BadBundle`]: nothing of it is imported.
pub fn read(
    bytes: &[u8],
    unknown_roots: UnknownRoots,
    held: &[Endorsement],
    now: UnixTime,
) -> Result<Vec<EndorsementDraft>, BadBundle> {
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|_| BadBundle::Format)?;
    if head.format != FORMAT {
        return Err(BadBundle::Format);
    }
    let cut = || BadBundle::Digest { expected: "nothing".to_owned(), found: Sha256::of(bytes).to_string() };
    let body = bytes.strip_suffix(b"\n").ok_or_else(cut)?;
    let end = body.iter().rposition(|byte| *byte == b'\n').ok_or_else(cut)?;
    let (lines, last) = (bytes.get(..=end).unwrap_or_default(), body.get(end + 1..).unwrap_or_default());
    let end: End = serde_json::from_slice(last).map_err(|_| cut())?;
    let found = Sha256::of(lines).to_string();
    if found != end.sha256 {
        return Err(BadBundle::Digest { expected: end.sha256, found });
    }
    let mut files = Vec::new();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for (at, line) in lines.enumerate().skip(1) {
        files.extend(file(line, at + 1, now)?);
    }
    let drafts = reading::read(files, &Told::default(), held, EndorsementSource::Bundle, now)?;
    if unknown_roots == UnknownRoots::Refused {
        let unknown = drafts.iter().find(|draft| draft.role == EndorsementRole::Root && !is_known(draft, held));
        if let Some(draft) = unknown {
            return Err(NotImported::UnknownRoot { file: draft.name.clone() }.into());
        }
    }
    Ok(drafts)
}

/// One line as a file; `None` if it has ended.
fn file(line: &[u8], number: usize, now: UnixTime) -> Result<Option<File>, BadBundle> {
    let bad = |reason: String| BadBundle::Line { line: number, reason };
    let line: Line = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
    let content = STANDARD.decode(&line.content).map_err(|error| bad(error.to_string()))?;
    if Sha256::of(&content).to_string() != line.sha256 {
        return Err(bad("content has another digest".to_owned()));
    }
    let role = EndorsementRole::parse(&line.role).ok_or_else(|| bad(format!("no role {:?}", line.role)))?;
    if !role.is_trust() && line.not_after < now.seconds() {
        return Ok(None);
    }
    let serves = Serves::parse(&line.serves).ok_or_else(|| bad(format!("serves none of {}", Serves::NAMES)))?;
    let class = match line.class.as_str() {
        "" => None,
        class => Some(class.parse::<TrustClass>().map_err(|error| bad(error.to_string()))?),
    };
    Ok(Some(File {
        name: line.name,
        content,
        told: Some(Told { class, serves: vec![serves], pin: role == EndorsementRole::Root }),
        fetched_at: Some(UnixTime(line.fetched_at)),
    }))
}

/// A root that is known by its fingerprint to serve that kind, or that is held for it already.
fn is_known(draft: &EndorsementDraft, held: &[Endorsement]) -> bool {
    let sha256 = Sha256::of(&draft.content);
    let is_held = held.iter().any(|held| {
        held.sha256 == sha256
            && held.draft.role == EndorsementRole::Root
            && (held.draft.serves, &held.draft.class) == (draft.serves, &draft.class)
    });
    is_held
        || known_root(&sha256.0).is_some_and(|known| {
            known.kinds.iter().any(|kind| draft.serves == *kind) && known.class.as_str() == draft.class
        })
}
