//! AMD's certificates for SEV-SNP, as they ship with this program (`policies/amd`), so that a report verifies by itself.
//! A root among them counts by the fingerprint that we know of it, and not at all where others were named.

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::x509::manifest::known_root;
use holdfast_evidence::x509::{Anchor, Roots};

use super::certificates::{is_self_issued, of_bytes};
use super::flags::Flags;

/// For each product its root (ARK) and the intermediates above chips' keys (ASK) and providers' keys (ASVK).
const FILES: [&str; 9] = [
    include_str!("../../amd/milan-ark.pem"),
    include_str!("../../amd/milan-ask.pem"),
    include_str!("../../amd/milan-asvk.pem"),
    include_str!("../../amd/genoa-ark.pem"),
    include_str!("../../amd/genoa-ask.pem"),
    include_str!("../../amd/genoa-asvk.pem"),
    include_str!("../../amd/turin-ark.pem"),
    include_str!("../../amd/turin-ask.pem"),
    include_str!("../../amd/turin-asvk.pem"),
];

/// Adds the intermediates, which only help, and the roots unless `--roots` says who is trusted.
pub(super) fn complete(roots: &mut Roots, flags: &Flags) {
    for der in FILES.iter().flat_map(|pem| of_bytes(pem.as_bytes())) {
        if !is_self_issued(&der) {
            // of ours each can be read, a test says
            let _ = roots.add_intermediate(&der);
        } else if flags.roots.is_none() {
            let known = known_root(&sha256(&[&der])).filter(|known| known.kinds.contains(&EvidenceKind::Snp));
            if let Some(anchor) = known.and_then(|known| Anchor::new(&der, known.class).ok()) {
                roots.add(anchor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_evidence::crypto::verify_pss_sha384;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;
    use crate::inspect::certificates::key;

    #[test]
    fn each_root_is_known_and_each_intermediate_is_signed_by_its_own() {
        let provenance = include_str!("../../amd/PROVENANCE.md");
        for three in FILES.chunks(3) {
            let der: Vec<Vec<u8>> = three.iter().flat_map(|pem| of_bytes(pem.as_bytes())).collect();
            let [ark, ask, asvk] = der.as_slice() else { panic!("one certificate a file") };
            let known = known_root(&sha256(&[ark])).unwrap();
            assert!(known.kinds.contains(&EvidenceKind::Snp) && known.kinds.contains(&EvidenceKind::Azure));
            let root = key(ark).unwrap();
            for (certificate, name) in [(ark, "ARK-"), (ask, "SEV-"), (asvk, "SEV-VLEK-")] {
                let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
                let common_name = parsed.subject().iter_common_name().next().unwrap().as_str().unwrap();
                assert!(common_name.starts_with(name) && known.name.ends_with(common_name.rsplit('-').next().unwrap()));
                assert_eq!(common_name.matches('-').count(), name.matches('-').count(), "{common_name}");
                verify_pss_sha384(&root, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data).unwrap();
                let line = format!("`{common_name}`");
                let line = provenance.lines().find(|text| text.contains(&line)).unwrap();
                assert!(line.contains(&hex::encode(sha256(&[certificate]))), "{common_name}");
            }
        }
    }
}
