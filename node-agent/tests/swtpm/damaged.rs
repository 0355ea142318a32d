//! What a provider left in NV, with parts of it damaged or missing: what can do without them does.

use holdfast_agent::collect::detect::{State, detect};
use holdfast_agent::collect::sources::Sources;
use holdfast_agent::collect::{CollectFault, Extras};
use holdfast_agent::vtpm::Vtpm;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::azure::{AzureHardware, AzureItem};
use holdfast_evidence::gcp::GcpItem;

use super::machine::Bench;
use super::provider::{
    NONCE, SELECTION, TEMPLATE, assembly, azure_key, certificate, chosen, hcl_report, metadata_service, put, sources,
};

/// An attestation key of RSA, as Google's template without `unique`.
const RSA_TEMPLATE: &str = "0001000b00050072000000100014000b0800000000000000";

/// The one item of a machine.
async fn item(bench: &Bench, kind: EvidenceKind, sources: Sources) -> Result<Vec<u8>, CollectFault> {
    let gatherer = assembly(bench, &bench.access, sources).gatherer().await?;
    let items = gatherer.items(&[(kind, SELECTION.encode())], &NONCE, Extras::default()).await?;
    Ok(items.into_iter().next().unwrap().1)
}

/// An index that nothing was ever written to.
fn define(bench: &Bench, index: u32, attributes: &str) {
    bench.tool(&format!("tpm2_nvdefine -Q {index:#x} -C o -s 64 -a {attributes}"));
}

#[tokio::test]
async fn a_report_goes_without_a_certificate_that_cannot_be_read() {
    let bench = Bench::new();
    azure_key(&bench);
    let service = metadata_service(r#"{"vcekCert":"VCEK\n","certificateChain":"CHAIN\n"}"#);
    let confidential = || Sources { azure_imds: service.clone(), ..sources("azure") };
    let damages: [&dyn Fn(); 3] = [
        &|| define(&bench, 0x01c1_01d0, "authread|ownerwrite"),
        &|| define(&bench, 0x01c1_01d0, "ppread|ownerwrite"),
        &|| put(&bench, 0x01c1_01d0, "authread|ownerwrite", b"no certificate"),
    ];
    for damage in damages {
        damage();
        // alone, it is all that the machine has
        let fault = item(&bench, EvidenceKind::Azure, confidential()).await.unwrap_err();
        assert!(["agent.vtpm.command", "agent.vtpm.unreadable", "agent.collect.form"].contains(&fault.code()));
        put(&bench, 0x0140_0001, "ownerread|ownerwrite", &hcl_report(2));
        let item = item(&bench, EvidenceKind::Azure, confidential()).await.unwrap();
        let item = AzureItem::parse(&item).unwrap();
        assert_eq!((item.ak_certificates.len(), item.hardware), (0, AzureHardware::Snp(b"VCEK\nCHAIN\n")));
        for index in ["0x1c101d0", "0x1400001"] {
            bench.tool(&format!("tpm2_nvundefine -Q -C o {index}"));
        }
    }
}

/// The server may have the certificates in its store, in a directory, or from AMD. Nobody else quotes a TDREPORT.
#[tokio::test]
async fn an_snp_report_goes_without_certificates_while_the_metadata_service_is_away() {
    let bench = Bench::new();
    azure_key(&bench);
    put(&bench, 0x0140_0001, "ownerread|ownerwrite", &hcl_report(2));
    for away in ["http://127.0.0.1:1".parse().unwrap(), metadata_service("{}")] {
        let sources = Sources { azure_imds: away, ..sources("azure") };
        let item = item(&bench, EvidenceKind::Azure, sources).await.unwrap();
        assert_eq!(AzureItem::parse(&item).unwrap().hardware, AzureHardware::Snp(&[]));
    }
    bench.tool("tpm2_nvundefine -Q -C o 0x1400001");
    put(&bench, 0x0140_0001, "ownerread|ownerwrite", &hcl_report(4));
    let fault = item(&bench, EvidenceKind::Azure, sources("azure")).await.unwrap_err();
    assert_eq!(fault.code(), "agent.imds.unreachable");
}

#[tokio::test]
async fn where_one_of_googles_keys_is_not_whole_the_other_signs() {
    let bench = Bench::new();
    let public = |template: &str| {
        let template = hex::decode(template).unwrap();
        Vtpm::open(&bench.access).unwrap().with_primary(&template, |_, _, public| Ok(public.to_vec())).unwrap()
    };
    let ecc = hex::decode(TEMPLATE).unwrap();
    let (of_ecc, of_rsa) = (certificate(&public(TEMPLATE)), certificate(&public(RSA_TEMPLATE)));
    put(&bench, 0x01c1_0000, "authread|ownerwrite", &of_rsa);
    put(&bench, 0x01c1_0001, "authread|ownerwrite", &hex::decode(RSA_TEMPLATE).unwrap());
    let damages: [&dyn Fn(); 5] = [
        &|| put(&bench, 0x01c1_0002, "authread|ownerwrite", &of_ecc),
        &|| {
            put(&bench, 0x01c1_0002, "authread|ownerwrite", &of_ecc);
            define(&bench, 0x01c1_0003, "authread|ownerwrite");
        },
        &|| {
            define(&bench, 0x01c1_0002, "ppread|ownerwrite");
            put(&bench, 0x01c1_0003, "authread|ownerwrite", &ecc);
        },
        &|| {
            put(&bench, 0x01c1_0002, "authread|ownerwrite", &of_ecc);
            put(&bench, 0x01c1_0003, "authread|ownerwrite", b"no template");
        },
        &|| {
            put(&bench, 0x01c1_0002, "authread|ownerwrite", &of_rsa);
            put(&bench, 0x01c1_0003, "authread|ownerwrite", &ecc);
        },
    ];
    for damage in damages {
        damage();
        assert_eq!(chosen(&sources("auto"), &bench.access), [EvidenceKind::Gcp]);
        let item = item(&bench, EvidenceKind::Gcp, sources("gcp")).await.unwrap();
        assert_eq!(GcpItem::parse(&item).unwrap().ak_certificates, [&of_rsa]);
        bench.tool("tpm2_nvundefine -Q -C o 0x1c10002");
        if Vtpm::open(&bench.access).unwrap().nv_public(0x01c1_0003).is_ok() {
            bench.tool("tpm2_nvundefine -Q -C o 0x1c10003");
        }
    }
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
    // a certificate without any template is no key
    bench.tool("tpm2_nvundefine -Q -C o 0x1c10001");
    let detection = detect(&sources("auto"), &bench.access);
    let gcp = detection.0.iter().find(|finding| finding.kind == EvidenceKind::Gcp).unwrap();
    assert!(
        matches!(&gcp.state, State::Broken { reason, .. } if reason.ends_with("no template at 0x01c10001")),
        "{gcp:?}"
    );
    let fault = item(&bench, EvidenceKind::Gcp, sources("gcp")).await.unwrap_err();
    assert_eq!(fault.code(), "agent.collect.form");
}
