//! CoRIM files (Concise Reference Integrity Manifest, draft-ietf-rats-corim): the envelope, signed or not, its dates, and
//! its triples. What the measurements mean is the profile's business: `corim_snp`. Trust anchors in a file are checked for
//! their form and imported nowhere: whom to trust is a server's configuration.

use std::path::PathBuf;

use ciborium::Value;
use clap::{Args, ValueEnum};
use coset::iana::Algorithm;
use coset::{AsCborValue as _, CoseSign1, RegisteredLabelWithPrivate};
use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg, SignatureValue, sha256, verify};

use super::cbor::{Map, array, bytes, malformed, parse, untagged};
use super::draft::{Draft, Made};
use super::{Destination, Reason, Refused, corim_snp, key};
use crate::files;
use crate::moment;

/// Bytes of a file that are read; vendors' files take some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most entries of any list in a file.
const ENTRIES_MAX: usize = 4_096;
/// The profile that is understood.
const SNP_PROFILE: &str = "tag:amd.com,2024:snp-corim-profile";
/// Tags of the drafts: what may stand around the envelope, the unsigned map, and a CoMID.
const ENVELOPES: [u64; 2] = [500, 502];
const UNSIGNED: u64 = 501;
const SIGN1: u64 = 18;
const COMID: u64 = 506;

/// How a TCB's eight bytes are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Product {
    Milan,
    Genoa,
    Turin,
}

/// Flags of `reference from-corim`.
#[derive(Debug, Args)]
pub(super) struct FromCorim {
    /// The file: CBOR, as a COSE_Sign1 or unsigned.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The signer's public key, PEM. Without it nothing is verified, and the source says so.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The processors that the file is about: without it the components of a TCB cannot be told apart.
    #[arg(long, value_name = "PRODUCT", value_enum)]
    product: Option<Product>,
    #[command(flatten)]
    pub(super) to: Destination,
}

impl FromCorim {
    pub(super) fn draft(&self) -> anyhow::Result<Made> {
        let bytes = files::limited(&self.file, FILE_BYTES_MAX)?;
        let key = self.key.as_deref().map(key).transpose()?;
        let now = self.to.at.unwrap_or_else(moment::now).0.seconds();
        Ok(self.import(&bytes, key.as_ref(), now))
    }

    fn import(&self, file: &[u8], key: Option<&PublicKey>, now: i64) -> Made {
        let outer = parse(file, "the file")?;
        let outer = ENVELOPES.iter().find_map(|tag| untagged(&outer, *tag)).unwrap_or(&outer);
        let name = files::file_name(&self.file);
        let (content, signature) = match (untagged(outer, UNSIGNED), untagged(outer, SIGN1), key) {
            (Some(_), _, Some(_)) => {
                return Err(Refused::new(Reason::CorimUnsigned, "a key was given, and the file is not signed"));
            }
            (Some(map), _, None) => (map.clone(), "unsigned".to_owned()),
            (None, Some(sign1), key) => opened(sign1, key)?,
            (None, None, _) => return Err(malformed("the file", "neither a signed nor an unsigned CoRIM")),
        };
        let corim = Map::of(&content, "the CoRIM")?;
        let profile = corim.get(3).and_then(|profile| untagged(profile, 32)).and_then(Value::as_text);
        if profile != Some(SNP_PROFILE) {
            let found = profile.unwrap_or("none that is a URI");
            let why =
                "only that one says which fact each measurement is of; take values of another with learn or measure";
            return Err(Refused::new(Reason::CorimProfile, format!("profile {found}, expected {SNP_PROFILE}: {why}")));
        }
        validity(&corim, now)?;
        let id = corim.required(0, "the CoRIM")?;
        let id = id.as_text().map_or_else(|| "a UUID".to_owned(), str::to_owned);
        let mut draft = Draft::new(format!("CoRIM {id} ({name}), {signature}"));
        let tags = limited(array(corim.required(1, "the CoRIM")?, "tags")?, "tags")?;
        for tag in tags {
            let Some(comid) = untagged(tag, COMID) else {
                draft.remarks.push("a tag that is no CoMID was left out".to_owned());
                continue;
            };
            let comid = parse(bytes(comid, "CoMID")?, "CoMID")?;
            self.triples(&Map::of(&comid, "CoMID")?, &mut draft)?;
        }
        Ok(draft)
    }

