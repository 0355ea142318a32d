//! What an entry of the record says. Issuances are binary and small; everything else is a JSON object.

use crate::hash::Hash;
use holdfast_identity::UnixTime;
use serde_json::Value;

/// First byte of an issuance.
const ISSUANCE: u8 = 1;
/// First byte of an attempt.
const ATTEMPT: u8 = 2;
/// First byte of an act of an operator or of the server.
const ACT: u8 = 3;
/// First byte of a token.
const TOKEN: u8 = 4;

/// Bytes of an issuance entry at most; the largest is [`Leaf::encode`]'s workload form.
pub const ISSUANCE_BYTES_MAX: usize = 200;
/// Bytes of any entry at most: entry bundles write its length in two bytes.
pub const LEAF_BYTES_MAX: usize = u16::MAX as usize;

/// One entry's content.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// A certificate that may be signed from now on. The SPIFFE ID stands in it as SHA-256: its text is in the
    /// attempt's or the entry's own record.
    Issuance {
        /// When.
        at: UnixTime,
        /// Serial number.
        serial: [u8; 16],
        /// SHA-256 over the SPIFFE ID's text.
        spiffe_id_sha256: [u8; 32],
        /// SHA-256 over the DER SubjectPublicKeyInfo.
        spki_sha256: [u8; 32],
        /// Validity.
        not_before: UnixTime,
        /// Validity.
        not_after: UnixTime,
        /// On what grounds.
        origin: Origin,
    },
    /// A JWT-SVID that may be signed from now on. What is long in it stands as SHA-256.
    Token {
        /// When.
        at: UnixTime,
        /// SHA-256 over the SPIFFE ID's text.
        spiffe_id_sha256: [u8; 32],
        /// SHA-256 over the audiences in order, each behind its length (4 bytes, big-endian).
        audience_sha256: [u8; 32],
        /// SHA-256 over the text of the signing key's id.
        key_id_sha256: [u8; 32],
        /// Its end.
        expires: UnixTime,
        /// Number of the node that asked.
        node: u64,
        /// Number of the entry.
        entry: u64,
        /// The entry's revision that was judged.
        revision: u64,
    },
    /// An attempt and its verdict.
    Attempt(Value),
    /// An act: who, what, on whom.
    Act(Value),
}

/// On what grounds a certificate was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The server's own listener.
    Server,
    /// A node SVID, by the attempt that admitted the node.
    Node {
        /// The attempt's ID.
        attempt: [u8; 16],
    },
    /// A workload SVID, by an entry, through a node.
    Workload {
        /// Number of the node that asked.
        node: u64,
        /// Number of the entry.
        entry: u64,
        /// The entry's revision that was judged.
        revision: u64,
    },
}

/// Why bytes are not a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record entry is not of a known form")]
pub struct MalformedLeaf;

impl Leaf {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Issuance { at, serial, spiffe_id_sha256, spki_sha256, not_before, not_after, origin } => {
                let mut out = Vec::with_capacity(146);
                out.push(ISSUANCE);
                out.extend_from_slice(&at.seconds().to_be_bytes());
                out.extend_from_slice(serial);
                out.extend_from_slice(spiffe_id_sha256);
                out.extend_from_slice(spki_sha256);
                out.extend_from_slice(&not_before.seconds().to_be_bytes());
                out.extend_from_slice(&not_after.seconds().to_be_bytes());
                match origin {
                    Origin::Server => out.push(0),
                    Origin::Node { attempt } => {
                        out.push(1);
                        out.extend_from_slice(attempt);
                    }
                    Origin::Workload { node, entry, revision } => {
                        out.push(2);
                        [node, entry, revision].into_iter().for_each(|of| out.extend_from_slice(&of.to_be_bytes()));
                    }
                }
                out
            }
            Self::Token { at, spiffe_id_sha256, audience_sha256, key_id_sha256, expires, node, entry, revision } => {
                let mut out = Vec::with_capacity(137);
                out.push(TOKEN);
                out.extend_from_slice(&at.seconds().to_be_bytes());
                [spiffe_id_sha256, audience_sha256, key_id_sha256].into_iter().for_each(|of| out.extend_from_slice(of));
                out.extend_from_slice(&expires.seconds().to_be_bytes());
                [node, entry, revision].into_iter().for_each(|of| out.extend_from_slice(&of.to_be_bytes()));
                out
            }
            Self::Attempt(value) => json(ATTEMPT, value),
            Self::Act(value) => json(ACT, value),
        }
    }

    /// Reads a leaf; every byte is accounted for.
    ///
    /// # Errors
    /// [`MalformedLeaf`] if it is none of the known forms.
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedLeaf> {
        let (kind, rest) = bytes.split_first().ok_or(MalformedLeaf)?;
        let value = || match serde_json::from_slice(rest) {
            Ok(value @ Value::Object(_)) => Ok(value),
            _ => Err(MalformedLeaf),
        };
        match *kind {
            ISSUANCE => parse_issuance(rest).ok_or(MalformedLeaf),
            TOKEN => parse_token(rest).ok_or(MalformedLeaf),
            ATTEMPT => Ok(Self::Attempt(value()?)),
            ACT => Ok(Self::Act(value()?)),
            _ => Err(MalformedLeaf),
        }
    }

    /// The hash of its bytes in the tree.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::leaf(&self.encode())
    }
}

