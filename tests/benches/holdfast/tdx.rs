//! What a verdict on a TDX guest costs, above the signatures that nobody can leave out; and what `dcap-qvl` alone costs.

use std::hint::black_box;
use std::sync::Arc;

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use holdfast_evidence::tdx::{KnownCollateral, TdxEndorsements, TdxEvidence, TdxItem};

use crate::floor::p256;
use crate::report::{Row, paired};
use crate::stage::{NOW, Stage};

#[path = "../../../crates/evidence/tests/tdx/intel.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub mod intel;
#[path = "../../../crates/evidence/tests/tdx/td.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub mod td;

use td::{Td, at};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/tdx/{tdx.instance}"
selectors = ["tdx.tcb.status", "tdx.mrtd"]
[[rule]]
name = "guests"
evidence = ["tdx"]
ownership = "launch"
trust_classes = ["firmware"]
[rule.require]
tdx.tcb.status = { one_of = ["UpToDate", "SWHardeningNeeded"] }
tdx.tcb.advisories = { none_of = ["INTEL-SA-00837"] }
tdx.tcb.evaluation_number = { at_least = 17 }
tdx.service_td = false
"#;
/// Bytes of a quote's header and body.
const SIGNED: usize = 700;

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    type Tdx = TdxEvidence<'static>;
    let mut td = Td::v4();
    let cold = td.endorsements();
    let stage = Stage::new::<Tdx>(POLICY, &cold, |asked| {
        td.put(at::REPORTDATA, &[0; 64]);
        td.put(at::REPORTDATA, &asked.binding);
        TdxItem { quote: &td.quote(), ccel: None }.encode()
    })?;
    let nine =
        "floor: 9 P-256 verifications: quote, QE report, 2 certificates; 2 documents, their signer, 2 CRLs; aim 1.5";
    let mut rows = vec![stage.row::<Tdx>("appraise_tdx", &cold, p256(9, SIGNED), nine)];

    let KnownCollateral::Fetched(fetched) = &cold.collateral else { anyhow::bail!("no collateral") };
    let checked = Arc::new(fetched.check(&cold.roots, NOW)?);
    let warm = TdxEndorsements { collateral: KnownCollateral::Checked(checked), ..cold.clone() };
    let three = "floor: 3 P-256 verifications: quote, QE report, PCK; a fourth is paid, its CA's; collateral was checked before";
    rows.push(stage.row::<Tdx>("appraise_tdx_reattest", &warm, p256(3, SIGNED), three));

    let (quote, root) = (td.quote(), cold.roots.anchors().first().map(|root| root.der().to_vec()).unwrap_or_default());
    let documents: QuoteCollateralV3 = serde_json::from_slice(&fetched.encode())?;
    let seconds = u64::try_from(NOW.seconds())?;
    let policy = QuotePolicy::claims_only(seconds);
    let alone = || {
        let verifier = QuoteVerifier::new(root.clone());
        let verified = verifier.verify_with_policy(black_box(&quote), documents.clone(), seconds, &policy);
        drop(black_box(verified.expect("verified")));
    };
    let (value, floor) = paired(alone, p256(9, SIGNED));
    rows.push(Row::new("dcap_qvl_alone", value, "us").floor(floor).note(
        "the crate dcap-qvl for the same quote and collateral, which it verifies anew every time: no binding, no policy; \
         floor: 9 P-256 verifications",
    ));
    Ok(rows)
}
