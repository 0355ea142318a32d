//! What secrets are called that have no name of their own, and which validator Envoy is told to use.

/// The names that stand for "my identity", "my trust domain" and "all trust domains": SPIRE's `sds` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The workload's default X.509-SVID.
    pub default_svid_name: String,
    /// The bundle of its trust domain.
    pub default_bundle_name: String,
    /// All bundles together; only with the SPIFFE validator, which keeps trust domains apart.
    pub default_all_bundles_name: String,
    /// Plain validation contexts in place of the SPIFFE validator, where Envoy's node metadata do not say otherwise.
    pub disable_spiffe_cert_validation: bool,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            default_svid_name: "default".to_owned(),
            default_bundle_name: "ROOTCA".to_owned(),
            default_all_bundles_name: "ALL".to_owned(),
            disable_spiffe_cert_validation: false,
        }
    }
}