fn json(kind: u8, value: &Value) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(value.to_string().as_bytes());
    out
}

fn parse_issuance(mut rest: &[u8]) -> Option<Leaf> {
    let rest = &mut rest;
    let at = UnixTime(i64::from_be_bytes(take(rest)?));
    let serial = take(rest)?;
    let spiffe_id_sha256 = take(rest)?;
    let spki_sha256 = take(rest)?;
    let not_before = UnixTime(i64::from_be_bytes(take(rest)?));
    let not_after = UnixTime(i64::from_be_bytes(take(rest)?));
    let origin = match take::<1>(rest)? {
        [0] => Origin::Server,
        [1] => Origin::Node { attempt: take(rest)? },
        [2] => Origin::Workload {
            node: u64::from_be_bytes(take(rest)?),
            entry: u64::from_be_bytes(take(rest)?),
            revision: u64::from_be_bytes(take(rest)?),
        },
        _ => return None,
    };
    rest.is_empty().then_some(Leaf::Issuance {
        at,
        serial,
        spiffe_id_sha256,
        spki_sha256,
        not_before,
        not_after,
        origin,
    })
}

fn parse_token(mut rest: &[u8]) -> Option<Leaf> {
    let rest = &mut rest;
    let leaf = Leaf::Token {
        at: UnixTime(i64::from_be_bytes(take(rest)?)),
        spiffe_id_sha256: take(rest)?,
        audience_sha256: take(rest)?,
        key_id_sha256: take(rest)?,
        expires: UnixTime(i64::from_be_bytes(take(rest)?)),
        node: u64::from_be_bytes(take(rest)?),
        entry: u64::from_be_bytes(take(rest)?),
        revision: u64::from_be_bytes(take(rest)?),
    };
    rest.is_empty().then_some(leaf)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_issuance_reads_back_and_is_at_most_200_bytes() {
        for origin in [
            Origin::Server,
            Origin::Node { attempt: [1; 16] },
            Origin::Workload { node: u64::MAX, entry: 2, revision: 3 },
        ] {
            let leaf = Leaf::Issuance {
                at: UnixTime(100),
                serial: [7; 16],
                spiffe_id_sha256: [8; 32],
                spki_sha256: [9; 32],
                not_before: UnixTime(100),
                not_after: UnixTime(3700),
                origin,
            };
            let bytes = leaf.encode();
            // With its hash and index beside it.
            assert!(bytes.len() + 32 + 8 <= ISSUANCE_BYTES_MAX, "{}", bytes.len());
            assert_eq!(Leaf::parse(&bytes), Ok(leaf));
            for cut in 0..bytes.len() {
                assert_eq!(Leaf::parse(&bytes[..cut]), Err(MalformedLeaf));
            }
            assert_eq!(Leaf::parse(&[bytes, vec![0]].concat()), Err(MalformedLeaf));
        }
    }

    #[test]
    fn every_token_reads_back_and_is_at_most_200_bytes() {
        let leaf = Leaf::Token {
            at: UnixTime(100),
            spiffe_id_sha256: [7; 32],
            audience_sha256: [8; 32],
            key_id_sha256: [9; 32],
            expires: UnixTime(400),
            node: u64::MAX,
            entry: 2,
            revision: 3,
        };
        let bytes = leaf.encode();
        // With its hash and index beside it.
        assert!(bytes.len() + 32 + 8 <= ISSUANCE_BYTES_MAX, "{}", bytes.len());
        assert_eq!(Leaf::parse(&bytes), Ok(leaf));
        for cut in 0..bytes.len() {
            assert_eq!(Leaf::parse(&bytes[..cut]), Err(MalformedLeaf));
        }
        assert_eq!(Leaf::parse(&[bytes, vec![0]].concat()), Err(MalformedLeaf));
    }

    #[test]
    fn acts_and_attempts_are_json_objects() {
        let leaf = Leaf::Act(serde_json::json!({"action": "node.ban", "by": "root (uid 0)"}));
        assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
        assert_eq!(Leaf::parse(b"\x03nothing"), Err(MalformedLeaf));
        assert_eq!(Leaf::parse(b"\x03[1]"), Err(MalformedLeaf));
        assert_eq!(Leaf::parse(b"\x09{}"), Err(MalformedLeaf));
    }
}
