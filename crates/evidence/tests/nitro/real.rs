//! Real documents, judged as their provenance says.

use std::sync::Arc;

use holdfast_evidence::nitro::{Document, DocumentKind, ModuleId, checks};
use holdfast_identity::UnixTime;

use crate::judge::{Asked, aws, folder, judge};

/// File, kind, seconds of its timestamp, verdict.
const DOCUMENTS: [(&str, DocumentKind, i64, &str); 8] = [
    ("nitro/veracruz-2022.cose", DocumentKind::Enclave, 1_668_034_320, "verified"),
    ("nitro/evervault-2022-pcr3-pcr8.cose", DocumentKind::Enclave, 1_665_651_482, "verified"),
    ("nitro/worldcoin-2025-09-signed-eif-pcr8.cose", DocumentKind::Enclave, 1_758_628_609, "verified"),
    ("nitro/dstack-2025-12-a.cose", DocumentKind::Enclave, 1_766_668_537, "verified"),
    ("nitro/NEG-evervault-2022-debug.cose", DocumentKind::Enclave, 1_665_582_606, "nitro.pcr.debug"),
    ("nitro/NEG-evervault-2023-debug.cose", DocumentKind::Enclave, 1_695_049_410, "nitro.pcr.debug"),
    ("nitro/NEG-veracruz-2022-bad-signature.cose", DocumentKind::Enclave, 1_668_034_320, "nitro.document.signature"),
    ("nitrotpm/attestation-doc.cose", DocumentKind::Tpm, 1_770_113_522, "verified"),
];

/// 2026-11-21: when the collection was made, and no leaf was valid any more.
const COLLECTED: UnixTime = UnixTime(1_795_219_200);

fn code(result: Result<Arc<impl Sized>, &'static str>) -> &'static str {
    result.map_or_else(|code| code, |_| "verified")
}

#[test]
fn every_real_document_gets_the_verdict_of_its_provenance() {
    let Some(folder) = folder() else { return };
    let roots = aws(&folder);
    for (file, kind, made, verdict) in DOCUMENTS {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let at = |now| code(judge(kind, &bytes, Asked::default(), &roots, &[], now));
        assert_eq!(at(UnixTime(made)), verdict, "{file}");
        let expired = if kind == DocumentKind::Tpm { "nitrotpm.chain.expired" } else { "nitro.chain.expired" };
        assert_eq!(at(COLLECTED), expired, "{file}");
        // its chain holds for three hours, its freshness does not
        let stale = if kind == DocumentKind::Tpm { "nitrotpm.document.timestamp" } else { "nitro.document.timestamp" };
        if verdict == "verified" {
            assert_eq!(at(UnixTime(made + 3600)), stale, "{file}");
        }
    }
}

#[test]
fn no_real_document_is_left_out() {
    let Some(folder) = folder() else { return };
    for kind in ["nitro", "nitrotpm"] {
        for file in crate::vectors::files_below(&folder.join(kind)) {
            let name = format!("{kind}/{}", file.file_name().unwrap().to_string_lossy());
            if name.ends_with(".cose") {
                assert!(DOCUMENTS.iter().any(|(known, ..)| *known == name), "{name} has no verdict here");
            }
        }
    }
}

#[test]
fn a_real_document_of_one_kind_never_passes_for_the_other() {
    let Some(folder) = folder() else { return };
    let roots = aws(&folder);
    for (file, kind, made, verdict) in DOCUMENTS {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let (other, refusal) = match kind {
            DocumentKind::Enclave => (DocumentKind::Tpm, "nitrotpm.document.kind"),
            DocumentKind::Tpm => (DocumentKind::Enclave, "nitro.document.kind"),
        };
        let result = judge(other, &bytes, Asked::default(), &roots, &[], UnixTime(made));
        assert_eq!(code(result), refusal, "{file}, {verdict} as {kind:?}");
    }
}

#[test]
fn nonce_and_user_data_of_a_real_document_are_compared() {
    let Some(folder) = folder() else { return };
    let roots = aws(&folder);
    let bytes = std::fs::read(folder.join("nitro/veracruz-2022.cose")).unwrap();
    let nonce = hex::decode("c678c86135de539d183acff58886d98dfb9823041af9f934bf909ac0f8d96245").unwrap();
    let data = hex::decode("7c37108079b3e8a36d8a7970de1d6d4ff1461e0e35d9557c4d789df5e0576620").unwrap();
    let judged = |nonce: &[u8], user_data: &[u8]| {
        let asked = Asked { nonce: Some(nonce), user_data: Some(user_data) };
        code(judge(DocumentKind::Enclave, &bytes, asked, &roots, &[], UnixTime(1_668_034_320)))
    };
    assert_eq!(judged(&nonce, &data), "verified");
    assert_eq!(judged(&data, &data), "nitro.document.nonce");
    assert_eq!(judged(&nonce, &nonce), "nitro.document.binding");
    assert_eq!(judged(&nonce, &data[..31]), "nitro.document.binding");
    assert_eq!(judged(&nonce, &[]), "nitro.document.binding");
    assert_eq!(judged(&[], &data), "nitro.document.nonce");
}

#[test]
fn facts_of_a_real_document_are_read_as_its_provenance_has_them() {
    let Some(folder) = folder() else { return };
    let roots = aws(&folder);
    for (file, kind, made, instance, region) in [
        ("nitro/veracruz-2022.cose", DocumentKind::Enclave, 1_668_034_320_696, "i-04fd167167daacf3b", "eu-west-1"),
        (
            "nitro/worldcoin-2025-09-signed-eif-pcr8.cose",
            DocumentKind::Enclave,
            1_758_628_609_915,
            "i-01b324f0b8b6c25ea",
            "us-east-1",
        ),
        ("nitrotpm/attestation-doc.cose", DocumentKind::Tpm, 1_770_113_522_437, "i-01cfb383223e42522", "us-east-1"),
    ] {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let document = Document::parse(kind, &bytes).unwrap();
        let module: ModuleId = checks::module_id(&document, kind).unwrap();
        assert_eq!((document.timestamp, module.instance_id()), (made, instance), "{file}");
        let now = UnixTime(i64::try_from(made / 1000).unwrap());
        let chain = judge(kind, &bytes, Asked::default(), &roots, &[], now).unwrap();
        assert_eq!(checks::certificate_name(kind, &module, &chain), Ok(Some(region.to_owned())), "{file}");
        assert_eq!(chain.root().name, "aws.nitro-enclaves");
        // the leaf ends first, three hours after it began
        assert!((10_790..10_810).contains(&chain.not_after().since(now)), "{file}: {}", chain.not_after().since(now));
    }
}
