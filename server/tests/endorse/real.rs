//! Real reports of real chips: with what AMD's service has for them, found by the endorser, they verify.

use holdfast_evidence::Evidence as _;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{Product, SnpEvidence, SnpItem, bundle, kds, verify_report};
use holdfast_server::clock;
use holdfast_server::endorse::Asker;

use crate::chips::pem;
use crate::place::Place;
use crate::stand_in::Answer;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/cvm");

fn file(path: &str) -> Option<Vec<u8>> {
    std::fs::read(format!("{VECTORS}/{path}")).ok()
}

#[tokio::test]
async fn a_real_report_verifies_with_what_the_service_has_for_it() {
    if file("README.md").is_none() {
        println!("skipped: no vectors at {VECTORS}");
        return;
    }
    for (product, folder, vek) in [
        (Product::Milan, "snp-milan/virtee-v2", "vcek.der"),
        (Product::Milan, "snp-milan/azure-aci-v3", "vcek.pem"),
        (Product::Genoa, "snp-genoa/azure-aci-v3", "vcek.pem"),
        (Product::Turin, "snp-turin/azure-aci-v5", "vcek.pem"),
    ] {
        let name = product.as_str().to_lowercase();
        let of = |kind: &str| file(&format!("roots/amd-{name}-{kind}.der")).unwrap();
        let report = file(&format!("{folder}/report.bin")).unwrap();
        let vek = bundle(&file(&format!("{folder}/{vek}")).unwrap()).unwrap().remove(0);
        let item = SnpItem { report: &report, certificates: &[] }.encode();
        let evidence = SnpEvidence::parse(&item).unwrap();
        let wants = evidence.wants();

        let place = Place::new().await;
        place.trust.root(&of("ark"));
        let path = wants.vcek_paths().into_iter().find(|path| path.contains(product.as_str())).unwrap();
        place.service.tell(&path, Answer::body(vek));
        let chain = kds::chain_path(wants.kind.unwrap(), product);
        place.service.tell(&chain, Answer::body(pem(&[of("ask"), of("ark")])));
        let found = place.endorser.snp(EvidenceKind::Snp, &wants, &[], Asker::Ours).await.unwrap();
        let verified = verify_report(&report, &[], &found, clock::now()).unwrap();
        assert_eq!(verified.product(), product, "{folder}");
        assert!(place.service.asked().contains(&path), "{folder}");
    }
}
