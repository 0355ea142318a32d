//! Which facts make a policy, and what becomes of their values over several samples. What is not listed here is not
//! learned, for the reasons that [`LEFT_OUT`] says.

/// How a fact's values become a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// One value: that one, or one of those that were seen.
    Exact,
    /// A `true` that was seen everywhere must stay; anything else is left out.
    KeptTrue,
    /// A number or version: not below the lowest that was seen.
    Floor,
    /// Bits: those that were set everywhere.
    Bits,
    /// A set: nothing that was not seen.
    Subset,
    /// A set: at least what was seen everywhere.
    Common,
    /// Part of what was booted: see `chain`.
    Chain,
}

/// The facts, in the order in which policies name them.
pub(super) const RECIPE: &[(&str, How)] = &[
    ("tpm.secure_boot.enabled", How::Exact),
    ("tpm.secure_boot.pk", How::Subset),
    ("tpm.secure_boot.kek", How::Subset),
    ("tpm.secure_boot.db", How::Subset),
    ("tpm.secure_boot.dbx", How::Common),
    ("tpm.secure_boot.authorities", How::Subset),
    ("tpm.secure_boot.dma_protection_disabled", How::Exact),
    ("tpm.boot.firmware_versions", How::Subset),
    ("snp.product", How::Exact),
    ("snp.signing_key", How::Exact),
    ("snp.vmpl", How::Exact),
    ("snp.id_key_digest", How::Exact),
    ("snp.author_key_digest", How::Exact),
    ("snp.measurement", How::Exact),
    ("snp.policy.migration_agent", How::Exact),
    ("snp.policy.single_socket", How::KeptTrue),
    ("snp.policy.ciphertext_hiding", How::KeptTrue),
    ("snp.platform.alias_check_complete", How::KeptTrue),
    ("snp.platform.ciphertext_hiding", How::KeptTrue),
    ("snp.firmware.provisional", How::Exact),
    ("snp.tcb.reported.fmc", How::Floor),
    ("snp.tcb.reported.bootloader", How::Floor),
    ("snp.tcb.reported.tee", How::Floor),
    ("snp.tcb.reported.snp", How::Floor),
    ("snp.tcb.reported.microcode", How::Floor),
    ("snp.tcb.committed.fmc", How::Floor),
    ("snp.tcb.committed.bootloader", How::Floor),
    ("snp.tcb.committed.tee", How::Floor),
    ("snp.tcb.committed.snp", How::Floor),
    ("snp.tcb.committed.microcode", How::Floor),
    ("snp.mitigations.current", How::Bits),
    ("snp.crl.checked", How::KeptTrue),
    ("tdx.mrtd", How::Exact),
    ("tdx.rtmr1", How::Exact),
    ("tdx.rtmr2", How::Exact),
    ("tdx.mrsignerseam", How::Exact),
    ("tdx.attributes.sept_ve_disable", How::Exact),
    ("tdx.service_td", How::Exact),
    ("tdx.tcb.status", How::Exact),
    ("tdx.tcb.qe_status", How::Exact),
    ("tdx.tee_tcb_svn.module_svn", How::Floor),
    ("nitro.image", How::Exact),
    ("nitro.kernel", How::Exact),
    ("nitro.application", How::Exact),
    ("nitro.signer", How::Exact),
    ("nitrotpm.pcr.4", How::Exact),
    ("nitrotpm.pcr.7", How::Exact),
    ("nitrotpm.pcr.11", How::Exact),
    ("nitrotpm.pcr.12", How::Exact),
    ("azure.hardware", How::Exact),
    ("azure.secure_boot", How::Exact),
    ("azure.console_enabled", How::Exact),
    ("azure.filtered_vpci_devices_allowed", How::Exact),
    ("gcp.production", How::Exact),
    ("gcp.security_version", How::Floor),
    ("tpm.boot.applications", How::Chain),
    ("tpm.boot.uki_sections", How::Chain),
    ("tpm.boot.loaded_files", How::Chain),
    ("tpm.boot.command_lines", How::Chain),
];

/// Facts, or beginnings of their names, that are not learned, and why. Whether the fact is there is looked up: reasons for
/// what no sample has are not written.
pub(super) const LEFT_OUT: &[(&str, &str)] = &[
    ("tpm.ek.", "names one machine: that is the inventory's business, never a condition"),
    ("tpm.machine", "names one machine: it becomes the node ID"),
    ("tpm.manufacturer", "a property of the hardware; add it where only one vendor's TPMs are yours"),
    ("tpm.firmware_version", "another for each vendor; put versions that were withdrawn on a deny list"),
    ("tpm.secure_boot.sbat_level", "stands among the authorities already, by its digest"),
    (
        "tpm.boot.loader_texts",
        "the boot loader's script is among loaded_files, its command lines are conditions already",
    ),
    ("tpm.events.0", "PCR 0 to 3 hold the firmware and its settings, which differ by model and release"),
    ("tpm.events.5", "PCR 5 holds the partition table, which differs by disk"),
    ("snp.report_id", "names one launch: it becomes the node ID"),
    ("snp.chip_id", "names one chip: that is the inventory's business"),
    ("snp.host_data", "what whoever launched the guest wrote; pin it if your launches have a constant one"),
    ("snp.report_data", "answers one challenge"),
    ("snp.guest_svn", "anybody's word unless the ID key is pinned"),
    ("tdx.instance", "names one launch: it becomes the node ID"),
    ("tdx.rtmr0", "memory map, ACPI tables and boot variables, as the hypervisor makes them up for each size of guest"),
    ("tdx.rtmr3", "software of the guest extends it"),
    ("tdx.mrseam", "Intel's module changes with updates; tdx.tee_tcb_svn.module_svn has a floor instead"),
    ("tdx.mrconfigid", "what whoever launched the guest wrote; pin it if your launches have a constant one"),
    ("tdx.fmspc", "a processor's model"),
    ("tdx.piid", "names one platform: that is the inventory's business"),
    ("nitro.module_id", "names one enclave: it becomes the node ID"),
    ("nitro.instance_id", "names the parent instance: that is the inventory's business"),
    ("nitro.role", "the parent's role: that is the inventory's business"),
    ("nitrotpm.instance_id", "names one instance: it becomes the node ID"),
    ("azure.vm_unique_id", "names one machine: that is the inventory's business"),
    ("gcp.instance_id", "names one instance: it becomes the node ID"),
    ("gcp.project", "the project: that is the inventory's business"),
    ("gcp.instance_name", "chosen by the instance's owner, and free for another one later"),
];
