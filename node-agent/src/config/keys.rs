//! The list of keys: what the reader accepts, the flags offer, and docs/reference/agent-configuration.md explains.

use clap::Args;

/// One key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// With its table, such as `tpm.device`.
    pub path: &'static str,
    /// What holds where it is not written; `None` for a key without default.
    pub default: Option<&'static str>,
}

const fn key(path: &'static str, default: Option<&'static str>) -> Key {
    Key { path, default }
}

/// All keys. The environment variable of `tpm.device` is `HOLDFAST_AGENT_TPM_DEVICE`, its flag `--tpm-device`.
pub const KEYS: &[Key] = &[
    key("server", None),
    key("trust_domain", None),
    key("trust_bundle", None),
    key("insecure_bootstrap", Some("false")),
    key("data_dir", Some("/var/lib/holdfast/agent")),
    key("firmware_log", Some("/sys/kernel/security/tpm0/binary_bios_measurements")),
    key("measured_files", Some("/sys/kernel/security/ima/binary_runtime_measurements")),
    key("evidence", Some("auto")),
    key("workload_x509_svid_key_type", Some("ec-p256")),
    key("metrics_listen", None),
    key("tpm.device", Some("/dev/tpmrm0")),
    key("tpm.swtpm", None),
    key("tpm.ak_handle", Some("0x81484600")),
    key("tpm.node_key_handle", Some("0x81484601")),
    key("tpm.owner_auth_file", None),
    key("tpm.endorsement_auth_file", None),
    key("tpm.platform_certificate", Some("auto")),
    key("tpm.platform_certificate_index", Some("0x01c08000")),
    key("tpm.iak", Some("auto")),
    key("tpm.iak_handle", Some("0x81020001")),
    key("tpm.iak_certificate_index", Some("0x01c90100")),
    key("tpm.idevid", Some("auto")),
    key("tpm.idevid_handle", Some("0x81020000")),
    key("tpm.idevid_certificate_index", Some("0x01c90200")),
    key("tsm.path", Some("/sys/kernel/config/tsm/report")),
    key("snp.device", Some("/dev/sev-guest")),
    key("tdx.event_log", Some("/sys/firmware/acpi/tables/data/CCEL")),
    key("nitro.device", Some("/dev/nsm")),
    key("nitrotpm.program", None),
    key("azure.imds", Some("http://169.254.169.254")),
    key("workload_api.socket", Some("/run/holdfast/agent/api.sock")),
    key("sds.default_svid_name", Some("default")),
    key("sds.default_bundle_name", Some("ROOTCA")),
    key("sds.default_all_bundles_name", Some("ALL")),
    key("sds.disable_spiffe_cert_validation", Some("false")),
    key("log.level", Some("info")),
    key("log.format", Some("text")),
];

