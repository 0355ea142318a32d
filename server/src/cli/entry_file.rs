//! Entries in files that an operator keeps: TOML, or JSON as `entry list --output json` prints it. Reads and checks form
//! alone; what an entry may say is the server's to judge.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use holdfast_protocol::admin;
use serde::de::{self, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};

use super::show;

/// Bytes of one file: ten thousand entries have less.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Everything that a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, alias = "entry")]
    entries: Vec<Declared>,
}

/// One entry, as its author writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    id: String,
    spiffe_id: String,
    #[serde(default)]
    parent_id: String,
    #[serde(default)]
    node_selectors: Vec<String>,
    selectors: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    x509_svid_ttl: i64,
    #[serde(default, deserialize_with = "duration")]
    jwt_svid_ttl: i64,
    #[serde(default)]
    dns_names: Vec<String>,
    #[serde(default)]
    federates_with: Vec<String>,
    #[serde(default)]
    hint: String,
    #[serde(default, deserialize_with = "moment")]
    expires_at: i64,
    // SPIRE's, which have no meaning here: see `NOT_HERE`.
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    downstream: bool,
    #[serde(default)]
    store_svid: bool,
    // What a list prints besides. It is the server's, and changes nothing.
    #[serde(default, rename = "revision_number")]
    _revision_number: IgnoredAny,
    #[serde(default, rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(default, rename = "owner")]
    _owner: IgnoredAny,
}

/// Fields of SPIRE's entries that no entry has here, and why.
pub(super) const NOT_HERE: [(&str, &str); 3] = [
    ("admin", "no workload administers this server: operators come by the admin socket, with roles by their groups"),
    ("downstream", "no server below this one gets a certificate authority by an entry"),
    ("store_svid", "no agent puts SVIDs into a store of secrets; `holdfast-agent helper` writes them to files"),
];

/// Why an entry with these of SPIRE's fields set is none here.
pub(super) fn not_here(admin: bool, downstream: bool, store_svid: bool) -> Vec<(&'static str, &'static str)> {
    let set = [admin, downstream, store_svid];
    NOT_HERE.into_iter().zip(set).filter(|(_, set)| *set).map(|(field, _)| field).collect()
}

impl Declared {
    fn entry(self) -> anyhow::Result<admin::Entry> {
        if let Some((field, reason)) = not_here(self.admin, self.downstream, self.store_svid).first() {
            bail!("{field}: {reason}");
        }
        Ok(admin::Entry {
            id: self.id,
            spiffe_id: self.spiffe_id,
            parent_id: self.parent_id,
            node_selectors: self.node_selectors,
            selectors: self.selectors,
            x509_svid_ttl: self.x509_svid_ttl,
            jwt_svid_ttl: self.jwt_svid_ttl,
            dns_names: self.dns_names,
            federates_with: self.federates_with,
            hint: self.hint,
            expires_at: self.expires_at,
            ..admin::Entry::default()
        })
    }
}

