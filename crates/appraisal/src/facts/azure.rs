//! Facts of Azure virtual machines. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of Azure virtual machines.
    AzureFact, FactId::Azure;
    Class "azure.class" Text One Hardware No, Some("azure:class"),
        "trust class of the root above the evidence of Azure virtual machines";
}
