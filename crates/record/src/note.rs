//! Signed notes and their keys, as `c2sp.org/signed-note` writes them: text, a blank line, signature lines.
//!
//! Signs with Ed25519 (type 0x01) alone, and verifies that and the cosignatures of witnesses (type 0x04,
//! `c2sp.org/tlog-cosignature`). Signature lines of other keys are carried along and believed by nobody.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_evidence::crypto::{CryptoFault, Ed25519Key, Zeroizing, sha256, verify_ed25519};

/// Bytes of a note at most: sixteen post-quantum signatures fit.
pub const NOTE_BYTES_MAX: usize = 128 << 10;
/// Signature lines of a note at most; the standard asks for at least sixteen.
pub const SIGNATURES_MAX: usize = 32;
/// Bytes of a key's name at most.
pub const NAME_BYTES_MAX: usize = 320;

const ED25519: u8 = 0x01;
const COSIGNATURE_V1: u8 = 0x04;
/// How the line of a signature begins: an em dash and a space.
const DASH: &str = "\u{2014} ";
const PRIVATE: &str = "PRIVATE+KEY+";

/// A note whose form was checked, and none of its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text with its final newline: what is signed.
    pub text: String,
    /// In the order of the note.
    pub signatures: Vec<Signature>,
}

/// One line of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub name: String,
    /// Which key of that name.
    pub key_id: [u8; 4],
    /// What follows the key's ID.
    pub bytes: Vec<u8>,
}

/// Bytes are not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a signed note: {0}")]
pub struct BadNote(pub &'static str);

impl Note {
    /// Reads a note: every byte is accounted for.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn parse(note: &str) -> Result<Self, BadNote> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(BadNote("too long"));
        }
        if note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(BadNote("has a control character"));
        }
        let split = note.rfind("\n\n").ok_or(BadNote("has no blank line"))?;
        let (text, lines) = note.split_at_checked(split + 1).ok_or(BadNote("has no blank line"))?;
        let lines = lines.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or(BadNote("does not end with a line of a signature"))?;
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<Vec<_>, _>>()?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(BadNote("has too many signatures"));
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Whether `key` signed it: every line under its name and ID must verify, and there must be one.
    #[must_use]
    pub fn is_signed_by(&self, key: &VerifierKey) -> bool {
        let mut of_key = self.signatures.iter().filter(|line| line.name == key.name && line.key_id == key.id);
        let mut any = false;
        let all = of_key.all(|line| {
            any = true;
            key.verifies(&self.text, &line.bytes)
        });
        any && all
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl Signature {
    fn parse(line: &str) -> Result<Self, BadNote> {
        const BAD: BadNote = BadNote("has a malformed line of a signature");
        let (name, bytes) = line.strip_prefix(DASH).and_then(|line| line.split_once(' ')).ok_or(BAD)?;
        let bytes = STANDARD.decode(bytes).map_err(|_| BAD)?;
        let (key_id, bytes) = bytes.split_first_chunk().ok_or(BAD)?;
        if !is_name(name) || bytes.is_empty() {
            return Err(BAD);
        }
        Ok(Self { name: name.to_owned(), key_id: *key_id, bytes: bytes.to_vec() })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DASH}{} {}", self.name, STANDARD.encode([self.key_id.as_slice(), &self.bytes].concat()))
    }
}

/// Whether a key may be named so: not empty, without spaces of any alphabet, without `+`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

fn key_id(name: &str, kind: u8, public: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[kind], public]);
    hash.first_chunk().copied().unwrap_or_default()
}

/// What a key's signatures are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519,
    CosignatureV1,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => ED25519,
            Self::CosignatureV1 => COSIGNATURE_V1,
        }
    }
}

/// A public key with its name: of a log, or of a witness.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    id: [u8; 4],
    public: [u8; 32],
}

/// Text is not a key in the form of signed notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a key of a signed note: {0}")]
pub struct BadKey(pub &'static str);

impl BadKey {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "record.key"
    }
}

impl VerifierKey {
    /// The key's name: for a log, its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a witness's: its signatures say when it saw the checkpoint.
    #[must_use]
    pub fn is_witness(&self) -> bool {
        self.kind == Kind::CosignatureV1
    }

