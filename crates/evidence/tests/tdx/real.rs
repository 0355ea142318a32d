//! Real TDX quotes with their collateral, judged as their provenance says. Reads `shared/vectors`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_evidence::TrustClass;
use holdfast_evidence::tdx::{
    Collateral, CollateralParts, Document, KnownCollateral, PckCa, Quote, TcbStatus, TdBoot, TdxEndorsements,
    Unverified, VerifiedQuote, checks, pck_chain, verify_quote,
};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_identity::UnixTime;

use crate::vectors;

/// A vector with collateral of its own date: folder, quote, and the window in which it must verify.
pub(crate) struct Vector {
    name: &'static str,
    quote: &'static str,
    from: &'static str,
    to: &'static str,
    trailing: usize,
}

pub(crate) const WHOLE: &[Vector] = &[
    Vector {
        name: "tdx/qvl-v4-uptodate",
        quote: "quote.bin",
        from: "2025-06-19T10:32:27Z",
        to: "2025-07-19T10:00:34Z",
        trailing: 70,
    },
    Vector {
        name: "tdx-gcp/v4-2026-06-uptodate",
        quote: "quote.bin",
        from: "2026-06-30T08:12:19Z",
        to: "2026-07-30T07:53:47Z",
        trailing: 3065,
    },
    Vector {
        name: "tdx-gcp/v4-2025-12-uptodate",
        quote: "quote.bin",
        from: "2026-01-27T09:49:59Z",
        to: "2026-02-26T09:01:45Z",
        trailing: 3065,
    },
    Vector {
        name: "azure-tdx-vtpm/full-2026-06-ak-cert",
        quote: "td-quote.bin",
        from: "2026-06-08T11:32:35Z",
        to: "2026-07-08T11:28:48Z",
        trailing: 70,
    },
];

/// A vector, loaded.
pub(crate) struct Real {
    pub(crate) name: &'static str,
    pub(crate) quote: Vec<u8>,
    /// Its file of collateral as it is.
    pub(crate) file: Vec<u8>,
    pub(crate) collateral: Arc<Collateral>,
    pub(crate) roots: Arc<Roots>,
    pub(crate) from: UnixTime,
    to: UnixTime,
}

impl Real {
    pub(crate) fn load(vector: &Vector) -> Option<Self> {
        let folder = folder()?;
        let (roots, from, to) = (roots(&folder), at(vector.from), at(vector.to));
        let quote = read(&folder.join(vector.name).join(vector.quote));
        let files = [folder.join(vector.name).join("collateral.json")];
        let collateral = collateral_of(&files, &quote, &roots, from).unwrap();
        let file = read(&files[0]);
        Some(Self { name: vector.name, quote, file, collateral, roots, from, to })
    }

    pub(crate) fn verify(&self, quote: &[u8], at: UnixTime) -> Result<VerifiedQuote, Unverified> {
        let collateral = KnownCollateral::Fetched(Arc::clone(&self.collateral));
        let roots = Arc::clone(&self.roots);
        verify_quote(quote, &TdxEndorsements { roots, collateral, service_tds: Vec::new(), pck: None }, at)
    }
}

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

fn at(text: &str) -> UnixTime {
    let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).unwrap();
    UnixTime(date.unix_timestamp())
}

#[test]
fn good_quotes_verify_in_their_collaterals_window_and_not_a_second_outside() {
    for vector in WHOLE {
        let Some(real) = Real::load(vector) else { return };
        let judge = |at: UnixTime| real.verify(&real.quote, at);
        for inside in [real.from, real.to] {
            let verified = judge(inside).unwrap_or_else(|error| panic!("{}: {error}", real.name));
            assert_eq!(verified.tcb().status, TcbStatus::UpToDate, "{}", real.name);
            assert_eq!(verified.trailing_bytes(), vector.trailing, "{}", real.name);
            assert_eq!(verified.not_after(), real.to, "{}", real.name);
            assert_eq!(verified.platform().smt_enabled, Some(true), "{}", real.name);
        }
        assert_eq!(judge(real.from.plus(-1)).unwrap_err().code(), "tdx.collateral.not_yet_valid", "{}", real.name);
        assert_eq!(judge(real.to.plus(1)).unwrap_err().code(), "tdx.collateral.expired", "{}", real.name);
        assert!(judge(real.to.plus(1)).unwrap_err().is_collateral());
    }
}

