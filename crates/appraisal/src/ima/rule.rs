//! `[rule.ima]`: which measured files a rule admits, read and compiled. Judges nothing: that is `judge`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::ima::{FileDigest, ImaKeys, keys_of_pem};
use holdfast_evidence::tpm::{PcrIndex, PcrSet};
use toml::de::DeTable;

use super::digests::DigestSet;
use crate::document::{Document, Node, Reader};
use crate::finding::{Finding, Kind};
use crate::value::digest_from_hex;

/// Most paths that one rule leaves to themselves: each is compared with every file that nothing else allows.
const EXCLUSIONS_MAX: usize = 256;
/// Most buffers that one rule names.
const BUFFERS_MAX: usize = 1_024;
/// Most files of digests or keys that one rule names.
const FILES_MAX: usize = 16;
/// What ends an exclusion of everything below a folder.
const BELOW: &str = "/**";

pub(crate) const IMA_KEYS: &[&str] =
    &["digests", "keys", "exclude", "violations", "sha1_template_hashes", "buffer_names", "buffer_digests"];

/// What a rule says of measured files.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImaRule {
    pub(crate) line: usize,
    /// Never empty together with `keys`.
    pub(super) digests: Vec<Arc<DigestSet>>,
    pub(super) keys: Option<ImaKeys>,
    exact: Vec<Vec<u8>>,
    below: Vec<Vec<u8>>,
    pub(super) violations_tolerated: bool,
    pub(super) sha1_accepted: bool,
    buffer_names: Vec<Vec<u8>>,
    buffer_digests: Vec<Digest>,
}

/// Files of digests, each read once for all rules of a policy that name it.
#[derive(Debug, Default)]
pub(crate) struct ImaFiles {
    read: BTreeMap<String, Option<Arc<DigestSet>>>,
}

/// PCRs that must be quoted for a list to be judged: 10, and those that `boot_aggregate` goes over.
pub(crate) fn pcrs() -> PcrSet {
    (0..11).filter_map(PcrIndex::new).collect()
}

/// The files that the rules of a policy name in their `ima` tables, each once, in order.
pub(crate) fn files(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<String> {
    let rules = table.get("rule").and_then(|node| node.get_ref().as_array()).map(|rules| &**rules).unwrap_or_default();
    let mut files: Vec<String> = Vec::new();
    for rule in rules {
        let ima = rule.get_ref().as_table().and_then(|rule| rule.get("ima"));
        let Some(ima) = ima.and_then(|node| node.get_ref().as_table()) else { continue };
        for key in ["digests", "keys"] {
            let Some(node) = ima.get(key) else { continue };
            for (file, _) in reader.strings(node, key).into_iter().take(FILES_MAX) {
                if !files.iter().any(|known| known == file) {
                    files.push(file.to_owned());
                }
            }
        }
    }
    files
}

impl ImaRule {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        node: &Node<'_>,
        documents: &[Document<'_>],
        files: &mut ImaFiles,
        foreign: &mut Vec<Finding>,
    ) -> Option<Self> {
        let table = reader.subtable(node, "ima")?;
        reader.only_keys(table, "ima", IMA_KEYS);
        let (line, _) = reader.position(node.span().start);
        let mut rule = Self { line, ..Self::default() };
        for (name, span) in named(reader, table, "digests") {
            if let Some(document) = given(reader, documents, name, span) {
                rule.digests.extend(files.digests(document, foreign));
            }
        }
        let mut keys = Vec::new();
        for (name, span) in named(reader, table, "keys") {
            if let Some(document) = given(reader, documents, name, span.clone()) {
                match keys_of_pem(document.text.as_bytes()) {
                    Ok(found) => keys.extend(found),
                    Err(malformed) => {
                        let suggestion =
                            "write PEM blocks of CERTIFICATE or PUBLIC KEY, or name a file in DER: RSA, P-256 or P-384"
                                .to_owned();
                        reader.add(span, Kind::ImaKeys, format!("{name:?}: {malformed}"), Some(suggestion));
                    }
                }
            }
        }
        if let Some(node) = table.get("keys")
            && !keys.is_empty()
        {
            rule.keys = ImaKeys::new(keys);
            if rule.keys.is_none() {
                let message = "more than 64 keys, or one that is on no curve".to_owned();
                reader.add(node.span(), Kind::ImaKeys, message, None);
            }
        }
        if !table.contains_key("digests") && !table.contains_key("keys") {
            let message = "ima names neither digests nor keys: nothing could satisfy it".to_owned();
            let suggestion = "write: digests = [\"debian-12.digests\"], or: keys = [\"vendor.pem\"]".to_owned();
            reader.add(node.span(), Kind::EmptyRequirement, message, Some(suggestion));
        }
        rule.exclusions(reader, table);
        rule.violations_tolerated = word(reader, table, "violations", "tolerated");
        rule.sha1_accepted = word(reader, table, "sha1_template_hashes", "accepted");
        rule.buffers(reader, table);
        Some(rule)
    }

    fn exclusions(&mut self, reader: &mut Reader<'_>, table: &DeTable<'_>) {
        let Some(node) = table.get("exclude") else { return };
        for (path, span) in bounded(reader, node, "exclude", EXCLUSIONS_MAX) {
            let folder = path.strip_suffix(BELOW);
            let plain = folder.unwrap_or(path);
            let message = if !path.starts_with('/') || plain.is_empty() {
                "an exclusion is an absolute path, or a folder and \"/**\""
            } else if plain.contains('*') {
                "\"*\" stands for itself here, but for \"/**\" at the end"
            } else if plain.contains(char::is_whitespace) {
                "the kernel writes \"_\" for a space: so must the exclusion"
            } else {
                match folder {
                    Some(folder) => self.below.push(format!("{folder}/").into_bytes()),
                    None => self.exact.push(path.as_bytes().to_vec()),
                }
                continue;
            };
            let suggestion = Some("write: \"/etc/mtab\", or \"/var/cache/**\"".to_owned());
            reader.add(span, Kind::BadValue, format!("{path:?}: {message}"), suggestion);
        }
    }

    fn buffers(&mut self, reader: &mut Reader<'_>, table: &DeTable<'_>) {
        if let Some(node) = table.get("buffer_names") {
            for (name, span) in bounded(reader, node, "buffer_names", BUFFERS_MAX) {
                if name.is_empty() || name.starts_with('/') {
                    let message = format!("{name:?} is no name of a buffer");
                    reader.add(span, Kind::BadValue, message, Some("such as \"kexec-cmdline\" or \".ima\"".to_owned()));
                } else {
                    self.buffer_names.push(name.as_bytes().to_vec());
                }
            }
        }
        if let Some(node) = table.get("buffer_digests") {
            for (digits, span) in bounded(reader, node, "buffer_digests", BUFFERS_MAX) {
                match digest_from_hex(digits) {
                    Some(digest) => self.buffer_digests.push(digest),
                    None => reader.add(span, Kind::BadValue, format!("{digits:?} is no digest"), None),
                }
            }
        }
    }

    /// Whether each file must be listed or signed, each buffer be listed by its digest, and none change under measurement.
    pub(crate) const fn leaves_nothing_out(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.buffer_names.is_empty() && !self.violations_tolerated
    }

    pub(crate) const fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Whether the rule leaves this path to itself. What the machine measured there may be anything, and whoever is root
    /// on it can write there.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        // `..` cannot be in a path of the kernel's; a list that has one was not written by it.
        let below = |folder: &Vec<u8>| path.starts_with(folder);
        (self.exact.iter().any(|exact| exact == path) || self.below.iter().any(below))
            && !path.windows(4).any(|window| window == b"/../")
    }

    pub(super) fn allows_buffer(&self, digest: FileDigest<'_>, name: &[u8]) -> bool {
        let listed = |allowed: &Digest| allowed.as_bytes() == digest.bytes();
        self.buffer_names.iter().any(|allowed| allowed == name) || self.buffer_digests.iter().any(listed)
    }
}

