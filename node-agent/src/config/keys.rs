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
    key("attestor.kinds", Some("unix")),
    key("attestor.look_again", Some("30s")),
    key("attestor.systemd.bus", Some("/run/dbus/system_bus_socket")),
    key("attestor.docker.socket", Some("/var/run/docker.sock")),
    key("attestor.docker.cgroup_root", Some("/")),
    key("attestor.podman.socket", Some("/run/podman/podman.sock")),
    key("attestor.podman.cgroup_root", Some("/")),
    key("attestor.containerd.socket", Some("/run/containerd/containerd.sock")),
    key("attestor.containerd.namespaces", Some("default")),
    key("attestor.containerd.cgroup_root", Some("/")),
    key("attestor.k8s.kubelet", Some("https://127.0.0.1:10250")),
    key("attestor.k8s.node_name", None),
    key("attestor.k8s.ca", Some("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")),
    key("attestor.k8s.token", Some("/var/run/secrets/kubernetes.io/serviceaccount/token")),
    key("attestor.k8s.certificate", None),
    key("attestor.k8s.private_key", None),
    key("attestor.k8s.max_poll_attempts", Some("15")),
    key("attestor.k8s.poll_retry_interval", Some("500ms")),
    key("attestor.k8s.cgroup_root", Some("/")),
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
    /// How callers are looked at: unix, and any of systemd, docker, podman, containerd, k8s
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_KINDS", value_name = "KINDS")]
    pub attestor_kinds: Option<String>,
    /// How often the caller of an open stream is looked at when nothing else changes
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_LOOK_AGAIN", value_name = "DURATION")]
    pub attestor_look_again: Option<String>,
    /// The system bus, where systemd is asked
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_SYSTEMD_BUS", value_name = "FILE")]
    pub attestor_systemd_bus: Option<String>,
    /// Docker's socket
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_DOCKER_SOCKET", value_name = "FILE")]
    pub attestor_docker_socket: Option<String>,
    /// Docker's containers are below this control group
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_DOCKER_CGROUP_ROOT", value_name = "GROUP")]
    pub attestor_docker_cgroup_root: Option<String>,
    /// Podman's socket
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_PODMAN_SOCKET", value_name = "FILE")]
    pub attestor_podman_socket: Option<String>,
    /// Podman's containers are below this control group
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_PODMAN_CGROUP_ROOT", value_name = "GROUP")]
    pub attestor_podman_cgroup_root: Option<String>,
    /// containerd's socket
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_CONTAINERD_SOCKET", value_name = "FILE")]
    pub attestor_containerd_socket: Option<String>,
    /// The namespaces of containerd whose containers are known
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_CONTAINERD_NAMESPACES", value_name = "NAMESPACES")]
    pub attestor_containerd_namespaces: Option<String>,
    /// containerd's containers are below this control group
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_CONTAINERD_CGROUP_ROOT", value_name = "GROUP")]
    pub attestor_containerd_cgroup_root: Option<String>,
    /// The kubelet, as https://HOST:PORT, http://HOST:PORT or unix:/PATH
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_KUBELET", value_name = "URL")]
    pub attestor_k8s_kubelet: Option<String>,
    /// This node, as Kubernetes calls it
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_NODE_NAME", value_name = "NAME")]
    pub attestor_k8s_node_name: Option<String>,
    /// PEM file of those who may vouch for the kubelet
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_CA", value_name = "FILE")]
    pub attestor_k8s_ca: Option<String>,
    /// File with the token that the kubelet is shown
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_TOKEN", value_name = "FILE")]
    pub attestor_k8s_token: Option<String>,
    /// Certificate that the kubelet is shown in place of a token
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_CERTIFICATE", value_name = "FILE")]
    pub attestor_k8s_certificate: Option<String>,
    /// The key of that certificate
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_PRIVATE_KEY", value_name = "FILE")]
    pub attestor_k8s_private_key: Option<String>,
    /// How often the kubelet is asked for a container
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_MAX_POLL_ATTEMPTS", value_name = "NUMBER")]
    pub attestor_k8s_max_poll_attempts: Option<String>,
    /// How long in between
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_POLL_RETRY_INTERVAL", value_name = "DURATION")]
    pub attestor_k8s_poll_retry_interval: Option<String>,
    /// Pods are below this control group
    #[arg(long, env = "HOLDFAST_AGENT_ATTESTOR_K8S_CGROUP_ROOT", value_name = "GROUP")]
    pub attestor_k8s_cgroup_root: Option<String>,
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
            "attestor.kinds" => &self.attestor_kinds,
            "attestor.look_again" => &self.attestor_look_again,
            "attestor.systemd.bus" => &self.attestor_systemd_bus,
            "attestor.docker.socket" => &self.attestor_docker_socket,
            "attestor.docker.cgroup_root" => &self.attestor_docker_cgroup_root,
            "attestor.podman.socket" => &self.attestor_podman_socket,
            "attestor.podman.cgroup_root" => &self.attestor_podman_cgroup_root,
            "attestor.containerd.socket" => &self.attestor_containerd_socket,
            "attestor.containerd.namespaces" => &self.attestor_containerd_namespaces,
            "attestor.containerd.cgroup_root" => &self.attestor_containerd_cgroup_root,
            "attestor.k8s.kubelet" => &self.attestor_k8s_kubelet,
            "attestor.k8s.node_name" => &self.attestor_k8s_node_name,
            "attestor.k8s.ca" => &self.attestor_k8s_ca,
            "attestor.k8s.token" => &self.attestor_k8s_token,
            "attestor.k8s.certificate" => &self.attestor_k8s_certificate,
            "attestor.k8s.private_key" => &self.attestor_k8s_private_key,
            "attestor.k8s.max_poll_attempts" => &self.attestor_k8s_max_poll_attempts,
            "attestor.k8s.poll_retry_interval" => &self.attestor_k8s_poll_retry_interval,
            "attestor.k8s.cgroup_root" => &self.attestor_k8s_cgroup_root,
            "log.level" => &self.log_level,
            "log.format" => &self.log_format,
            _ => &None,
        };
        value.as_deref()
    }
}
