//! An operator's policy over facts: it demands what the honest guest is, and owns what the honest guest runs on.

use holdfast_appraisal::decision::{Appraiser, Approval, InventoryAnswer, Listing, MachineRecord, Ownership, Verdict};
use holdfast_appraisal::facts::{Facts, Ownable, owner_marks};
use holdfast_appraisal::{Document, Policy};

use crate::stage::now;

/// The node that `facts` earn by a policy of these demands, where the operator owns what `honest` runs on; why none, else.
fn judged(kind: &str, name: &str, demands: &str, honest: &Facts, facts: &Facts) -> Result<String, String> {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"guests\"\n\
         [issue]\nnode_id = \"/holdfast/node/{kind}/{{{name}}}\"\n\
         [[rule]]\nname = \"guests\"\nevidence = [\"{kind}\"]\nownership = \"inventory\"\n\
         trust_classes = [\"simulated\"]\n[rule.require]\n{demands}\n"
    );
    let policy = Policy::parse(Document { name: "p.toml", text: &text }, &[]);
    let policy = policy.unwrap_or_else(|findings| panic!("{findings:#?}"));
    let ours = owner_marks(honest).filter(|mark| mark.ownable == Ownable::Inventory);
    let inventory = ours.map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed }).collect();
    let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
    match Appraiser::new("example.org".parse().unwrap()).judge(&policy, facts, &ownership, now()) {
        Verdict::Admit(grant) => Ok(grant.spiffe_id.to_string()),
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => Err(format!("{rejection:?}")),
    }
}

/// Asserts that the honest guest is admitted, and that what an attack made of it is not.
#[track_caller]
pub(crate) fn assert_refused(kind: &str, name: &str, demands: &str, honest: &Facts, attacked: &Facts) {
    judged(kind, name, demands, honest, honest).unwrap();
    assert!(judged(kind, name, demands, honest, attacked).is_err(), "admitted");
}

/// Asserts that what an attack made of the honest guest is the node that it was.
#[track_caller]
pub(crate) fn assert_same_node(kind: &str, name: &str, demands: &str, honest: &Facts, attacked: &Facts) {
    let before = judged(kind, name, demands, honest, honest).unwrap();
    assert_eq!(judged(kind, name, demands, honest, attacked), Ok(before));
}