/// Flags and environment variables that go before the file.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// The server, as host:port, vsock:CID:PORT or unix:/path
    #[arg(long, env = "HOLDFAST_AGENT_SERVER", value_name = "ADDRESS")]
    pub server: Option<String>,
    /// The trust domain that the server must speak for
    #[arg(long, env = "HOLDFAST_AGENT_TRUST_DOMAIN", value_name = "NAME")]
    pub trust_domain: Option<String>,
    /// PEM file of the trust domain's authorities
    #[arg(long, env = "HOLDFAST_AGENT_TRUST_BUNDLE", value_name = "FILE")]
    pub trust_bundle: Option<String>,
    /// Believe what the first connection shows, and pin it
    #[arg(long, env = "HOLDFAST_AGENT_INSECURE_BOOTSTRAP", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub insecure_bootstrap: Option<String>,
    /// The state directory
    #[arg(long, env = "HOLDFAST_AGENT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The firmware's event log
    #[arg(long, env = "HOLDFAST_AGENT_FIRMWARE_LOG", value_name = "FILE")]
    pub firmware_log: Option<String>,
    /// The kernel's list of measured files
    #[arg(long, env = "HOLDFAST_AGENT_MEASURED_FILES", value_name = "FILE")]
    pub measured_files: Option<String>,
    /// Kinds of evidence, such as snp,tpm; or auto
    #[arg(long, env = "HOLDFAST_AGENT_EVIDENCE", value_name = "KINDS")]
    pub evidence: Option<String>,
    /// What keys workloads get: ec-p256, ec-p384 or rsa-2048
    #[arg(long, env = "HOLDFAST_AGENT_WORKLOAD_X509_SVID_KEY_TYPE", value_name = "TYPE")]
    pub workload_x509_svid_key_type: Option<String>,
    /// Where Prometheus reads metrics
    #[arg(long, env = "HOLDFAST_AGENT_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<String>,
    /// The TPM's character device
    #[arg(long, env = "HOLDFAST_AGENT_TPM_DEVICE", value_name = "FILE")]
    pub tpm_device: Option<String>,
    /// A software TPM, as host=HOST,port=PORT
    #[arg(long, env = "HOLDFAST_AGENT_TPM_SWTPM", value_name = "host=HOST,port=PORT")]
    pub tpm_swtpm: Option<String>,
    /// Persistent handle of the attestation key
    #[arg(long, env = "HOLDFAST_AGENT_TPM_AK_HANDLE", value_name = "HANDLE")]
    pub tpm_ak_handle: Option<String>,
    /// Persistent handle of the node key
    #[arg(long, env = "HOLDFAST_AGENT_TPM_NODE_KEY_HANDLE", value_name = "HANDLE")]
    pub tpm_node_key_handle: Option<String>,
    /// File with the owner hierarchy's authorisation value
    #[arg(long, env = "HOLDFAST_AGENT_TPM_OWNER_AUTH_FILE", value_name = "FILE")]
    pub tpm_owner_auth_file: Option<String>,
    /// File with the endorsement hierarchy's authorisation value
    #[arg(long, env = "HOLDFAST_AGENT_TPM_ENDORSEMENT_AUTH_FILE", value_name = "FILE")]
    pub tpm_endorsement_auth_file: Option<String>,
    /// Whether the platform certificate is offered: auto (where it is there), on or off
    #[arg(long, env = "HOLDFAST_AGENT_TPM_PLATFORM_CERTIFICATE", value_name = "auto|on|off")]
    pub tpm_platform_certificate: Option<String>,
    /// NV index of the platform certificate
    #[arg(long, env = "HOLDFAST_AGENT_TPM_PLATFORM_CERTIFICATE_INDEX", value_name = "INDEX")]
    pub tpm_platform_certificate_index: Option<String>,
    /// Whether the initial attestation key (IAK) is offered: auto, on or off
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IAK", value_name = "auto|on|off")]
    pub tpm_iak: Option<String>,
    /// Persistent handle of the IAK
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IAK_HANDLE", value_name = "HANDLE")]
    pub tpm_iak_handle: Option<String>,
    /// NV index of the IAK's certificate
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IAK_CERTIFICATE_INDEX", value_name = "INDEX")]
    pub tpm_iak_certificate_index: Option<String>,
    /// Whether the initial device identity (IDevID) is offered: auto, on or off
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IDEVID", value_name = "auto|on|off")]
    pub tpm_idevid: Option<String>,
    /// Persistent handle of the IDevID
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IDEVID_HANDLE", value_name = "HANDLE")]
    pub tpm_idevid_handle: Option<String>,
    /// NV index of the IDevID's certificate
    #[arg(long, env = "HOLDFAST_AGENT_TPM_IDEVID_CERTIFICATE_INDEX", value_name = "INDEX")]
    pub tpm_idevid_certificate_index: Option<String>,
    /// The kernel's reports for SNP and TDX
    #[arg(long, env = "HOLDFAST_AGENT_TSM_PATH", value_name = "DIR")]
    pub tsm_path: Option<String>,
    /// SNP's character device, where the kernel has no such reports
    #[arg(long, env = "HOLDFAST_AGENT_SNP_DEVICE", value_name = "FILE")]
    pub snp_device: Option<String>,
    /// TDX's event log
    #[arg(long, env = "HOLDFAST_AGENT_TDX_EVENT_LOG", value_name = "FILE")]
    pub tdx_event_log: Option<String>,
    /// The Nitro Secure Module of an enclave
    #[arg(long, env = "HOLDFAST_AGENT_NITRO_DEVICE", value_name = "FILE")]
    pub nitro_device: Option<String>,
    /// AWS's nitro-tpm-attest, to be run in place of NitroTPM's command
    #[arg(long, env = "HOLDFAST_AGENT_NITROTPM_PROGRAM", value_name = "FILE")]
    pub nitrotpm_program: Option<String>,
    /// Azure's metadata service
    #[arg(long, env = "HOLDFAST_AGENT_AZURE_IMDS", value_name = "URL")]
    pub azure_imds: Option<String>,
    /// The Unix socket of the Workload API
    #[arg(long, env = "HOLDFAST_AGENT_WORKLOAD_API_SOCKET", value_name = "FILE")]
    pub workload_api_socket: Option<String>,
    /// Envoy's name for a workload's default X.509-SVID
    #[arg(long, env = "HOLDFAST_AGENT_SDS_DEFAULT_SVID_NAME", value_name = "NAME")]
    pub sds_default_svid_name: Option<String>,
    /// Envoy's name for the bundle of its trust domain
    #[arg(long, env = "HOLDFAST_AGENT_SDS_DEFAULT_BUNDLE_NAME", value_name = "NAME")]
    pub sds_default_bundle_name: Option<String>,
    /// Envoy's name for all bundles together
    #[arg(long, env = "HOLDFAST_AGENT_SDS_DEFAULT_ALL_BUNDLES_NAME", value_name = "NAME")]
    pub sds_default_all_bundles_name: Option<String>,
    /// Plain validation contexts for Envoy in place of its SPIFFE validator
    #[arg(long, env = "HOLDFAST_AGENT_SDS_DISABLE_SPIFFE_CERT_VALIDATION", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub sds_disable_spiffe_cert_validation: Option<String>,
    /// What is logged: error, warn, info, debug, trace, or a filter by module
    #[arg(long, env = "HOLDFAST_AGENT_LOG_LEVEL", value_name = "FILTER")]
    pub log_level: Option<String>,
    /// How it is logged: text or json
    #[arg(long, env = "HOLDFAST_AGENT_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Overrides {
    /// The value for a key, where there is one.
    pub(super) fn get(&self, path: &str) -> Option<&str> {
        let value = match path {
            "server" => &self.server,
            "trust_domain" => &self.trust_domain,
            "trust_bundle" => &self.trust_bundle,
            "insecure_bootstrap" => &self.insecure_bootstrap,
            "data_dir" => &self.data_dir,
            "firmware_log" => &self.firmware_log,
            "measured_files" => &self.measured_files,
            "evidence" => &self.evidence,
            "workload_x509_svid_key_type" => &self.workload_x509_svid_key_type,
            "metrics_listen" => &self.metrics_listen,
            "tpm.device" => &self.tpm_device,
            "tpm.swtpm" => &self.tpm_swtpm,
            "tpm.ak_handle" => &self.tpm_ak_handle,
            "tpm.node_key_handle" => &self.tpm_node_key_handle,
            "tpm.owner_auth_file" => &self.tpm_owner_auth_file,
            "tpm.endorsement_auth_file" => &self.tpm_endorsement_auth_file,
            "tpm.platform_certificate" => &self.tpm_platform_certificate,
            "tpm.platform_certificate_index" => &self.tpm_platform_certificate_index,
            "tpm.iak" => &self.tpm_iak,
            "tpm.iak_handle" => &self.tpm_iak_handle,
            "tpm.iak_certificate_index" => &self.tpm_iak_certificate_index,
            "tpm.idevid" => &self.tpm_idevid,
            "tpm.idevid_handle" => &self.tpm_idevid_handle,
            "tpm.idevid_certificate_index" => &self.tpm_idevid_certificate_index,
            "tsm.path" => &self.tsm_path,
            "snp.device" => &self.snp_device,
            "tdx.event_log" => &self.tdx_event_log,
            "nitro.device" => &self.nitro_device,
            "nitrotpm.program" => &self.nitrotpm_program,
            "azure.imds" => &self.azure_imds,
            "workload_api.socket" => &self.workload_api_socket,
            "sds.default_svid_name" => &self.sds_default_svid_name,
            "sds.default_bundle_name" => &self.sds_default_bundle_name,
            "sds.default_all_bundles_name" => &self.sds_default_all_bundles_name,
            "sds.disable_spiffe_cert_validation" => &self.sds_disable_spiffe_cert_validation,
            "log.level" => &self.log_level,
            "log.format" => &self.log_format,
            _ => &None,
        };
        value.as_deref()
    }
}
