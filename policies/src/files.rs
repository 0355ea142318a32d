//! Reads policies and cases from the file system, with the files that they name.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use holdfast_appraisal::case::Case;
use holdfast_appraisal::ima::DIGESTS_BYTES_MAX;
use holdfast_appraisal::policy::{Bundle, BundleFile, referenced_files};
use holdfast_appraisal::{DOCUMENT_BYTES_MAX, Document, Finding};
use holdfast_evidence::tpm::ima::LOG_BYTES_MAX;

/// Deepest folder below the one that was named; links may form a circle.
const DEPTH_MAX: usize = 16;

/// Reads a text file of bounded size.
///
/// # Errors
/// It cannot be opened, is larger than [`DOCUMENT_BYTES_MAX`], or is not UTF-8.
pub fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|_| anyhow!("{} is not UTF-8", path.display()))
}

/// Reads a file that a policy names: reference values, or digests by the million.
fn companion(path: &Path) -> anyhow::Result<String> {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let limit = if is_toml { DOCUMENT_BYTES_MAX } else { DIGESTS_BYTES_MAX };
    String::from_utf8(up_to(path, limit)?).map_err(|_| anyhow!("{} is not UTF-8", path.display()))
}

/// Reads a kernel's list of measured files.
///
/// # Errors
/// It cannot be opened, or is larger than is read at once.
pub fn measurements(path: &Path) -> anyhow::Result<Vec<u8>> {
    up_to(path, LOG_BYTES_MAX)
}

/// Reads a file of bounded size.
fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    up_to(path, DOCUMENT_BYTES_MAX)
}

fn up_to(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).with_context(cannot)?.take(limit as u64 + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() > limit {
        bail!("{} is larger than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// The word under `kind`, if the text is TOML and has one.
#[must_use]
pub fn kind(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    Some(table.get("kind")?.as_str()?.to_owned())
}

/// A policy and the reference-value files that it names, found beside it.
///
/// # Errors
/// A file cannot be read. What is wrong *inside* the policy comes out when the bundle is parsed.
pub fn bundle(path: &Path) -> anyhow::Result<Bundle> {
    let policy = BundleFile { name: file_name(path), text: text(path)? };
    let named = referenced_files(Document { name: &policy.name, text: &policy.text }).unwrap_or_default();
    let mut references = Vec::with_capacity(named.len());
    for name in named {
        let beside = beside(path, &name);
        let text = companion(&beside).with_context(|| format!("named in {}", path.display()))?;
        references.push(BundleFile { name, text });
    }
    Ok(Bundle { policy, references })
}

/// A case with everything that it names, and the path of its policy.
///
/// # Errors
/// A file cannot be read. What is wrong inside the case are findings.
pub fn case(path: &Path, document: Document<'_>) -> anyhow::Result<Result<(Case, PathBuf), Vec<Finding>>> {
    let named = match Case::files(document) {
        Ok(named) => named,
        Err(findings) => return Ok(Err(findings)),
    };
    let base = named.base.map(|name| text(&beside(path, &name)).map(|text| (name, text))).transpose()?;
    let base = base.as_ref().map(|(name, text)| Document { name, text });
    let log = named.event_log.map(|name| bytes(&beside(path, &name))).transpose()?;
    Ok(Case::parse(document, base, log.as_deref()).map(|case| (case, beside(path, &named.policy))))
}

/// The path of a file that the document at `path` names.
#[must_use]
pub fn beside(path: &Path, name: &str) -> PathBuf {
    path.parent().unwrap_or_else(|| Path::new("")).join(name)
}

/// The last part of a path: what a document is called in digests and messages.
#[must_use]
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Findings of a bundle, with paths instead of the names inside it.
#[must_use]
pub fn with_paths(mut findings: Vec<Finding>, path: &Path) -> Vec<Finding> {
    let own = file_name(path);
    for finding in &mut findings {
        let place = if finding.file == own { path.to_owned() } else { beside(path, &finding.file) };
        finding.file = place.display().to_string();
    }
    findings
}

/// Every `.toml` file below `folder`, sorted by path.
///
/// # Errors
/// The folder, or one below it, cannot be read.
pub fn toml_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let cannot = || format!("cannot read {}", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.is_dir() && depth < DEPTH_MAX {
                folders.push((path, depth + 1));
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
