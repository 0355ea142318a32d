//! What a verdict on an SEV-SNP guest costs, above the signatures that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_evidence::crypto::{PublicKey, verify_pss_sha384};
use holdfast_evidence::snp::{Product, SnpEndorsements, SnpEvidence, VekKind, checks};

use crate::report::Row;
use crate::stage::Stage;

#[path = "../../../crates/evidence/tests/snp/guest.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub mod guest;
#[path = "../../../crates/evidence/tests/snp/pki.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod pki;

use guest::Guest;
use pki::{RSA_BITS, Rsa};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/snp/{snp.report_id}"
selectors = ["snp.product", "snp.measurement"]
[[rule]]
name = "guests"
evidence = ["snp"]
ownership = "launch"
trust_classes = ["firmware"]
[rule.require]
snp.platform.alias_check_complete = true
snp.tcb.reported.snp = { at_least = 24 }
snp.tcb.committed.snp = { at_least = 24 }
snp.tcb.reported.microcode = { at_least = 219 }
snp.vmpl = 0
"#;

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    type Snp = SnpEvidence<'static>;
    keys_of_their_size()?;
    let guest = Guest::new(Product::Milan, VekKind::Vcek);
    let cold = guest.endorsements();
    let stage = Stage::new::<Snp>(POLICY, &cold, |asked| guest::item(&guest, &asked.binding))?;
    let (mut chain, one) = (chain()?, report(&guest)?);
    let mut rows = vec![stage.row::<Snp>(
        "appraise_snp",
        &cold,
        || {
            chain();
            one();
        },
        "floor: 1 P-384 verification (report) + 2 RSA-4096 PSS verifications (chain); aim 1.3",
    )];
    let kept = Arc::clone(stage.judge::<Snp>(&cold)?.claims().report.verified_vek());
    let warm = SnpEndorsements { verified: vec![kept], ..cold };
    let note = "floor: 1 P-384 verification; the chain was verified before; aim 1.3";
    rows.push(stage.row::<Snp>("appraise_snp_reattest", &warm, one, note));
    Ok(rows)
}

/// Makes the keys as large as AMD's.
pub fn keys_of_their_size() -> anyhow::Result<()> {
    anyhow::ensure!(*RSA_BITS.get_or_init(|| 4096) == 4096, "the keys are AMD's size");
    Ok(())
}

/// The signature of a report.
pub fn report(guest: &Guest) -> anyhow::Result<impl Fn() + use<>> {
    let verified = guest.verify()?;
    let (report, vek) = (verified.report().clone(), verified.vek().clone());
    Ok(move || checks::signature(black_box(&report), &vek).expect("valid"))
}

/// The two signatures of the chain.
pub fn chain() -> anyhow::Result<impl FnMut() + use<>> {
    let (ark, ask) = (PublicKey::from_spki(&Rsa::ark().spki())?, PublicKey::from_spki(&Rsa::ask().spki())?);
    let message = vec![7; 700];
    let (by_ark, by_ask) = (Rsa::ark().sign(&message, 48), Rsa::ask().sign(&message, 48));
    Ok(move || {
        verify_pss_sha384(black_box(&ark), &message, &by_ark).expect("valid");
        verify_pss_sha384(black_box(&ask), &message, &by_ask).expect("valid");
    })
}
