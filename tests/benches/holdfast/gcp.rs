//! What a verdict on a Google Cloud instance costs, above the signatures and hashes that nobody can leave out.

use std::sync::Arc;

use holdfast_evidence::gcp::{GcpEndorsements, GcpEvidence};

use crate::appraise::{boot_of, fill};
use crate::floor::{p256, passes};
use crate::report::Row;
use crate::stage::Stage;

#[path = "../../../crates/evidence/tests/gcp/instance.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub mod instance;

use instance::Instance;

/// What instances must be; of either class, so that a server that runs takes the made-up Google's as well.
pub const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/gcp/{gcp.instance_id}"
selectors = ["gcp.project_id", "gcp.class"]
[[rule]]
name = "instances"
evidence = ["gcp"]
ownership = "inventory"
trust_classes = ["cloud", "simulated"]
[rule.require]
gcp.production = true
tpm.secure_boot.enabled = true
tpm.boot.applications = { sequence = ["SHIM", "GRUB", "KERNEL"] }
"#;

/// An instance with a log as long as real ones.
pub fn instance() -> Instance {
    Instance::good().with(|instance| fill(&mut instance.firmware.events))
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    type Gcp = GcpEvidence<'static>;
    let mut instance = instance();
    let (cold, log) = (instance.endorsements(), instance.firmware.log());
    let stage = Stage::new::<Gcp>(&boot_of(POLICY), &cold, |asked| {
        instance.quoted = asked.selection;
        instance.item(&asked.binding)
    })?;
    let kept = Arc::clone(&stage.judge::<Gcp>(&cold)?.claims().path);
    let warm = GcpEndorsements { verified: vec![kept], ..cold.clone() };
    let mut hashed = passes(2, log);
    let (mut three, mut one) = (p256(3, 700), p256(1, 145));
    let mut row = |name, endorsements, signatures: &mut dyn FnMut(), note| {
        let floor = || {
            signatures();
            hashed();
        };
        stage.row::<Gcp>(name, endorsements, floor, note)
    };
    Ok(vec![
        row(
            "appraise_gcp",
            &cold,
            &mut three,
            "floor: 3 P-256 verifications (two certificates below the root, quote) + 2 SHA-256 passes over a log of 50 \
             events; aim 1.3",
        ),
        row(
            "appraise_gcp_reattest",
            &warm,
            &mut one,
            "floor: 1 P-256 verification (quote) + 2 SHA-256 passes over the log; the path kept; aim 1.3",
        ),
    ])
}
