//! Reads policies and cases from the file system, with the files that they name.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use holdfast_appraisal::case::{Case, Evidence};
use holdfast_appraisal::ima::DIGESTS_BYTES_MAX;
use holdfast_appraisal::policy::{Bundle, BundleFile, SIGNATURE_SUFFIX, referenced_files};
use holdfast_appraisal::{DOCUMENT_BYTES_MAX, Document, Finding};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::ima::{LOG_BYTES_MAX, pem_of_der};
use holdfast_identity::UnixTime;

use crate::inspect::{self, Examined, Verdict};
use crate::moment;

/// Deepest folder below the one that was named; links may form a circle.
const DEPTH_MAX: usize = 16;

/// Reads a text file of bounded size.
///
/// # Errors
/// It cannot be opened, is larger than [`DOCUMENT_BYTES_MAX`], or is not UTF-8.
pub fn text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|_| anyhow!("{} is not UTF-8", path.display()))
}

/// Reads a file that a policy names: reference values, or digests by the million, or keys. A key in DER becomes PEM, so
/// that a policy with its files is text; `holdfast-server policy` does the same.
fn companion(path: &Path) -> anyhow::Result<String> {
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let limit = if is_toml { DOCUMENT_BYTES_MAX } else { DIGESTS_BYTES_MAX };
    let bytes = limited(path, limit as u64)?;
    if let Some(key) = pem_of_der(&bytes) {
        return Ok(key);
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("{} is neither UTF-8 nor a key in DER", path.display()))
}

/// Reads a kernel's list of measured files.
///
/// # Errors
/// It cannot be opened, or is larger than is read at once.
pub fn measurements(path: &Path) -> anyhow::Result<Vec<u8>> {
    limited(path, LOG_BYTES_MAX as u64)
}

/// Reads a file of the size of a document.
///
/// # Errors
/// It cannot be opened, or is larger.
pub fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    limited(path, DOCUMENT_BYTES_MAX as u64)
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// It cannot be opened, or is larger.
pub fn limited(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).with_context(cannot)?.take(limit + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > limit {
        bail!("{} is larger than {limit} bytes", path.display());
    }
    Ok(bytes)
}

/// Findings as one error, a line each.
#[must_use]
pub fn words(findings: &[Finding]) -> anyhow::Error {
    anyhow!(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Writes files, none of which may be there: all of them, or the first that cannot be written is the error.
///
/// # Errors
/// A file exists, or cannot be written.
pub fn create_all(files: &[(PathBuf, String)], overwrite: bool) -> anyhow::Result<()> {
    if let Some((path, _)) = files.iter().find(|(path, _)| !overwrite && path.exists()) {
        bail!("{} exists; --force replaces it", path.display());
    }
    for (path, text) in files {
        let cannot = || format!("cannot write {}", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("."))).with_context(cannot)?;
        std::fs::write(path, text).with_context(cannot)?;
    }
    Ok(())
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
        // The reader of the policy says what is not signed, and where the policy names it.
        if name.ends_with(SIGNATURE_SUFFIX) && !beside.exists() {
            continue;
        }
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
    let list = named.ima_log.map(|name| measurements(&beside(path, &name))).transpose()?;
    let evidence = match (named.evidence, &log) {
        (Some(_), _) => verified(path, document)?,
        (None, Some(log)) => Evidence::Log(log),
        (None, None) => Evidence::None,
    };
    let with_list = |case: Case| match list {
        Some(list) => case.with_measured_files(list),
        None => case,
    };
    Ok(Case::parse(document, base, evidence).map(|case| (with_list(case), beside(path, &named.policy))))
}

/// Verifies the evidence that a case names, as of the case's own moment.
fn verified<'a>(path: &Path, document: Document<'_>) -> anyhow::Result<Evidence<'a>> {
    let table = evidence_table(path, document.text)?;
    let moment = table.get("at").map(ToString::to_string).unwrap_or_default();
    examined(path, &table, &moment)
}

/// Verifies the evidence that a file names under `[evidence]`, as of `now`; its own `at` goes before.
///
/// # Errors
/// It names none, or a file that cannot be read. That the evidence is refused is no error.
pub fn evidence<'a>(path: &Path, text: &str, now: UnixTime) -> anyhow::Result<Evidence<'a>> {
    examined(path, &evidence_table(path, text)?, &moment::format(now))
}

/// The kind of evidence that a file names.
///
/// # Errors
/// It names none, or one that is not known.
pub fn kind_of_evidence(path: &Path) -> anyhow::Result<[EvidenceKind; 1]> {
    let table = evidence_table(path, &text(path)?)?;
    let kind = table.get("evidence").and_then(|evidence| evidence.get("kind")).and_then(toml::Value::as_str);
    let kind = kind.and_then(|kind| kind.parse().ok());
    kind.map(|kind| [kind]).ok_or_else(|| anyhow!("{}: [evidence] names no kind", path.display()))
}

fn evidence_table(path: &Path, text: &str) -> anyhow::Result<toml::Table> {
    let table: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    match table.get("evidence") {
        Some(toml::Value::Table(_)) => Ok(table),
        _ => bail!("{}: [evidence] is no table", path.display()),
    }
}

fn examined<'a>(path: &Path, table: &toml::Table, moment: &str) -> anyhow::Result<Evidence<'a>> {
    let at = || path.display().to_string();
    let evidence = table.get("evidence").and_then(toml::Value::as_table);
    let evidence = evidence.ok_or_else(|| anyhow!("[evidence] is no table")).with_context(at)?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    let examined = inspect::examine(evidence, folder, moment).with_context(at)?;
    let tolerated = evidence.get("allow_incomplete").and_then(toml::Value::as_bool) == Some(true);
    match examined {
        Examined { refusal: Some(refusal), .. } => Ok(Evidence::Refused { code: refusal.code, detail: refusal.detail }),
        Examined { verdict, missing, .. } if verdict != Verdict::Verified && !tolerated => {
            let missing = missing.unwrap_or_default();
            bail!("{}: the evidence is not complete ({missing}); allow_incomplete = true takes it all the same", at())
        }
        Examined { facts: Some(facts), quoted, .. } => Ok(Evidence::Verified { facts, quoted }),
        Examined { facts: None, .. } => bail!("{}: the evidence proves no facts", at()),
    }
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
