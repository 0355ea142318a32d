//! Boot profiles: what a machine's firmware, Secure Boot variables, loaders and kernel are, as TOML. A profile says
//! what is booted; [`crate::boot`] says how a machine measures it.

mod load;

pub use load::BUILT_IN;

use serde::Deserialize;

use crate::digest::Bank;

/// A complete boot profile. The same profile gives the same log on every machine, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the profile is called in outputs.
    pub name: String,
    /// What it stands for, for people.
    #[serde(default)]
    pub description: String,
    /// The firmware.
    pub firmware: Firmware,
    /// Secure Boot and its variables.
    pub secure_boot: SecureBoot,
    /// What is booted.
    pub boot: Boot,
    /// What the kernel measures once it runs; without it there is no list, and PCR 10 stays zero.
    pub measured_files: Option<MeasuredFiles>,
}

/// Files that are started after the boot, measured into PCR 10 and into the list beside the firmware log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFiles {
    /// The key that signs them, made from this name; without it nothing is signed.
    pub signer: Option<String>,
    /// In the order in which they are started.
    pub files: Vec<StartedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedFile {
    /// Where it lies.
    pub path: String,
    /// What is in it.
    pub image: Image,
    /// Whether it lacks the signature that the others have.
    #[serde(default)]
    pub unsigned: bool,
}

/// The platform's firmware.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firmware {
    /// EV_S_CRTM_VERSION.
    pub version: String,
    /// Locality of TPM2_Startup, 0 or 3; 3 writes a StartupLocality event.
    #[serde(default)]
    pub locality: u8,
    /// Volumes, measured as EV_EFI_PLATFORM_FIRMWARE_BLOB into PCR 0.
    #[serde(default)]
    pub blobs: Vec<Blob>,
    /// The banks that this firmware extends and logs; the TPM always has all three.
    #[serde(default = "all_banks")]
    pub banks: Vec<Bank>,
}

/// One firmware volume.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Physical address.
    pub base: u64,
    /// What it holds.
    pub image: Image,
}

/// Secure Boot variables; each is a list of signatures.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {
    /// Whether images are verified. When off, no authority is measured.
    pub enabled: bool,
    /// The platform key.
    #[serde(default)]
    pub pk: Vec<Entry>,
    /// Key exchange keys.
    #[serde(default)]
    pub kek: Vec<Entry>,
    /// Allowed signers and images.
    #[serde(default)]
    pub db: Vec<Entry>,
    /// Forbidden signers and images.
    #[serde(default)]
    pub dbx: Vec<Entry>,
}

/// An entry of a signature database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Entry {
    /// A certificate that the simulator makes from this common name, always the same.
    Certificate(String),
    /// A certificate's DER, read from a PEM or DER file.
    CertificateFile(FileBytes),
    /// The SHA-256 of an image, hexadecimal.
    Sha256(String),
}

/// Something that is loaded and measured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Image {
    /// Stands for an image of these contents.
    Text(String),
    /// A file's contents; a PE file is measured by its Authenticode digest, as firmware does.
    File {
        /// Relative to the profile.
        file: FileBytes,
    },
}

/// A file named in a profile; its contents once the profile is loaded.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct FileBytes {
    /// As written in the profile.
    pub path: String,
    /// What was read.
    pub bytes: Vec<u8>,
}

/// What is booted: shim, loader and kernel, or a unified kernel image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    /// First stage that carries the distribution's own certificate.
    pub shim: Option<Shim>,
    /// GRUB.
    pub grub: Option<Grub>,
    /// A kernel with its initrd and command line. Without GRUB the firmware boots it directly.
    pub kernel: Option<Kernel>,
    /// A unified kernel image, started by its systemd-stub.
    pub uki: Option<Uki>,
}

/// shim.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shim {
    /// Its image.
    pub image: Image,
    /// The certificate in `db` that verifies it.
    pub signer: String,
    /// Where it lies on the EFI system partition.
    #[serde(default = "shim_path")]
    pub path: String,
    /// The certificate inside, which verifies GRUB and the kernel.
    pub vendor_certificate: String,
    /// SbatLevel.
    #[serde(default = "sbat_level")]
    pub sbat_level: String,
}

/// GRUB.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grub {
    /// Its image.
    pub image: Image,
    /// The certificate in `db` that verifies it, where there is no shim.
    pub signer: Option<String>,
    /// Where it lies on the EFI system partition.
    #[serde(default = "grub_path")]
    pub path: String,
    /// The lines of its configuration before the kernel is loaded, each measured as `grub_cmd:`.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// A kernel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Its image.
    pub image: Image,
    /// The certificate in `db` that verifies it, where firmware boots it directly.
    pub signer: Option<String>,
    /// Where it lies.
    #[serde(default = "kernel_path")]
    pub path: String,
    /// Its command line, without the path.
    pub cmdline: String,
    /// Its initrd.
    pub initrd: Option<Image>,
    /// Where the initrd lies.
    #[serde(default = "initrd_path")]
    pub initrd_path: String,
}

/// A unified kernel image. Its own digest covers all its sections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uki {
    /// The certificate in `db` that verifies it.
    pub signer: String,
    /// Where it lies on the EFI system partition.
    #[serde(default = "uki_path")]
    pub path: String,
    /// The kernel inside (`.linux`).
    pub linux: Image,
    /// `.osrel`.
    pub os_release: String,
    /// `.cmdline`.
    pub cmdline: String,
    /// `.initrd`.
    pub initrd: Image,
    /// `.uname`.
    #[serde(default)]
    pub uname: Option<String>,
    /// `.sbat`.
    #[serde(default)]
    pub sbat: Option<String>,
    /// A command line given at boot, measured into PCR 12; the stub takes it only without Secure Boot.
    #[serde(default)]
    pub options: Option<String>,
}

fn all_banks() -> Vec<Bank> {
    Bank::ALL.to_vec()
}

fn shim_path() -> String {
    r"\EFI\debian\shimx64.efi".to_owned()
}

fn grub_path() -> String {
    r"\EFI\debian\grubx64.efi".to_owned()
}

fn kernel_path() -> String {
    "/boot/vmlinuz".to_owned()
}

fn initrd_path() -> String {
    "/boot/initrd.img".to_owned()
}

fn uki_path() -> String {
    r"\EFI\Linux\linux.efi".to_owned()
}

fn sbat_level() -> String {
    "sbat,1,2025021800\nshim,4\ngrub,5\n".to_owned()
}

impl From<String> for FileBytes {
    fn from(path: String) -> Self {
        Self { path, bytes: Vec::new() }
    }
}

impl std::fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.bytes.len())
    }
}
