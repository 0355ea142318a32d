//! Facts of SEV-SNP guests. Verifies nothing.

use super::FactId;
use super::registry::kind_facts;

kind_facts! {
    /// A fact of SEV-SNP guests.
    SnpFact, FactId::Snp;
    Class "snp.class" Text One Hardware No, Some("snp:class"),
        "trust class of the root above the evidence of SEV-SNP guests";
}
