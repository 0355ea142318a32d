//! Identities as text, in SPIRE's layout, and as JSON. Keys are in neither: they go into files that a command names.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};

use super::identity::{Identities, Identity, validity};

/// For people. IDs and hints were checked to be plain by those who made them, and are escaped all the same.
pub(super) fn text(identities: &Identities, after: Duration) -> anyhow::Result<String> {
    let mut out = String::new();
    let count = identities.svids.len();
    writeln!(out, "Received {count} svid{} after {after:.3?}", if count == 1 { "" } else { "s" })?;
    for svid in &identities.svids {
        let leaf = svid.chain.first().map(Vec::as_slice).unwrap_or_default();
        let leaf = validity(leaf)?;
        writeln!(out, "\nSPIFFE ID:\t\t{}", svid.spiffe_id.escape_debug())?;
        if !svid.hint.is_empty() {
            writeln!(out, "Hint:\t\t\t{}", svid.hint.escape_debug())?;
        }
        writeln!(out, "SVID Valid After:\t{}\nSVID Valid Until:\t{}", leaf.not_before, leaf.not_after)?;
        authorities(&mut out, "CA", &svid.bundle)?;
    }
    for (domain, bundle) in &identities.federated {
        authorities(&mut out, &format!("[{}] CA", domain.escape_debug()), bundle)?;
    }
    Ok(out)
}

fn authorities(out: &mut String, name: &str, bundle: &[Vec<u8>]) -> anyhow::Result<()> {
    for (n, certificate) in bundle.iter().enumerate() {
        let (n, valid) = (n + 1, validity(certificate)?);
        writeln!(out, "{name} #{n} Valid After:\t{}", valid.not_before)?;
        writeln!(out, "{name} #{n} Valid Until:\t{}", valid.not_after)?;
    }
    Ok(())
}

/// For programs: certificates in base64 of their DER.
pub(super) fn json(identities: &Identities) -> anyhow::Result<Value> {
    let federated: serde_json::Map<_, _> =
        identities.federated.iter().map(|(domain, bundle)| (domain.clone(), encoded(bundle))).collect();
    Ok(json!({
        "svids": identities.svids.iter().map(svid).collect::<anyhow::Result<Vec<_>>>()?,
        "federated_bundles": federated,
        "crl": encoded(&identities.crls),
    }))
}

fn svid(svid: &Identity) -> anyhow::Result<Value> {
    let valid = validity(svid.chain.first().map(Vec::as_slice).unwrap_or_default())?;
    Ok(json!({
        "spiffe_id": svid.spiffe_id,
        "hint": svid.hint,
        "serial": valid.serial,
        "not_before": valid.not_before,
        "not_after": valid.not_after,
        "x509_svid": encoded(&svid.chain),
        "bundle": encoded(&svid.bundle),
    }))
}

fn encoded(certificates: &[Vec<u8>]) -> Value {
    certificates.iter().map(|der| base64::engine::general_purpose::STANDARD.encode(der)).collect()
}
