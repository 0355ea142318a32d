//! What the files hold: the latest of everything that came from the agent.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::super::api::identity::{Identities, Identity};
use super::settings::Settings;
use super::source::News;
use crate::pem;

/// One file that is to be.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: Zeroizing<String>,
    pub(super) mode: u32,
}

/// The latest of everything.
#[derive(Default)]
pub(super) struct Contents {
    identities: Option<Identities>,
    /// By the name of its file.
    tokens: BTreeMap<String, Zeroizing<String>>,
    /// JSON Web Key Sets by trust domain ID.
    keys: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Contents {
    pub(super) fn learn(&mut self, news: News) {
        match news {
            News::Identities(identities) => self.identities = Some(identities),
            News::Token(file, token) => drop(self.tokens.insert(file, token)),
            News::Keys(keys) => self.keys = Some(keys),
        }
    }

    /// All files, in the order in which they may be replaced one by one: whom to believe, then the key, then whom it
    /// is for. None as long as there is no identity.
    ///
    /// # Errors
    /// Where no identity has the hint that is wanted.
    pub(super) fn files(&self, settings: &Settings) -> anyhow::Result<Vec<File>> {
        let Some(identities) = &self.identities else { return Ok(Vec::new()) };
        let svid = chosen(identities, &settings.hint)?;
        let modes = settings.modes;
        let file = |name: &str, text: Zeroizing<String>, mode: u32| File { name: name.to_owned(), text, mode };
        let (leaf, intermediates) = svid.chain.split_first().context("the chain is empty")?;
        let mut chain = vec![leaf.clone()];
        let mut bundle = svid.bundle.clone();
        let place = if settings.add_intermediates_to_bundle { &mut bundle } else { &mut chain };
        place.extend(intermediates.iter().cloned());
        if settings.include_federated_domains {
            bundle.extend(identities.federated.values().flatten().cloned());
        }
        if settings.omit_expired {
            bundle.retain(|der| X509Certificate::from_der(der).is_ok_and(|(_, it)| it.validity().is_valid()));
        }
        let (chain, key) = (pem::certificates(&chain), pem::private_key(&svid.key));
        let mut files =
            vec![file(&settings.svid_bundle_file_name, pem::certificates(&bundle).into(), modes.certificate)];
        if let (Some(name), Some(keys)) = (&settings.jwt_bundle_file_name, &self.keys) {
            files.push(file(name, serde_json::to_string_pretty(keys)?.into(), modes.keys));
        }
        for (name, token) in &self.tokens {
            files.push(file(name, token.clone(), modes.token));
        }
        if let Some(name) = &settings.svid_and_key_file_name {
            let mut both = Zeroizing::new(String::with_capacity(key.len() + chain.len()));
            both.push_str(&key);
            both.push_str(&chain);
            files.push(file(name, both, modes.key));
        }
        files.push(file(&settings.svid_key_file_name, key, modes.key));
        files.push(file(&settings.svid_file_name, chain.into(), modes.certificate));
        Ok(files)
    }
}

/// The identity with this hint; without one, the first.
fn chosen<'a>(identities: &'a Identities, hint: &str) -> anyhow::Result<&'a Identity> {
    let mut svids = identities.svids.iter();
    match svids.find(|svid| hint.is_empty() || svid.hint == hint) {
        Some(svid) => Ok(svid),
        None => bail!("none of this process's {} identities has the hint {hint:?}", identities.svids.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identities() -> Identities {
        let svid = |id: &str, hint: &str, leaf: u8| Identity {
            spiffe_id: id.to_owned(),
            hint: hint.to_owned(),
            chain: vec![vec![leaf], vec![8]],
            key: vec![leaf].into(),
            bundle: vec![vec![9]],
        };
        Identities {
            svids: vec![svid("spiffe://td/a", "", 1), svid("spiffe://td/b", "db", 2)],
            federated: BTreeMap::from([("spiffe://other".to_owned(), vec![vec![7]])]),
            crls: Vec::new(),
        }
    }

    fn files(more: &str) -> anyhow::Result<Vec<File>> {
        let settings = Settings::parse(&format!("cert_dir = \"/x\"\n{more}"), None).unwrap();
        let mut contents = Contents::default();
        assert!(contents.files(&settings).unwrap().is_empty());
        contents.learn(News::Identities(identities()));
        contents.learn(News::Token("t".to_owned(), "token".to_owned().into()));
        contents.files(&settings)
    }

    fn text(files: &[File], name: &str) -> String {
        files.iter().find(|file| file.name == name).unwrap().text.to_string()
    }

    fn pem(ders: &[u8]) -> String {
        pem::certificates(&ders.iter().map(|der| vec![*der]).collect::<Vec<_>>())
    }

    #[test]
    fn bundle_key_and_certificate_come_in_this_order_and_belong_together() {
        let files = files("").unwrap();
        let names: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.mode)).collect();
        let expected = [("svid_bundle.pem", 0o644), ("t", 0o600), ("svid_key.pem", 0o600), ("svid.pem", 0o644)];
        assert_eq!(names, expected);
        assert_eq!(text(&files, "svid.pem"), pem(&[1, 8]));
        assert_eq!(text(&files, "svid_key.pem"), *pem::private_key(&[1]));
        assert_eq!(text(&files, "svid_bundle.pem"), pem(&[9]));
    }

    #[test]
    fn a_hint_chooses_and_one_that_nobody_has_gives_nothing() {
        assert_eq!(text(&files("hint = \"db\"").unwrap(), "svid.pem"), pem(&[2, 8]));
        assert!(files("hint = \"x\"").is_err());
    }

    #[test]
    fn intermediates_and_other_domains_go_where_they_are_wanted() {
        let files = files("add_intermediates_to_bundle = true\ninclude_federated_domains = true").unwrap();
        assert_eq!(text(&files, "svid.pem"), pem(&[1]));
        assert_eq!(text(&files, "svid_bundle.pem"), pem(&[9, 8, 7]));
    }

    #[test]
    fn one_file_may_hold_key_and_chain() {
        let files = files("svid_and_key_file_name = \"both.pem\"").unwrap();
        assert_eq!(text(&files, "both.pem"), format!("{}{}", *pem::private_key(&[1]), pem(&[1, 8])));
        assert_eq!(files.iter().find(|file| file.name == "both.pem").unwrap().mode, 0o600);
    }
}
