//! The list of keys: what the reader accepts and docs/reference/server-configuration.md explains.

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// With its table, such as `limits.connections`.
    pub path: &'static str,
    /// What holds where it is not written; `None` for a key without default.
    pub default: Option<&'static str>,
}

const fn key(path: &'static str, default: Option<&'static str>) -> Key {
    Key { path, default }
}

/// All keys.
pub const KEYS: &[Key] = &[
    key("trust_domain", None),
    key("data_dir", Some("/var/lib/holdfast/server")),
    key("listen", Some("0.0.0.0:8441")),
    key("admin_socket", Some("/run/holdfast/server/admin.sock")),
    key("admin_group", Some("holdfast-admin")),
    key("metrics_listen", None),
    key("allow_simulated", Some("false")),
    key("database", None),
    key("challenge_key", None),
    key("record.key", None),
    key("record.origin", None),
    key("record.checkpoint_interval", Some("60s")),
    key("record.checkpoint_entries", Some("10000")),
    key("record.listen", None),
    key("endorsements.directory", None),
    key("endorsements.amd_url", Some("https://kdsintf.amd.com")),
    key("endorsements.amd_interval", Some("10s")),
    key("endorsements.intel_url", Some("https://api.trustedservices.intel.com")),
    key("endorsements.intel_root_crl_url", None),
    key("endorsements.tdx_update", Some("standard")),
    key("endorsements.ca_file", Some("/etc/ssl/certs/ca-certificates.crt")),
    key("endorsements.timeout", Some("15s")),
    key("ear.key_file", None),
    key("crl.lifetime", Some("6h")),
    key("crl.listen", None),
    key("crl.url", None),
    key("crl.files", None),
    key("lifetimes.challenge", Some("60s")),
    key("lifetimes.node_svid", Some("2h")),
    key("lifetimes.x509_svid", Some("1h")),
    key("limits.connections", Some("20000")),
    key("limits.anonymous_connections", Some("4096")),
    key("limits.handshakes", Some("256")),
    key("limits.begin_per_second", Some("50")),
    key("limits.begin_burst", Some("2000")),
    key("limits.verifications", Some("64")),
    key("limits.entries", Some("1000000")),
    key("record.keep_evidence", Some("400d")),
    key("record.keep_renewals", Some("90d")),
    key("record.free_percent", Some("10")),
    key("record.reserve_mib", Some("64")),
    key("admin.roles.viewer", None),
    key("admin.roles.operator", None),
    key("admin.roles.policy-author", None),
    key("admin.roles.policy-approver", None),
    key("admin.roles.auditor", None),
    key("policy.two_person", Some("false")),
    key("policy.proposal_lifetime", Some("1d")),
    key("policy.max_refused_share", Some("5%")),
    key("policy.signing_keys", None),
    key("log.level", Some("info")),
    key("log.format", Some("text")),
];

/// Keys of the tables of sinks, each table once for every sink.
pub const SINK_KEYS: &[Key] = &[
    key("events.webhook[].name", None),
    key("events.webhook[].url", None),
    key("events.webhook[].secret_file", None),
    key("events.webhook[].ed25519_file", None),
    key("events.webhook[].ca_file", Some("/etc/ssl/certs/ca-certificates.crt")),
    key("events.webhook[].timeout", Some("20s")),
    key("events.webhook[].types", None),
    key("events.webhook[].batch", Some("1")),
    key("events.webhook[].from", Some("head")),
    key("events.webhook[].on_reject", Some("skip")),
    key("events.syslog[].name", None),
    key("events.syslog[].address", None),
    key("events.syslog[].ca_file", Some("/etc/ssl/certs/ca-certificates.crt")),
    key("events.syslog[].enterprise_number", Some("32473")),
    key("events.syslog[].timeout", Some("20s")),
    key("events.syslog[].types", None),
    key("events.syslog[].batch", Some("100")),
    key("events.syslog[].from", Some("head")),
    key("events.syslog[].on_reject", Some("skip")),
    key("events.file[].name", None),
    key("events.file[].path", None),
    key("events.file[].rotate_mib", Some("100")),
    key("events.file[].keep", Some("5")),
    key("events.file[].types", None),
    key("events.file[].batch", Some("100")),
    key("events.file[].from", Some("head")),
    key("events.file[].on_reject", Some("skip")),
];
