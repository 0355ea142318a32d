//! Reference values of a profile: what a policy may expect of a machine that boots it, in the words of
//! docs/reference/policy.md. Computed from the profile, not from a log.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::boot;
use crate::digest::{Bank, sha256_hex};
use crate::error::SimError;
use crate::keys;
use crate::log::uefi::Signature;
use crate::profile::{Entry, Profile};

/// The good value of a fact, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReferenceValue {
    /// As a policy writes it.
    pub value: String,
    /// What it is of, for people.
    pub note: String,
}

/// The reference values of one profile.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReferenceValues {
    /// The profile's name; policies refer to it as `@name`.
    pub name: String,
    /// The bank of the digests.
    pub bank: Bank,
    /// `tpm.secure_boot.enabled`.
    pub secure_boot: bool,
    /// Every other fact, by name.
    pub values: BTreeMap<&'static str, Vec<ReferenceValue>>,
}

impl ReferenceValues {
    /// Computes the reference values of `profile` for a policy that uses `bank`.
    ///
    /// # Errors
    /// [`SimError::Certificate`] if a Secure Boot certificate cannot be made.
    pub fn of(profile: &Profile, bank: Bank) -> Result<Self, SimError> {
        let mut values = Values { bank, facts: BTreeMap::new() };
        let secure_boot = &profile.secure_boot;
        let databases = [
            ("tpm.secure_boot.pk", &secure_boot.pk),
            ("tpm.secure_boot.kek", &secure_boot.kek),
            ("tpm.secure_boot.db", &secure_boot.db),
            ("tpm.secure_boot.dbx", &secure_boot.dbx),
        ];
        for (fact, entries) in databases {
            for entry in entries {
                values.add(fact, database_value(entry)?, entry_note(entry));
            }
        }
        values.authorities(profile)?;
        values.boot(profile);
        Ok(Self { name: profile.name.clone(), bank, secure_boot: secure_boot.enabled, values: values.facts })
    }

    /// As a reference-value file.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let _ = write!(
            out,
            "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = {}\nsource = {}\n\n[values]\n",
            quoted(&self.name),
            quoted(&format!("holdfast-tpm-sim profile {}, bank {}", self.name, self.bank.name())),
        );
        let _ = writeln!(out, "tpm.secure_boot.enabled = {}", self.secure_boot);
        for (fact, values) in &self.values {
            let _ = writeln!(out, "{fact} = [");
            for ReferenceValue { value, note } in values {
                let _ = writeln!(out, "    {{ value = {}, note = {} }},", quoted(value), quoted(note));
            }
            out.push_str("]\n");
        }
        out
    }
}

struct Values {
    bank: Bank,
    facts: BTreeMap<&'static str, Vec<ReferenceValue>>,
}

impl Values {
    fn add(&mut self, fact: &'static str, value: String, note: String) {
        self.facts.entry(fact).or_default().push(ReferenceValue { value, note });
    }

    /// Certificates and variables that firmware and shim measured because they used them, in order.
    fn authorities(&mut self, profile: &Profile) -> Result<(), SimError> {
        for authority in boot::authorities(profile)? {
            let (kind, note) = match &authority.signature {
                Some(Signature::X509(der)) => (format!("x509:{}", sha256_hex(der)), authority.note),
                Some(Signature::Sha256(hash)) => (format!("sha256:{}", hex::encode(hash)), authority.note),
                None => (format!("data:{}", sha256_hex(&authority.data)), authority.note),
            };
            self.add("tpm.secure_boot.authorities", format!("{}:{kind}", authority.variable), note);
        }
        Ok(())
    }

    fn boot(&mut self, profile: &Profile) {
        let bank = self.bank;
        let hex = |digests: &crate::Digests| hex::encode(digests.get(bank));
        for (digests, note) in boot::applications(profile) {
            self.add("tpm.boot.applications", hex(&digests), note);
        }
        for (text, note) in boot::command_lines(profile) {
            self.add("tpm.boot.command_lines", text, note.to_owned());
        }
        for (text, note) in boot::loader_texts(profile) {
            self.add("tpm.boot.loader_texts", text, note.to_owned());
        }
        for (digests, note) in boot::loaded_files(profile) {
            self.add("tpm.boot.loaded_files", hex(&digests), note);
        }
        self.add("tpm.boot.firmware_versions", profile.firmware.version.clone(), "S-CRTM version".to_owned());
        if let Some(shim) = &profile.boot.shim {
            self.add("tpm.secure_boot.sbat_level", shim.sbat_level.clone(), "as shim measures it".to_owned());
        }
        for (name, contents) in profile.boot.uki.iter().flat_map(|uki| uki.sections()) {
            let digest = hex::encode(bank.hash(&[contents]));
            self.add("tpm.boot.uki_sections", format!("{name}:{digest}"), format!("section {name}"));
        }
    }
}

fn database_value(entry: &Entry) -> Result<String, SimError> {
    Ok(match entry {
        Entry::Certificate(name) => format!("x509:{}", sha256_hex(&keys::certificate(name)?)),
        Entry::CertificateFile(file) => format!("x509:{}", sha256_hex(&file.certificate())),
        Entry::Sha256(text) => format!("sha256:{}", text.to_ascii_lowercase()),
    })
}

fn entry_note(entry: &Entry) -> String {
    match entry {
        Entry::Certificate(name) => name.clone(),
        Entry::CertificateFile(file) => file.path.clone(),
        Entry::Sha256(_) => "image".to_owned(),
    }
}

/// A TOML basic string; also a JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007f")
}