#[test]
fn a_real_platform_below_every_level_is_refused() {
    let Some(folder) = folder() else { return };
    let vector = folder.join("tdx/NEG-qvl-v5-no-tcb-level");
    let (quote, roots, at) = (read(&vector.join("quote.bin")), roots(&folder), at("2026-03-01T00:00:00Z"));
    let collateral = collateral_of(&[vector.join("collateral.json")], &quote, &roots, at).unwrap();
    let endorsements =
        TdxEndorsements { roots, collateral: KnownCollateral::Fetched(collateral), service_tds: vec![], pck: None };
    let refused = verify_quote(&quote, &endorsements, at).unwrap_err();
    assert_eq!(refused, Unverified::TcbNoLevel);
    assert!(refused.is_genuine());
}

/// Structure: all signatures, up to Intel's root.
#[test]
fn every_quote_holds_together_up_to_intels_root() {
    let Some(folder) = folder() else { return };
    let roots = roots(&folder);
    let mut trailing = Vec::new();
    let files = vectors::files_below(&folder);
    for file in files.iter().filter(|file| file.to_string_lossy().contains("tdx") && file.ends_with_quote()) {
        let bytes = read(file);
        let quote = Quote::parse(&bytes).unwrap();
        let pck = pck_chain(&quote, &roots, at("2026-06-15T00:00:00Z")).unwrap();
        checks::qe_report(&quote, &pck).unwrap();
        checks::attestation_key(&quote).unwrap();
        checks::quote_signature(&quote).unwrap();
        checks::debug(&quote).unwrap();
        checks::seam(&quote).unwrap();
        checks::service_td(&quote, &[]).unwrap();
        assert_eq!(pck.platform().kind.ca, PckCa::Platform);
        trailing.push(quote.trailing_bytes);
    }
    trailing.sort_unstable();
    assert_eq!(trailing, [0, 0, 39, 70, 70, 70, 307, 3065, 3065, 3065]);
}

trait QuoteFile {
    fn ends_with_quote(&self) -> bool;
}

impl QuoteFile for PathBuf {
    fn ends_with_quote(&self) -> bool {
        matches!(self.file_name().and_then(|name| name.to_str()), Some("quote.bin" | "td-quote.bin"))
    }
}

#[test]
fn the_quote_of_2022_lacks_sept_ve_disable_and_its_collateral_is_over() {
    let Some(folder) = folder() else { return };
    let vector = folder.join("tdx/goguest-v4-2022-trailing-nonzero");
    let (quote, roots, now) = (read(&vector.join("quote.bin")), roots(&folder), at("2026-11-28T00:00:00Z"));
    assert_eq!(Quote::parse(&quote).unwrap().trailing_bytes, 39);
    let chain = folder.join("tdx/collateral-2026-03/tcb_signing_chain.pem");
    let files = ["sample_tcbInfo_response", "sample_qeIdentity_response", "pckcrl", "rootcrl.der"];
    let files: Vec<PathBuf> = files.iter().map(|file| vector.join(file)).chain([chain]).collect();
    let collateral = collateral_of(&files, &quote, &roots, now).unwrap();
    let refused = collateral.check(&roots, now).unwrap_err();
    assert!(refused.is_collateral(), "{refused}");
    let endorsements =
        TdxEndorsements { roots, collateral: KnownCollateral::Fetched(collateral), service_tds: vec![], pck: None };
    assert_eq!(verify_quote(&quote, &endorsements, now).unwrap_err(), Unverified::SeptVe);
}

