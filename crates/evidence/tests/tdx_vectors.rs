//! Real TDX quotes with their collateral, judged as their provenance says. Reads `shared/vectors`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod vectors;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::tdx::{
    Collateral, CollateralParts, KnownCollateral, PckCa, Quote, TcbStatus, TdxEndorsements, Unverified, VerifiedQuote,
    checks, pck_chain, verify_quote,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;

fn folder() -> Option<PathBuf> {
    vectors::folder().map(|folder| folder.join("cvm"))
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn roots(folder: &Path) -> Arc<Roots> {
    let mut roots = Roots::new();
    let der = read(&folder.join("roots/intel-sgx-root-ca.der"));
    roots.add(Anchor::new(&der, TrustClass::Firmware).unwrap());
    Arc::new(roots)
}

fn collateral_of(files: &[PathBuf], quote: &[u8], roots: &Roots, at: UnixTime) -> Result<Arc<Collateral>, Unverified> {
    let mut parts = CollateralParts::new();
    for file in files {
        parts.add(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let kind = pck_chain(&Quote::parse(quote)?, roots, at)?.platform().kind;
    parts.collateral(kind).map(Arc::new)
}

fn verify(folder: &Path, quote: &[u8], files: &[PathBuf], at: UnixTime) -> Result<VerifiedQuote, Unverified> {
    let roots = roots(folder);
    let collateral = KnownCollateral::Fetched(collateral_of(files, quote, &roots, at)?);
    verify_quote(quote, &TdxEndorsements { roots, collateral, service_tds: Vec::new() }, at)
}

fn at(text: &str) -> UnixTime {
    let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap();
    UnixTime(date.unix_timestamp())
}

/// Those with collateral of their own date.
const WHOLE: &[(&str, &str, &str, &str)] = &[
    ("tdx/qvl-v4-uptodate", "quote.bin", "2025-06-19T10:32:27Z", "2025-07-19T10:00:34Z"),
    ("tdx-gcp/v4-2026-06-uptodate", "quote.bin", "2026-06-30T08:12:19Z", "2026-07-30T07:53:47Z"),
    ("tdx-gcp/v4-2025-12-uptodate", "quote.bin", "2026-01-27T09:49:59Z", "2026-02-26T09:01:45Z"),
    ("azure-tdx-vtpm/full-2026-06-ak-cert", "td-quote.bin", "2026-06-08T11:32:35Z", "2026-07-08T11:28:48Z"),
];

#[test]
fn good_quotes_verify_in_their_collaterals_window_and_not_a_second_outside() {
    let Some(folder) = folder() else { return };
    for (name, file, from, to) in WHOLE {
        let quote = read(&folder.join(name).join(file));
        let files = [folder.join(name).join("collateral.json")];
        let judge = |at: UnixTime| verify(&folder, &quote, &files, at);
        let (from, to) = (at(from), at(to));
        for inside in [from, to] {
            let verified = judge(inside).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(verified.tcb().status, TcbStatus::UpToDate, "{name}");
            assert!(verified.not_after() >= inside);
        }
        assert_eq!(judge(from.plus(-1)).unwrap_err().code(), "tdx.collateral.not_yet_valid", "{name}");
        assert_eq!(judge(to.plus(1)).unwrap_err().code(), "tdx.collateral.expired", "{name}");
        println!("{name}: {:?}", judge(from).unwrap().tcb());
        println!("{name}: {:?}", judge(from).unwrap().platform());
    }
}

#[test]
fn a_platform_below_every_level_is_refused() {
    let Some(folder) = folder() else { return };
    let vector = folder.join("tdx/NEG-qvl-v5-no-tcb-level");
    let quote = read(&vector.join("quote.bin"));
    let refused = verify(&folder, &quote, &[vector.join("collateral.json")], at("2026-03-01T00:00:00Z")).unwrap_err();
    assert_eq!(refused, Unverified::TcbNoLevel);
    assert!(refused.is_genuine());
}

#[test]
fn every_quote_holds_together_up_to_intels_root() {
    let Some(folder) = folder() else { return };
    let roots = roots(&folder);
    for file in vectors::files_below(&folder).iter().filter(|file| {
        file.to_string_lossy().contains("tdx")
            && file.file_name().is_some_and(|n| n.to_string_lossy().ends_with("quote.bin"))
    }) {
        let bytes = read(file);
        let quote = Quote::parse(&bytes).unwrap();
        let pck = pck_chain(&quote, &roots, at("2026-06-15T00:00:00Z")).unwrap();
        checks::qe_report(&quote, &pck).unwrap();
        checks::attestation_key(&quote).unwrap();
        checks::quote_signature(&quote).unwrap();
        assert!(matches!(pck.platform().kind.ca, PckCa::Platform | PckCa::Processor));
        println!("{}: {} trailing, {:?}", file.display(), quote.trailing_bytes, pck.platform().kind);
    }
}