impl ImaFiles {
    fn digests(&mut self, document: &Document<'_>, foreign: &mut Vec<Finding>) -> Option<Arc<DigestSet>> {
        if let Some(read) = self.read.get(document.name) {
            return read.clone();
        }
        let read = match DigestSet::shared(document.text) {
            Ok(set) => Some(set),
            Err(bad) => {
                let kind = Kind::ImaDigests;
                foreign.push(Finding {
                    file: document.name.to_owned(),
                    line: bad.line.max(1),
                    column: 1,
                    severity: kind.severity(),
                    code: kind.code(),
                    message: bad.to_string(),
                    suggestion: Some("write lines as sha256sum prints them: DIGEST  PATH".to_owned()),
                });
                None
            }
        };
        self.read.insert(document.name.to_owned(), read.clone());
        read
    }
}

fn named<'t>(reader: &mut Reader<'_>, table: &'t DeTable<'_>, key: &str) -> Vec<(&'t str, Range<usize>)> {
    table.get(key).map(|node| bounded(reader, node, key, FILES_MAX)).unwrap_or_default()
}

fn given<'d>(
    reader: &mut Reader<'_>,
    documents: &'d [Document<'d>],
    name: &str,
    span: Range<usize>,
) -> Option<&'d Document<'d>> {
    let found = documents.iter().find(|document| document.name == name);
    if found.is_none() {
        reader.add(span, Kind::ReferenceFileMissing, format!("file {name:?} was not given"), None);
    }
    found
}

fn bounded<'t>(reader: &mut Reader<'_>, node: &'t Node<'_>, key: &str, limit: usize) -> Vec<(&'t str, Range<usize>)> {
    let mut words = reader.strings(node, key);
    if words.len() > limit {
        reader.add(node.span(), Kind::TooLarge, format!("{key} has {} values, limit {limit}", words.len()), None);
        words.truncate(limit);
    }
    words
}

/// Whether `key` says `loose` rather than `"refused"`, which it says where it is silent.
fn word(reader: &mut Reader<'_>, table: &DeTable<'_>, key: &str, loose: &str) -> bool {
    let Some(node) = table.get(key) else { return false };
    match reader.string(node, key) {
        Some(found) if found == loose => true,
        Some("refused") | None => false,
        Some(found) => {
            let suggestion = Some(format!("write: \"refused\" or {loose:?}"));
            reader.add(node.span(), Kind::BadValue, format!("unknown {key} {found:?}"), suggestion);
            false
        }
    }
}