/// The entries of all files, each ID once.
///
/// # Errors
/// If a file cannot be read or has another form, or two entries have one ID.
pub(super) fn read_all<'a>(files: impl IntoIterator<Item = &'a Path>) -> anyhow::Result<Vec<admin::Entry>> {
    let (mut entries, mut places) = (Vec::new(), HashMap::new());
    for file in files {
        let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let text = read_text(file, FILE_BYTES_MAX).with_context(|| format!("cannot read {name}"))?;
        for (at, entry) in parse(&text).with_context(|| name.clone())?.into_iter().enumerate() {
            if let Some(other) = places.insert(entry.id.clone(), name.clone()) {
                bail!("{name}: entry {} has the id {:?}, which another in {other} has", at + 1, entry.id);
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn parse(text: &str) -> anyhow::Result<Vec<admin::Entry>> {
    let document: Document = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text)?,
        false => toml::from_str(text)?,
    };
    let entries = document.entries.into_iter().enumerate();
    entries
        .map(|(at, declared)| {
            let id = declared.id.clone();
            declared.entry().with_context(|| format!("entry {} ({id:?})", at + 1))
        })
        .collect()
}

/// The whole of a file, or of standard input for `-`, if it is not longer than `limit`.
///
/// # Errors
/// If it cannot be read, is longer, or is not UTF-8.
pub(super) fn read_text(file: &Path, limit: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().take(limit + 1).read_to_string(&mut text)?,
        false => std::fs::File::open(file)?.take(limit + 1).read_to_string(&mut text)?,
    };
    if read as u64 > limit {
        bail!("more than {limit} bytes, the limit");
    }
    Ok(text)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    from.deserialize_any(NumberOr {
        expected: "seconds, or a duration in quotes such as \"30m\"",
        read: show::read_seconds,
    })
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let expected = "seconds since the epoch, or a moment in quotes such as \"2027-01-31T12:00:00Z\"";
    from.deserialize_any(NumberOr { expected, read: show::read_moment })
}

/// A number, or a text that stands for one.
struct NumberOr {
    expected: &'static str,
    read: fn(&str) -> Result<i64, String>,
}

impl Visitor<'_> for NumberOr {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
        i64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<i64, E> {
        (self.read)(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = r#"
[[entry]]
id = "web"
spiffe_id = "spiffe://example.org/web"
node_selectors = ["tpm:secure_boot:true"]
selectors = ["unix:uid:1000"]
x509_svid_ttl = "30m"
jwt_svid_ttl = "2m"
dns_names = ["web.internal"]
federates_with = ["other.org"]
hint = "internal"
expires_at = "2027-01-31T00:00:00Z"
"#;

    fn problem(text: &str) -> String {
        format!("{:#}", parse(text).unwrap_err())
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = parse(WEB).unwrap();
        assert_eq!((toml[0].x509_svid_ttl, toml[0].expires_at), (1800, 1_801_353_600));
        let json = r#" {"entries": [{"id": "web", "spiffe_id": "spiffe://example.org/web",
            "node_selectors": ["tpm:secure_boot:true"], "selectors": ["unix:uid:1000"], "x509_svid_ttl": 1800, "jwt_svid_ttl": 120,
            "dns_names": ["web.internal"], "federates_with": ["other.org"], "hint": "internal", "expires_at": 1801353600}]}"#;
        assert_eq!(parse(json).unwrap(), toml);
    }

    #[test]
    fn what_a_list_prints_is_read_again() {
        let listed = super::super::entries::Entry::from(admin::Entry {
            id: "web".to_owned(),
            spiffe_id: "spiffe://td/web".to_owned(),
            parent_id: "spiffe://td/holdfast/node/a".to_owned(),
            selectors: vec!["unix:uid:1".to_owned()],
            revision_number: 7,
            created_at: 9,
            owner: "team".to_owned(),
            ..admin::Entry::default()
        });
        let text = serde_json::json!({ "entries": [listed] }).to_string();
        assert_eq!((parse(&text).unwrap()[0].id.as_str(), parse(&text).unwrap()[0].revision_number), ("web", 0));
    }

    #[test]
    fn a_misspelt_field_is_refused_with_its_place() {
        let found = problem(&WEB.replace("hint", "hints"));
        assert!(found.contains("line") && found.contains("hints"), "{found}");
        assert!(problem(&WEB.replace("\"30m\"", "\"soon\"")).contains("soon"));
        assert!(problem("entries = 1").contains("line 1"));
        assert!(problem("{").contains("line 1"));
    }

    #[test]
    fn fields_of_spire_that_mean_nothing_here_are_refused_by_name() {
        for (field, reason) in NOT_HERE {
            let found = problem(&format!("{WEB}{field} = true\n"));
            assert!(found.contains(field) && found.contains(reason) && found.contains("\"web\""), "{found}");
            assert!(parse(&format!("{WEB}{field} = false\n")).is_ok());
        }
    }

    #[test]
    fn an_id_stands_in_one_place_of_all_files() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (directory.path().join("one.toml"), directory.path().join("two.toml"));
        std::fs::write(&one, WEB).unwrap();
        std::fs::write(&two, WEB).unwrap();
        assert_eq!(read_all([one.as_path()]).unwrap().len(), 1);
        let twice = read_all([one.as_path(), two.as_path()]).unwrap_err().to_string();
        assert!(twice.contains("one.toml") && twice.contains("two.toml"), "{twice}");
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("large");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_text(&file, 5).unwrap(), "12345");
        assert!(read_text(&file, 4).unwrap_err().to_string().contains("limit"));
    }
}
