//! What a profile's images, sections and signature databases measure as; and which of them one boot meets.

use crate::authenticode;
use crate::digest::Digests;
use crate::error::SimError;
use crate::keys;
use crate::log::uefi::{self, Signature};
use crate::profile::{Entry, FileBytes, Image, Profile, Uki};

impl Image {
    /// What stands for the image's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::File { file } => &file.bytes,
        }
    }

    /// The digest of the file, as GRUB and the kernel's stub measure it.
    pub(crate) fn file_digests(&self) -> Digests {
        Digests::of(self.bytes())
    }

    /// The digest as an application: Authenticode for PE files, and for anything else a digest that is not the file's.
    pub(crate) fn application_digests(&self) -> Digests {
        authenticode::digests(self.bytes())
            .unwrap_or_else(|| Digests::of_parts(&[b"holdfast-tpm-sim application\0", self.bytes()]))
    }
}

impl Uki {
    /// The sections in systemd-stub's canonical order: name and contents.
    pub(crate) fn sections(&self) -> Vec<(&'static str, &[u8])> {
        let all = [
            (".linux", Some(self.linux.bytes())),
            (".osrel", Some(self.os_release.as_bytes())),
            (".cmdline", Some(self.cmdline.as_bytes())),
            (".initrd", Some(self.initrd.bytes())),
            (".uname", self.uname.as_ref().map(String::as_bytes)),
            (".sbat", self.sbat.as_ref().map(String::as_bytes)),
        ];
        all.into_iter().filter_map(|(name, contents)| contents.map(|contents| (name, contents))).collect()
    }

    /// Options from the boot menu, which the stub takes only without Secure Boot.
    pub(crate) fn given_options(&self, secure_boot: bool) -> Option<&str> {
        self.options.as_deref().filter(|_| !secure_boot)
    }

    /// The digest of the whole image as an application: of all sections, each with its name.
    pub(crate) fn application_digests(&self) -> Digests {
        let sections = self.sections();
        let lengths: Vec<[u8; 8]> =
            sections.iter().map(|(_, contents)| (contents.len() as u64).to_le_bytes()).collect();
        let mut parts: Vec<&[u8]> = vec![b"holdfast-tpm-sim uki\0"];
        for ((name, contents), length) in sections.iter().zip(&lengths) {
            parts.extend([name.as_bytes(), length.as_slice(), *contents]);
        }
        Digests::of_parts(&parts)
    }
}

impl FileBytes {
    /// The DER of a certificate file, PEM or DER.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        std::str::from_utf8(&self.bytes).ok().and_then(crate::der::from_pem).unwrap_or_else(|| self.bytes.clone())
    }
}

/// A signature database as the variable's contents.
pub(super) fn database(entries: &[Entry]) -> Result<Vec<u8>, SimError> {
    let signatures: Result<Vec<Signature>, SimError> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Certificate(name) => keys::certificate(name).map(Signature::X509),
            Entry::CertificateFile(file) => Ok(Signature::X509(file.certificate())),
            Entry::Sha256(text) => {
                let mut hash = [0; 32];
                let _ = hex::decode_to_slice(text, &mut hash); // checked when the profile was loaded
                Ok(Signature::Sha256(hash))
            }
        })
        .collect();
    signatures.map(|signatures| uefi::signature_lists(&signatures))
}

/// Something that verified an image, or that shim measured like it.
#[derive(Debug)]
pub(crate) struct Authority {
    /// The variable that holds it.
    pub(crate) variable: &'static str,
    /// What the variable's entry is; `None` for a variable that is no signature.
    pub(crate) signature: Option<Signature>,
    /// The contents measured.
    pub(crate) data: Vec<u8>,
    /// For people.
    pub(crate) note: String,
}

/// The authorities of a boot in order, each once.
pub(crate) fn authorities(profile: &Profile) -> Result<Vec<Authority>, SimError> {
    let boot = &profile.boot;
    let enabled = profile.secure_boot.enabled;
    let mut found = Vec::new();
    let first = [
        boot.shim.as_ref().map(|shim| &shim.signer),
        boot.grub.as_ref().filter(|_| boot.shim.is_none()).and_then(|grub| grub.signer.as_ref()),
        boot.kernel.as_ref().filter(|_| boot.grub.is_none()).and_then(|kernel| kernel.signer.as_ref()),
        boot.uki.as_ref().map(|uki| &uki.signer),
    ];
    for signer in first.into_iter().flatten().filter(|_| enabled) {
        found.push(certificate_authority("db", uefi::OWNER, signer)?);
    }
    if let Some(shim) = &boot.shim {
        found.push(Authority {
            variable: "SbatLevel",
            signature: None,
            data: shim.sbat_level.clone().into_bytes(),
            note: "SBAT level".to_owned(),
        });
        if enabled {
            found.push(certificate_authority("MokListRT", uefi::SHIM_LOCK, &shim.vendor_certificate)?);
        }
    }
    Ok(found)
}

