//! A policy together with the files that it names: what is stored, carried and digested as one. Opens no files.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use holdfast_evidence::crypto::sha256;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::names::REFERENCE_FILES_MAX;
use super::{Policy, signed};
use crate::document::{Document, Reader};
use crate::finding::Finding;
use crate::ima;

/// First field of the digest.
const DIGEST_DOMAIN: &str = "holdfast/policy/1";

/// A policy and its reference-value files, owned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The policy itself.
    pub policy: BundleFile,
    /// The files that it names, as [`referenced_files`] lists them; of more than any policy names none is read.
    #[serde(deserialize_with = "few")]
    pub references: Vec<BundleFile>,
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<BundleFile>, D::Error> {
    at_most::<_, _, { REFERENCE_FILES_MAX }>(deserializer)
}

/// Reads a sequence, and stops before the item that is one too many.
///
/// # Errors
/// The deserializer's, or that there are more than `N`.
pub fn at_most<'de, T: Deserialize<'de>, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Few<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Few<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} items")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut read = Vec::new();
            while read.len() < N {
                match items.next_element()? {
                    Some(item) => read.push(item),
                    None => return Ok(read),
                }
            }
            match items.next_element::<IgnoredAny>()? {
                Some(_) => Err(A::Error::custom(format!("more than {N} items"))),
                None => Ok(read),
            }
        }
    }

    deserializer.deserialize_seq(Few::<T, N>(PhantomData))
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleFile {
    /// Name, as the policy spells it.
    pub name: String,
    /// Its text: TOML, or lines of digests, or PEM, or a signature in base64.
    pub text: String,
}

impl Bundle {
    /// Reads the bundle's policy.
    ///
    /// # Errors
    /// As [`Policy::parse`].
    pub fn parse(&self) -> Result<Policy, Vec<Finding>> {
        let references: Vec<Document<'_>> = self.references.iter().map(BundleFile::document).collect();
        Policy::parse(self.policy.document(), &references)
    }
}

impl BundleFile {
    /// It, borrowed.
    #[must_use]
    pub fn document(&self) -> Document<'_> {
        Document { name: &self.name, text: &self.text }
    }
}

/// The files that a policy names (of reference values, their signatures and keys, and of digests and keys of measured files), in order: to be read by the caller and given to [`Policy::parse`].
///
/// # Errors
/// The findings that keep the list from being read.
pub fn referenced_files(document: Document<'_>) -> Result<Vec<String>, Vec<Finding>> {
    let mut reader = Reader::new(document);
    let Some(table) = reader.table() else { return Err(reader.findings) };
    let node = table.get_ref().get("reference_values");
    let files = node.map(|node| reader.strings(node, "reference_values")).unwrap_or_default();
    let mut names: Vec<String> = files.into_iter().map(|(file, _)| file.to_owned()).collect();
    names.extend(signed::files(&mut reader, table.get_ref(), &names));
    names.extend(ima::files(&mut reader, table.get_ref()));
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names.truncate(REFERENCE_FILES_MAX);
    if reader.has_errors() { Err(reader.findings) } else { Ok(names) }
}

/// SHA-256 over `holdfast/policy/1`, the policy's name, and name and text of each document, the policy first; each
/// field with its length as eight big-endian bytes in front. Hex.
pub(super) fn digest(policy: &str, document: Document<'_>, references: &[Document<'_>]) -> String {
    let documents = std::iter::once(&document).chain(references).flat_map(|document| [document.name, document.text]);
    let fields: Vec<&str> = [DIGEST_DOMAIN, policy].into_iter().chain(documents).collect();
    let lengths: Vec<[u8; 8]> = fields.iter().map(|field| (field.len() as u64).to_be_bytes()).collect();
    let parts: Vec<&[u8]> =
        lengths.iter().zip(&fields).flat_map(|(length, field)| [&length[..], field.as_bytes()]).collect();
    hex::encode(sha256(&parts))
}