#[test]
fn collateral_in_the_form_of_intels_service_is_checked_in_its_window() {
    let Some(folder) = folder() else { return };
    let roots = roots(&folder);
    let mut parts = CollateralParts::new();
    for file in vectors::files_below(&folder.join("tdx/collateral-2026-03")) {
        parts.add(&read(&file)).unwrap();
    }
    for fmspc in [[0x50, 0x80, 0x6f, 0, 0, 0], [0x90, 0xc0, 0x6f, 0, 0, 0]] {
        let kind = holdfast_evidence::tdx::PlatformKind { fmspc, ca: PckCa::Platform };
        let collateral = Arc::new(parts.collateral(kind).unwrap());
        assert_eq!(collateral.evaluation_number(), 18);
        let checked = collateral.check(&roots, at("2026-03-20T00:00:00Z")).unwrap();
        assert!(checked.next_update() < at("2026-04-16T00:00:00Z"));
        let code = |time| collateral.check(&roots, at(time)).unwrap_err().code();
        assert_eq!(code("2026-04-16T00:00:00Z"), "tdx.collateral.expired");
        assert_eq!(code("2026-03-16T00:00:00Z"), "tdx.collateral.not_yet_valid");
    }
    let kind = holdfast_evidence::tdx::PlatformKind { fmspc: [1; 6], ca: PckCa::Platform };
    let missing = Unverified::CollateralMissing { document: Document::TcbInfo };
    assert_eq!(parts.collateral(kind).unwrap_err(), missing);
}

/// Documents of two dates in one folder: those of the date count, though the others are newer.
#[test]
fn real_documents_of_another_date_do_not_stand_in_the_way() {
    let (Some(folder), Some(real)) = (folder(), WHOLE.iter().find_map(Real::load)) else { return };
    let mut parts = CollateralParts::new();
    parts.add(&real.file).unwrap();
    for file in vectors::files_below(&folder.join("tdx/collateral-2026-03")) {
        parts.add(&read(&file)).unwrap();
    }
    let (pck, now) =
        (pck_chain(&Quote::parse(&real.quote).unwrap(), &real.roots, real.from).unwrap(), at("2025-07-01T00:00:00Z"));
    let checked = Arc::new(parts.check_for(&pck, &real.roots, now).unwrap());
    assert_eq!(checked.collateral().issued_at(), real.collateral.issued_at());
    let (roots, collateral) = (Arc::clone(&real.roots), KnownCollateral::Checked(checked));
    let endorsements = TdxEndorsements { roots, collateral, ..TdxEndorsements::default() };
    // of the revocation lists the newer do: they revoke no less
    let (verified, alone) = (verify_quote(&real.quote, &endorsements, now), real.verify(&real.quote, now));
    assert_eq!(verified.unwrap().tcb(), alone.unwrap().tcb());
}

#[test]
fn real_logs_lead_to_the_registers_of_their_quotes_and_of_no_others() {
    let Some(folder) = folder() else { return };
    let derive = |quote: &str, log: &str| {
        let bytes = read(&folder.join(quote));
        let quote = Quote::parse(&bytes).unwrap();
        TdBoot::derive(&read(&folder.join(log)), &quote.report.rt_mr)
    };
    let bare = "tdx/baremetal-v4-ccel";
    let boot = derive(&format!("{bare}/quote.bin"), &format!("{bare}/ccel.bin")).unwrap();
    assert_eq!(boot.events.len(), 20);
    assert_eq!((boot.applications.len(), boot.loaded_files.len(), boot.command_lines.len()), (1, 1, 1));
    assert_eq!(boot.command_lines[0].text, None, "the kernel's stub measures load options by digest");
    assert!(boot.secure_boot.is_some_and(|secure| !secure.enabled));
    let other = derive(&format!("{bare}/quote.bin"), &format!("{bare}/NEG-ccel-other-boot.bin"));
    assert_eq!(other, Err(Unverified::Replay { register: 2 }));

    let cos = "tdx-gcp/cos113-v4-ccel";
    let boot = derive(&format!("{cos}/quote.bin"), &format!("{cos}/ccel.bin")).unwrap();
    assert_eq!((boot.applications.len(), boot.events.len()), (2, 43));
    assert_eq!(boot.command_lines.len(), 1);
    assert!(boot.command_lines[0].text.as_deref().unwrap().starts_with("/syslinux/vmlinuz.A init="));
    let secure = boot.secure_boot.unwrap();
    assert_eq!((secure.enabled, secure.db.entries.len(), secure.dbx.entries.len()), (false, 1, 4));
    assert!(derive(&format!("{cos}/quote.bin"), &format!("{bare}/ccel.bin")).is_err());
}
