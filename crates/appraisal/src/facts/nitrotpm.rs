//! Facts of machines with a NitroTPM. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of machines with a NitroTPM.
    NitroTpmFact, FactId::NitroTpm;
    Class "nitrotpm.class" Text One Hardware No, Some("nitrotpm:class"),
        "trust class of the root above the evidence of machines with a NitroTPM";
}