fn certificate_authority(variable: &'static str, owner: uefi::Guid, name: &str) -> Result<Authority, SimError> {
    let certificate = keys::certificate(name)?;
    let data = uefi::signature_data(owner, &certificate);
    Ok(Authority { variable, signature: Some(Signature::X509(certificate)), data, note: name.to_owned() })
}

/// The boot applications in the order in which they are started: digest and path.
pub(crate) fn applications(profile: &Profile) -> Vec<(Digests, String)> {
    let boot = &profile.boot;
    let inner_kernel = boot.uki.as_ref().filter(|_| !profile.secure_boot.enabled);
    let all = [
        boot.shim.as_ref().map(|shim| (shim.image.application_digests(), shim.path.clone())),
        boot.grub.as_ref().map(|grub| (grub.image.application_digests(), grub.path.clone())),
        boot.kernel.as_ref().map(|kernel| (kernel.image.application_digests(), kernel.path.clone())),
        boot.uki.as_ref().map(|uki| (uki.application_digests(), uki.path.clone())),
        inner_kernel.map(|uki| (uki.linux.application_digests(), format!("{}: .linux", uki.path))),
    ];
    all.into_iter().flatten().collect()
}

/// The kernel command lines of a boot in the order of the log, and who measures them.
pub(crate) fn command_lines(profile: &Profile) -> Vec<(String, &'static str)> {
    let boot = &profile.boot;
    match (&boot.grub, &boot.kernel, &boot.uki) {
        (Some(_), Some(kernel), _) => vec![(format!("{} {}", kernel.path, kernel.cmdline), "GRUB, PCR 8")],
        (None, Some(kernel), _) => vec![(kernel.cmdline.clone(), "load options, PCR 9")],
        (_, None, Some(uki)) => {
            let given = uki.given_options(profile.secure_boot.enabled);
            let stub = given.map(|options| (options.to_owned(), "systemd-stub, PCR 12"));
            let options = (given.unwrap_or(&uki.cmdline).to_owned(), "load options, PCR 9");
            stub.into_iter().chain([options]).collect()
        }
        (_, None, None) => Vec::new(),
    }
}

/// What the loader says it did, in the order of the log: GRUB's commands and command line, the stub's options.
pub(crate) fn loader_texts(profile: &Profile) -> Vec<(String, &'static str)> {
    let boot = &profile.boot;
    let mut texts = Vec::new();
    if let (Some(grub), Some(kernel)) = (&boot.grub, &boot.kernel) {
        texts.extend(grub.commands.iter().map(|command| (command.clone(), "grub_cmd")));
        let line = format!("{} {}", kernel.path, kernel.cmdline);
        texts.push((format!("linux {line}"), "grub_cmd"));
        texts.push((line, "kernel_cmdline"));
        texts.extend(kernel.initrd.iter().map(|_| (format!("initrd {}", kernel.initrd_path), "grub_cmd")));
        texts.push(("boot".to_owned(), "grub_cmd"));
    }
    let options = boot.uki.iter().filter_map(|uki| uki.given_options(profile.secure_boot.enabled));
    texts.extend(options.map(|options| (options.to_owned(), "systemd-stub")));
    texts
}

/// The files of PCR 9 in the order of the log: what GRUB reads, and the initial RAM disk.
pub(crate) fn loaded_files(profile: &Profile) -> Vec<(Digests, String)> {
    let boot = &profile.boot;
    let mut files = Vec::new();
    if let Some(kernel) = &boot.kernel {
        files.extend(boot.grub.iter().map(|_| (kernel.image.file_digests(), kernel.path.clone())));
        let initrd = kernel.initrd.iter();
        files.extend(initrd.map(|initrd| (initrd.file_digests(), kernel.initrd_path.clone())));
    }
    files.extend(boot.uki.iter().map(|uki| (uki.initrd.file_digests(), format!("{}: .initrd", uki.path))));
    files
}
