//! What a verdict on a document of the Nitro hypervisor costs, above the signatures that nobody can leave out.

use std::sync::Arc;

use holdfast_evidence::nitro::{DocumentKind, NitroEndorsements, NitroEvidence, NitroItem};
use holdfast_evidence::nitrotpm::{NitroTpmEvidence, NitroTpmItem};

use crate::floor::p384;
use crate::hypervisor::Hypervisor;
use crate::report::Row;
use crate::stage::Stage;

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/KIND/{NAME}"
selectors = ["KIND.class"]
[[rule]]
name = "documents"
evidence = ["KIND"]
ownership = "inventory"
trust_classes = ["cloud"]
[rule.require]
KIND.pcr.PCR = "IMAGE"
KIND.region = "us-east-1"
"#;
/// Bytes of a document.
const DOCUMENT: usize = 4500;
const COLD: &str = "floor: 5 P-384 verifications (four certificates below the root, document); the node key's request not \
                    counted; aim 1.3";
const KEPT: &str = "floor: 1 P-384 verification; the chain kept; aim 1.3";

fn policy(kind: &str, name: &str, pcr: u8, image: &str) -> String {
    POLICY
        .replace("KIND", kind)
        .replace("NAME", name)
        .replace("PCR", &pcr.to_string())
        .replace("IMAGE", &image.repeat(48))
}

/// Rows of enclaves.
pub fn enclaves() -> anyhow::Result<Vec<Row>> {
    let hypervisor = Hypervisor::new(DocumentKind::Enclave);
    let cold = NitroEndorsements { roots: Arc::new(hypervisor.roots()), verified: Vec::new() };
    let stage = Stage::new::<NitroEvidence<'static>>(&policy("nitro", "nitro.module_id", 0, "10"), &cold, |asked| {
        NitroItem { document: &hypervisor.sign(&hypervisor.fields(&asked.nonce, &asked.binding)) }.encode()
    })?;
    let chain = Arc::clone(&stage.judge::<NitroEvidence<'static>>(&cold)?.claims().chain);
    let kept = NitroEndorsements { verified: vec![chain], ..cold.clone() };
    Ok(vec![
        stage.row::<NitroEvidence<'static>>("appraise_nitro", &cold, p384(5, DOCUMENT), COLD),
        stage.row::<NitroEvidence<'static>>("appraise_nitro_reattest", &kept, p384(1, DOCUMENT), KEPT),
    ])
}

/// Rows of instances with a NitroTPM.
pub fn instances() -> anyhow::Result<Vec<Row>> {
    let hypervisor = Hypervisor::new(DocumentKind::Tpm);
    let cold = NitroEndorsements { roots: Arc::new(hypervisor.roots()), verified: Vec::new() };
    let stage = Stage::new::<NitroTpmEvidence<'static>>(
        &policy("nitrotpm", "nitrotpm.instance_id", 4, "24"),
        &cold,
        |asked| NitroTpmItem { document: &hypervisor.sign(&hypervisor.fields(&asked.nonce, &asked.binding)) }.encode(),
    )?;
    let chain = Arc::clone(&stage.judge::<NitroTpmEvidence<'static>>(&cold)?.claims().chain);
    let kept = NitroEndorsements { verified: vec![chain], ..cold.clone() };
    Ok(vec![
        stage.row::<NitroTpmEvidence<'static>>("appraise_nitrotpm", &cold, p384(5, DOCUMENT), COLD),
        stage.row::<NitroTpmEvidence<'static>>("appraise_nitrotpm_reattest", &kept, p384(1, DOCUMENT), KEPT),
    ])
}