    fn triples(&self, comid: &Map<'_>, draft: &mut Draft) -> Result<(), Refused> {
        let triples = Map::of(comid.required(4, "CoMID")?, "triples")?;
        for record in limited(triples.get(0).map_or(Ok(&[][..]), |list| array(list, "reference triples"))?, "triples")?
        {
            let [environment, measurements] = array(record, "reference triple")? else {
                return Err(malformed("reference triple", "expected an environment and its measurements"));
            };
            corim_snp::environment(environment)?;
            for measurement in limited(array(measurements, "measurements")?, "measurements")? {
                corim_snp::measurement(&Map::of(measurement, "measurement")?, self.product, draft)?;
            }
        }
        for record in limited(triples.get(3).map_or(Ok(&[][..]), |list| array(list, "key triples"))?, "triples")? {
            let environment =
                array(record, "key triple")?.first().ok_or_else(|| malformed("key triple", "is empty"))?;
            corim_snp::anchor(environment)?;
            let remark = "a trust anchor was left out: whom to trust is the server's configuration".to_owned();
            if !draft.remarks.contains(&remark) {
                draft.remarks.push(remark);
            }
        }
        Ok(())
    }
}

fn limited<'v>(list: &'v [Value], what: &str) -> Result<&'v [Value], Refused> {
    if list.len() > ENTRIES_MAX { Err(malformed(what, "too many")) } else { Ok(list) }
}

/// The map inside a COSE_Sign1, and how far its signature was verified.
fn opened(sign1: &Value, key: Option<&PublicKey>) -> Result<(Value, String), Refused> {
    let sign1 = CoseSign1::from_cbor_value(sign1.clone()).map_err(|_| malformed("the file", "no COSE_Sign1"))?;
    let payload = sign1.payload.as_deref().ok_or_else(|| malformed("the file", "its content is detached"))?;
    let content = parse(payload, "the signed content")?;
    let content = untagged(&content, UNSIGNED).unwrap_or(&content).clone();
    let Some(key) = key else {
        return Ok((content, "signed, the signature NOT verified (no key was given)".to_owned()));
    };
    let bad = |why: &str| Refused::new(Reason::CorimSignature, why.to_owned());
    let Some(RegisteredLabelWithPrivate::Assigned(algorithm)) = &sign1.protected.header.alg else {
        return Err(bad("the protected header names no algorithm"));
    };
    let (algorithm, hash) = match algorithm {
        Algorithm::ES256 => (SignatureAlg::Ecdsa, HashAlg::Sha256),
        Algorithm::ES384 => (SignatureAlg::Ecdsa, HashAlg::Sha384),
        Algorithm::PS256 => (SignatureAlg::RsaPss, HashAlg::Sha256),
        Algorithm::PS384 => (SignatureAlg::RsaPss, HashAlg::Sha384),
        Algorithm::PS512 => (SignatureAlg::RsaPss, HashAlg::Sha512),
        _ => return Err(bad("the algorithm is none of ES256, ES384, PS256, PS384, PS512")),
    };
    sign1
        .verify_signature(&[], |signature, signed| {
            let (r, s) = signature.split_at_checked(signature.len() / 2).unwrap_or_default();
            let value = match algorithm {
                SignatureAlg::Ecdsa => SignatureValue::Ecdsa { r, s },
                SignatureAlg::Rsassa | SignatureAlg::RsaPss => SignatureValue::Rsa(signature),
            };
            verify(key, algorithm, hash, signed, value)
        })
        .map_err(|_| bad("the signature does not verify under the key that was given"))?;
    Ok((content, format!("signed by the key {}", hex::encode(sha256(&[&key.spki()])))))
}

/// `rim-validity`: not before, not after, as seconds under tag 1.
fn validity(corim: &Map<'_>, now: i64) -> Result<(), Refused> {
    let Some(validity) = corim.get(4) else { return Ok(()) };
    let validity = Map::of(validity, "validity")?;
    let seconds = |key: i64| -> Result<Option<i64>, Refused> {
        let Some(value) = validity.get(key) else { return Ok(None) };
        let seconds = untagged(value, 1).and_then(Value::as_integer).and_then(|seconds| i64::try_from(seconds).ok());
        seconds.map(Some).ok_or_else(|| malformed("validity", "expected a date under tag 1"))
    };
    let (from, until) = (seconds(0)?, seconds(1)?);
    if from.is_some_and(|from| now < from) || until.is_some_and(|until| now > until) {
        return Err(Refused::new(Reason::CorimValidity, "the file's own dates do not include this moment"));
    }
    Ok(())
}