    fn new(name: &str, kind: Kind, public: [u8; 32]) -> Self {
        Self { name: name.to_owned(), kind, id: key_id(name, kind.byte(), &public), public }
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        match self.kind {
            Kind::Ed25519 => verify_ed25519(&self.public, text.as_bytes(), signature).is_ok(),
            Kind::CosignatureV1 => {
                let Some((time, signature)) = signature.split_first_chunk() else { return false };
                let time = u64::from_be_bytes(*time);
                let message = format!("cosignature/v1\ntime {time}\n{text}");
                time <= i64::MAX.cast_unsigned() && verify_ed25519(&self.public, message.as_bytes(), signature).is_ok()
            }
        }
    }
}

impl FromStr for VerifierKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey("expected name+id+key"));
        };
        if !is_name(name) {
            return Err(BadKey("its name is empty or has spaces"));
        }
        let bytes = STANDARD.decode(key).map_err(|_| BadKey("its key is not base64"))?;
        let (kind, public) = bytes.split_first().ok_or(BadKey("its key is empty"))?;
        let kind = match *kind {
            ED25519 => Kind::Ed25519,
            COSIGNATURE_V1 => Kind::CosignatureV1,
            _ => return Err(BadKey("its type is neither Ed25519 nor cosignature/v1")),
        };
        let key = Self::new(name, kind, public.try_into().map_err(|_| BadKey("its key has not 32 bytes"))?);
        if hex::encode(key.id) != id {
            return Err(BadKey("its ID is not that of its name and key"));
        }
        Ok(key)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[self.kind.byte()].as_slice(), &self.public].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The log's own key with its name, wiped when dropped.
#[derive(Debug)]
pub struct SigningKey {
    verifier: VerifierKey,
    key: Ed25519Key,
}

impl SigningKey {
    /// The key of that name with this seed, which must be random.
    ///
    /// # Errors
    /// [`BadKey`] if nothing may be named so.
    pub fn from_seed(name: &str, seed: Zeroizing<[u8; 32]>) -> Result<Self, BadKey> {
        if !is_name(name) {
            return Err(BadKey("its name is empty or has spaces"));
        }
        let key = Ed25519Key::from_seed(seed).map_err(|_| BadKey("its seed is unusable"))?;
        Ok(Self { verifier: VerifierKey::new(name, Kind::Ed25519, *key.public()), key })
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`BadKey`], which never says a word of the key.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let rest = text.trim_end().strip_prefix(PRIVATE).ok_or(BadKey("does not begin with PRIVATE+KEY+"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadKey("expected PRIVATE+KEY+name+id+key"));
        };
        let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| BadKey("its key is not base64"))?);
        let Some((&ED25519, seed)) = bytes.split_first() else { return Err(BadKey("its type is not Ed25519")) };
        let mut held = Zeroizing::new([0; 32]);
        if seed.len() != held.len() {
            return Err(BadKey("its seed has not 32 bytes"));
        }
        held.copy_from_slice(seed);
        let key = Self::from_seed(name, held)?;
        if hex::encode(key.verifier.id) != id {
            return Err(BadKey("its ID is not that of its name and key"));
        }
        Ok(key)
    }

    /// Its file's only line, in the form that Go's `note` package reads too.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        let key = Zeroizing::new([[ED25519].as_slice(), self.key.seed()].concat());
        let coded = Zeroizing::new(STANDARD.encode(key.as_slice()));
        let name = &self.verifier.name;
        Zeroizing::new(format!("{PRIVATE}{name}+{}+{}\n", hex::encode(self.verifier.id), coded.as_str()))
    }

    /// Its public half.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Signs `text`, which must end with a newline.
    ///
    /// # Errors
    /// [`CryptoFault`] if the key cannot be used.
    pub fn sign(&self, text: &str) -> Result<Note, CryptoFault> {
        let bytes = self.key.sign(text.as_bytes())?.to_vec();
        let signature = Signature { name: self.verifier.name.clone(), key_id: self.verifier.id, bytes };
        Ok(Note { text: text.to_owned(), signatures: vec![signature] })
    }
}

#[cfg(test)]
mod tests;
