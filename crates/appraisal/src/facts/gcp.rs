//! Facts of Google Cloud virtual machines. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of Google Cloud virtual machines.
    GcpFact, FactId::Gcp;
    Class "gcp.class" Text One Hardware No, Some("gcp:class"),
        "trust class of the root above the evidence of Google Cloud virtual machines";
}
