//! Facts of Nitro Enclaves. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of Nitro Enclaves.
    NitroFact, FactId::Nitro;
    Class "nitro.class" Text One Hardware No, Some("nitro:class"),
        "trust class of the root above the evidence of Nitro Enclaves";
}
