//! Checkpoints, as `c2sp.org/tlog-checkpoint` writes them: which log, how many entries, which root, and who says so.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::Hash;
use crate::note::{BadNote, Note, SigningKey, VerifierKey};

/// What a log's operator says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// Root of its tree at that size.
    pub root: Hash,
}

/// A checkpoint with its signatures, as text. In JSON it is that text.
///
/// Its form was checked, its signatures are for whoever has the keys: [`verify`](Self::verify).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

/// A checkpoint that nobody may believe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// Bytes are no checkpoint.
    #[error("checkpoint is malformed: {0}")]
    Form(&'static str),
    /// It is another log's.
    #[error("checkpoint is of log {found:?}, expected {expected:?}")]
    Origin {
        /// The key's name.
        expected: String,
        /// The checkpoint's first line.
        found: String,
    },
    /// The key has not signed it, or not this.
    #[error("checkpoint bears no good signature of {key}")]
    Signature {
        /// The key's name and ID.
        key: String,
    },
}

impl BadCheckpoint {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "record.checkpoint.form",
            Self::Origin { .. } => "record.checkpoint.origin",
            Self::Signature { .. } => "record.checkpoint.signature",
        }
    }
}

impl From<BadNote> for BadCheckpoint {
    fn from(bad: BadNote) -> Self {
        Self::Form(bad.0)
    }
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`BadCheckpoint::Origin`] if the key is another log's, [`BadCheckpoint::Signature`] if it cannot be used.
    pub fn sign(self, key: &SigningKey) -> Result<SignedCheckpoint, BadCheckpoint> {
        if self.origin != key.verifier().name() {
            return Err(BadCheckpoint::Origin { expected: key.verifier().name().to_owned(), found: self.origin });
        }
        let note = key.sign(&self.text());
        let note = note.map_err(|_| BadCheckpoint::Signature { key: key.verifier().name().to_owned() })?;
        Ok(SignedCheckpoint { note, checkpoint: self })
    }

    /// Reads the text. Lines after the third are extensions, and say nothing that an auditor could check.
    fn parse(text: &str) -> Result<Self, BadCheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(BadCheckpoint::Form("its last line does not end"))?.split('\n');
        let mut line = |missing| lines.next().filter(|line| !line.is_empty()).ok_or(BadCheckpoint::Form(missing));
        let origin = line("no origin")?.to_owned();
        let size = line("no size")?;
        let root = line("no root")?;
        if lines.any(str::is_empty) {
            return Err(BadCheckpoint::Form("an empty line among its extensions"));
        }
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size);
        Ok(Self {
            origin,
            size: number.ok_or(BadCheckpoint::Form("its size is no decimal number"))?,
            root: Hash::from_base64(root).ok_or(BadCheckpoint::Form("its root is not 32 bytes in base64"))?,
        })
    }
}

impl SignedCheckpoint {
    /// What it claims, whoever signed it.
    #[must_use]
    pub const fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What it says, once the log's key has said so.
    ///
    /// # Errors
    /// [`BadCheckpoint`] if it is of another log than the key's name says, or the key has not signed it.
    pub fn verify(&self, log: &VerifierKey) -> Result<&Checkpoint, BadCheckpoint> {
        if self.checkpoint.origin != log.name() {
            let (expected, found) = (log.name().to_owned(), self.checkpoint.origin.clone());
            return Err(BadCheckpoint::Origin { expected, found });
        }
        if log.is_witness() || !self.note.is_signed_by(log) {
            return Err(BadCheckpoint::Signature { key: log.to_string() });
        }
        Ok(&self.checkpoint)
    }

    /// Whether that witness has cosigned it.
    #[must_use]
    pub fn is_cosigned_by(&self, witness: &VerifierKey) -> bool {
        witness.is_witness() && self.note.is_signed_by(witness)
    }
}

impl std::fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.note.fmt(f)
    }
}

impl FromStr for SignedCheckpoint {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let note = Note::parse(text)?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        Ok(Self { note, checkpoint })
    }
}

impl Serialize for SignedCheckpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignedCheckpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_evidence::crypto::Zeroizing;

    /// The example of the standard; its key is not given there.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa \
        Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 \
        jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, Zeroizing::new([seed; 32])).unwrap()
    }

    fn checkpoint(origin: &str, size: u64) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size, root: Hash::leaf(b"root") }
    }

    #[test]
    fn the_example_of_the_standard_reads_and_writes_back() {
        let signed: SignedCheckpoint = EXAMPLE.parse().unwrap();
        assert_eq!(
            (signed.claimed().origin.as_str(), signed.claimed().size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(signed.to_string(), EXAMPLE);
        let json = serde_json::to_string(&signed).unwrap();
        assert_eq!(serde_json::from_str::<SignedCheckpoint>(&json).unwrap(), signed);
    }
    #[test]
    fn a_checkpoint_is_believed_on_the_word_of_its_own_logs_key_alone() {
        let signed = checkpoint("log.example", 7).sign(&key("log.example", 1)).unwrap();
        assert_eq!(signed.verify(key("log.example", 1).verifier()), Ok(&checkpoint("log.example", 7)));
        let code = |verified: Result<&Checkpoint, BadCheckpoint>| verified.unwrap_err().code();
        assert_eq!(code(signed.verify(key("log.example", 2).verifier())), "record.checkpoint.signature");
        assert_eq!(code(signed.verify(key("log.other", 1).verifier())), "record.checkpoint.origin");
        let refused = checkpoint("log.other", 7).sign(&key("log.example", 1)).unwrap_err();
        assert_eq!(refused.code(), "record.checkpoint.origin");
    }

    #[test]
    fn a_changed_byte_anywhere_in_a_checkpoint_is_found() {
        let key = key("log.example", 1);
        let text = checkpoint("log.example", 7).sign(&key).unwrap().to_string();
        for place in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let read = changed.parse::<SignedCheckpoint>();
            assert!(!read.is_ok_and(|read| read.verify(key.verifier()).is_ok()), "byte {place}");
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let key = key("log.example", 1);
        let root = Hash::leaf(b"root").to_base64();
        let signed = |text: &str| key.sign(text).unwrap().to_string().parse::<SignedCheckpoint>();
        assert!(signed(&format!("log.example\n7\n{root}\n")).is_ok());
        assert!(signed(&format!("log.example\n7\n{root}\nextension\n")).is_ok());
        assert!(signed(&format!("log.example\n0\n{root}\n")).is_ok());
        for bad in [
            format!("log.example\n7\n{root}"),
            format!("\n7\n{root}\n"),
            format!("log.example\n07\n{root}\n"),
            format!("log.example\n+7\n{root}\n"),
            format!("log.example\n18446744073709551616\n{root}\n"),
            format!("log.example\n7\n{}\n", &root[..43]),
            format!("log.example\n7\n{root}\n\nextension\n"),
            "log.example\n7\n".to_owned(),
        ] {
            assert!(signed(&bad).is_err(), "{bad:?}");
        }
    }
}
