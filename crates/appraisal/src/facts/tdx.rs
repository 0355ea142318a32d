//! Facts of TDX trust domains. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of TDX trust domains.
    TdxFact, FactId::Tdx;
    Class "tdx.class" Text One Hardware No, Some("tdx:class"),
        "trust class of the root above the evidence of TDX trust domains";
}
