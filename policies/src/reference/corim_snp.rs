//! What the measurements of AMD's CoRIM profile mean in our facts. Judges nothing, and leaves out with a remark whatever
//! belongs to one launch, one chip, or nothing that we know.

use ciborium::Value as Cbor;
use holdfast_appraisal::{FactId, Value, Version, digest_of};

use super::Refused;
use super::cbor::{Map, array, bytes, malformed, untagged};
use super::corim::Product;
use super::draft::Draft;

/// 1.3.6.1.4.1.3704, AMD, as an OID's contents.
const AMD: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x03];
const OID: u64 = 111;
/// An SVN that must be exactly this, one that must be at least this, and raw bytes.
const SVN: [u64; 2] = [552, 553];
const RAW: u64 = 560;
/// SHA-384 in the registry of named information.
const SHA384: i64 = 7;

fn wrong(what: impl Into<String>) -> Refused {
    Refused::new("reference.corim.environment", what)
}

/// The environment of reference values: AMD's class.
pub(super) fn environment(environment: &Cbor) -> Result<(), Refused> {
    let environment = Map::of(environment, "environment")?;
    let class = environment.get(0).ok_or_else(|| wrong("an environment without class"))?;
    let class = Map::of(class, "class")?;
    let id = class.get(0).and_then(|id| untagged(id, OID)).and_then(Cbor::as_bytes);
    match id {
        Some(oid) if oid.starts_with(&AMD) => Ok(()),
        _ => Err(wrong("an environment whose class is none of AMD's")),
    }
}

/// The environment of a trust anchor: vendor and model, by which the profile finds it.
pub(super) fn anchor(environment: &Cbor) -> Result<(), Refused> {
    let environment = Map::of(environment, "environment")?;
    let class = environment.get(0).ok_or_else(|| wrong("a trust anchor without class"))?;
    let class = Map::of(class, "class")?;
    for (key, what) in [(1, "vendor"), (2, "model")] {
        class.get(key).and_then(Cbor::as_text).ok_or_else(|| wrong(format!("a trust anchor without {what}")))?;
    }
    Ok(())
}

/// One measurement, by its number.
pub(super) fn measurement(measurement: &Map<'_>, product: Option<Product>, draft: &mut Draft) -> Result<(), Refused> {
    let key = measurement.get(0).ok_or_else(|| {
        Refused::new("reference.corim.measurement_key", "a measurement without key: nobody can say what it is of")
    })?;
    let key = key.as_integer().and_then(|key| u64::try_from(key).ok()).ok_or_else(|| {
        Refused::new("reference.corim.measurement_key", "a measurement's key is no number, as the profile demands")
    })?;
    let value = Map::of(measurement.required(1, "measurement")?, "measurement")?;
    let left_out = |draft: &mut Draft, why: &str| draft.remarks.push(format!("measurement {key} was left out: {why}"));
    match key {
        1 => {
            let (svn, note) = svn(&value)?;
            // every guest meets zero
            match svn {
                0 => left_out(draft, "guest_svn 0 says nothing"),
                svn => add(draft, "snp.guest_svn", Value::Integer(svn), Some(note)),
            }
        }
        3 | 4 => {
            let raw = raw(&value, 16)?;
            let fact = if key == 3 { "snp.family_id" } else { "snp.image_id" };
            match raw.iter().all(|byte| *byte == 0) {
                true => left_out(draft, "all zero"),
                false => add(draft, fact, Value::text(&hex::encode(raw)), None),
            }
        }
        5 => {
            let number = number(raw(&value, 4)?);
            add(draft, "snp.vmpl", Value::Integer(number), None);
        }
        7 => add(draft, "snp.platform.info", Value::Bits(number(raw(&value, 8)?)), None),
        641 => add(draft, "snp.measurement", digest(&value)?, None),
        6 | 647 | 3329 | 3968 => {
            let which = match key {
                6 => "current",
                647 => "reported",
                3329 => "committed",
                _ => "launch",
            };
            let (svn, note) = svn(&value)?;
            match product {
                Some(product) => tcb(draft, which, svn, product, &note),
                None => left_out(draft, &format!("{which} TCB {svn:#018x}: --product says how it is divided")),
            }
        }
        3330 | 3936 => {
            let fact = if key == 3330 { "snp.firmware.current" } else { "snp.firmware.committed" };
            let version = Map::of(value.required(0, "version")?, "version")?;
            let text = version.required(0, "version")?.as_text().unwrap_or_default();
            let version = Version::parse(text).ok_or_else(|| malformed("version", "expected three numbers"))?;
            add(draft, fact, Value::Version(version), None);
        }
        2 => left_out(draft, "the guest's policy as one word; write what you need of it as snp.policy.*"),
        0 => left_out(draft, "the report's version says nothing about a machine"),
        640 | 645 | 646 => left_out(draft, "it belongs to one launch or one challenge"),
        3328 => left_out(draft, "it names one chip: that is the inventory's business"),
        _ => left_out(draft, "the profile's meaning of it is not known here"),
    }
    Ok(())
}

fn add(draft: &mut Draft, fact: &str, value: Value, note: Option<String>) {
    if let Some(id) = FactId::parse(fact) {
        draft.add(id, value, note);
    }
}

/// The components of a TCB, lowest byte first.
fn tcb(draft: &mut Draft, which: &str, svn: u64, product: Product, note: &str) {
    let names: &[(usize, &str)] = match product {
        Product::Milan | Product::Genoa => &[(0, "bootloader"), (1, "tee"), (6, "snp"), (7, "microcode")],
        Product::Turin => &[(0, "fmc"), (1, "bootloader"), (2, "tee"), (3, "snp"), (7, "microcode")],
    };
    let bytes = svn.to_le_bytes();
    for (place, name) in names {
        let component = bytes.get(*place).copied().unwrap_or_default();
        add(draft, &format!("snp.tcb.{which}.{name}"), Value::Integer(component.into()), Some(note.to_owned()));
    }
}

fn svn(value: &Map<'_>) -> Result<(u64, String), Refused> {
    let svn = value.required(1, "svn")?;
    let number = SVN.iter().find_map(|tag| untagged(svn, *tag)).unwrap_or(svn);
    let number = number.as_integer().and_then(|number| u64::try_from(number).ok());
    let note = if untagged(svn, SVN[1]).is_some() { "at least" } else { "exactly this" };
    number.map(|number| (number, note.to_owned())).ok_or_else(|| malformed("svn", "expected a number"))
}

/// Raw bytes of this length.
fn raw<'v>(value: &Map<'v>, length: usize) -> Result<&'v [u8], Refused> {
    let raw = value.required(4, "raw value")?;
    let raw = bytes(untagged(raw, RAW).unwrap_or(raw), "raw value")?;
    if raw.len() == length { Ok(raw) } else { Err(malformed("raw value", &format!("expected {length} bytes"))) }
}

/// Up to eight bytes as a number, highest first.
fn number(raw: &[u8]) -> u64 {
    raw.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The SHA-384 digest among the digests.
fn digest(value: &Map<'_>) -> Result<Value, Refused> {
    for entry in array(value.required(2, "digests")?, "digests")? {
        if let [algorithm, digest] = array(entry, "digest")?
            && algorithm.as_integer() == Some(SHA384.into())
        {
            let digest = bytes(digest, "digest")?;
            let digest = digest_of(digest).filter(|digest| digest.as_bytes().len() == 48);
            return digest.map(Value::Digest).ok_or_else(|| malformed("digest", "expected 48 bytes"));
        }
    }
    Err(malformed("digests", "no SHA-384 digest, as launch measurements are"))
}
