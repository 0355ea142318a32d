//! How a machine measures its boot: the events of a profile, in the order in which firmware, shim, GRUB and
//! systemd-stub make them on real machines.

mod contents;

pub(crate) use contents::{applications, authorities, command_lines, loaded_files, loader_texts};

use crate::boot::contents::database;
use crate::digest::Digests;
use crate::error::SimError;
use crate::keys;
use crate::log::Event;
use crate::log::event_type::{
    EV_EFI_ACTION, EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_GPT_EVENT, EV_EFI_PLATFORM_FIRMWARE_BLOB,
    EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EVENT_TAG, EV_IPL,
    EV_S_CRTM_VERSION, EV_SEPARATOR,
};
use crate::log::uefi::{self, GLOBAL_VARIABLE, IMAGE_SECURITY, OWNER, SHIM_LOCK, Signature};
use crate::profile::{Grub, Image, Kernel, Profile, Shim, Uki};

/// EV_EVENT_TAG ids of the kernel's EFI stub.
const TAG_INITRD: u32 = 0x8f3b_22ec;
const TAG_LOAD_OPTIONS: u32 = 0x8f3b_22ed;
/// Where the simulated firmware loads images; a hint in the log that nobody can check.
const IMAGE_AT: u64 = 0x1b8b_0018;

/// The events of booting `profile`, without the Spec ID event.
///
/// # Errors
/// [`SimError::Certificate`] if a Secure Boot certificate cannot be made.
pub fn events(profile: &Profile) -> Result<Vec<Event>, SimError> {
    let mut boot = Measured { profile, events: Vec::new() };
    boot.firmware()?;
    boot.boot_variables();
    boot.hand_over();
    if let Some(shim) = &profile.boot.shim {
        boot.shim(shim)?;
    }
    if let (Some(grub), Some(kernel)) = (&profile.boot.grub, &profile.boot.kernel) {
        boot.grub(grub, kernel)?;
    } else if let Some(kernel) = &profile.boot.kernel {
        boot.direct_kernel(kernel)?;
    }
    if let Some(uki) = &profile.boot.uki {
        boot.uki(uki)?;
    }
    boot.action(5, "Exit Boot Services Invocation");
    boot.action(5, "Exit Boot Services Returned with Success");
    Ok(boot.events)
}

/// A boot in progress.
struct Measured<'a> {
    profile: &'a Profile,
    events: Vec<Event>,
}

impl Measured<'_> {
    fn firmware(&mut self) -> Result<(), SimError> {
        let firmware = &self.profile.firmware;
        if firmware.locality != 0 {
            self.events.push(Event::no_action([b"StartupLocality\0".as_slice(), &[firmware.locality]].concat()));
        }
        self.events.push(Event::of_data(0, EV_S_CRTM_VERSION, uefi::utf16z(&firmware.version)));
        for blob in &firmware.blobs {
            let length = blob.image.bytes().len() as u64;
            let data = [blob.base.to_le_bytes(), length.to_le_bytes()].concat();
            self.events.push(Event::of(0, EV_EFI_PLATFORM_FIRMWARE_BLOB, blob.image.file_digests(), data));
        }
        let secure_boot = &self.profile.secure_boot;
        let state = [u8::from(secure_boot.enabled)];
        self.variable(GLOBAL_VARIABLE, "SecureBoot", &state);
        self.variable(GLOBAL_VARIABLE, "PK", &database(&secure_boot.pk)?);
        self.variable(GLOBAL_VARIABLE, "KEK", &database(&secure_boot.kek)?);
        self.variable(IMAGE_SECURITY, "db", &database(&secure_boot.db)?);
        self.variable(IMAGE_SECURITY, "dbx", &database(&secure_boot.dbx)?);
        self.separator(7);
        Ok(())
    }

    fn variable(&mut self, vendor: uefi::Guid, name: &str, data: &[u8]) {
        self.events.push(Event::of_data(7, EV_EFI_VARIABLE_DRIVER_CONFIG, uefi::variable(vendor, name, data)));
    }

    /// BootOrder and Boot0000, measured as most firmware does: the digest covers the variable's contents alone.
    fn boot_variables(&mut self) {
        let boot = &self.profile.boot;
        let (title, path) = match (&boot.shim, &boot.grub, &boot.kernel, &boot.uki) {
            (Some(shim), _, _, _) => ("debian", shim.path.as_str()),
            (None, Some(grub), _, _) => ("grub", grub.path.as_str()),
            (None, None, Some(kernel), _) => ("linux", kernel.path.as_str()),
            (None, None, None, uki) => ("linux", uki.as_ref().map_or("", |uki| uki.path.as_str())),
        };
        let option = uefi::load_option(title, &uefi::device_path(path));
        for (name, contents) in [("BootOrder", [0u8, 0].as_slice()), ("Boot0000", &option)] {
            let data = uefi::variable(GLOBAL_VARIABLE, name, contents);
            self.events.push(Event::of(1, EV_EFI_VARIABLE_BOOT, Digests::of(contents), data));
        }
    }

    fn hand_over(&mut self) {
        self.action(4, "Calling EFI Application from Boot Option");
        for pcr in 0..7 {
            self.separator(pcr);
        }
        self.events.push(Event::of_data(5, EV_EFI_GPT_EVENT, uefi::partition_table()));
    }

    fn shim(&mut self, shim: &Shim) -> Result<(), SimError> {
        self.authority_db(&shim.signer)?;
        self.application(shim.image.application_digests(), shim.image.bytes().len(), &uefi::device_path(&shim.path));
        let vendor = keys::certificate(&shim.vendor_certificate)?;
        let entry = uefi::signature_data(SHIM_LOCK, &vendor);
        let lists = uefi::signature_lists(&[Signature::X509(vendor)]);
        self.ipl(14, Digests::of(&lists), b"MokList\0");
        self.ipl(14, Digests::of(&uefi::signature_lists(&[Signature::Sha256([0; 32])])), b"MokListX\0");
        self.authority(SHIM_LOCK, "SbatLevel", shim.sbat_level.as_bytes());
        self.ipl(14, Digests::of(&[1]), b"MokListTrusted\0");
        if self.profile.secure_boot.enabled {
            self.authority(SHIM_LOCK, "MokListRT", &entry);
        }
        Ok(())
    }

    fn grub(&mut self, grub: &Grub, kernel: &Kernel) -> Result<(), SimError> {
        if let (Some(signer), None) = (&grub.signer, &self.profile.boot.shim) {
            self.authority_db(signer)?; // shim would have measured its own certificate
        }
        let path = match &self.profile.boot.shim {
            Some(_) => uefi::file_path(&grub.path),
            None => uefi::device_path(&grub.path),
        };
        self.application(grub.image.application_digests(), grub.image.bytes().len(), &path);
        for command in &grub.commands {
            self.grub_string("grub_cmd", command);
        }
        let line = format!("{} {}", kernel.path, kernel.cmdline);
        self.grub_string("grub_cmd", &format!("linux {line}"));
        self.ipl(9, kernel.image.file_digests(), format!("{}\0", kernel.path).as_bytes());
        self.application(kernel.image.application_digests(), kernel.image.bytes().len(), &[]);
        self.grub_string("kernel_cmdline", &line);
        if let Some(initrd) = &kernel.initrd {
            self.grub_string("grub_cmd", &format!("initrd {}", kernel.initrd_path));
            self.ipl(9, initrd.file_digests(), format!("{}\0", kernel.initrd_path).as_bytes());
        }
        self.grub_string("grub_cmd", "boot");
        Ok(())
    }

    fn direct_kernel(&mut self, kernel: &Kernel) -> Result<(), SimError> {
        if let Some(signer) = &kernel.signer {
            self.authority_db(signer)?;
        }
        let path = uefi::device_path(&kernel.path);
        self.application(kernel.image.application_digests(), kernel.image.bytes().len(), &path);
        self.stub_of_kernel(&kernel.cmdline, kernel.initrd.as_ref());
        Ok(())
    }

    fn uki(&mut self, uki: &Uki) -> Result<(), SimError> {
        self.authority_db(&uki.signer)?;
        let sections = uki.sections();
        let length = sections.iter().map(|(_, contents)| contents.len()).sum();
        self.application(uki.application_digests(), length, &uefi::device_path(&uki.path));
        for (name, contents) in &sections {
            self.ipl(11, Digests::of_parts(&[name.as_bytes(), &[0]]), &uefi::utf16z(name));
            self.ipl(11, Digests::of(contents), &uefi::utf16z(name));
        }
        let given = uki.given_options(self.profile.secure_boot.enabled);
        if let Some(options) = given {
            self.events.push(Event::of_data(12, EV_IPL, uefi::utf16z(options)));
        }
        if !self.profile.secure_boot.enabled {
            self.application(uki.linux.application_digests(), uki.linux.bytes().len(), &[]);
        }
        self.stub_of_kernel(given.unwrap_or(&uki.cmdline), Some(&uki.initrd));
        Ok(())
    }

    /// What the kernel's own EFI stub measures into PCR 9. The tags are names only: the digests are of what they name.
    fn stub_of_kernel(&mut self, cmdline: &str, initrd: Option<&Image>) {
        let tag = |id: u32, text: &[u8]| {
            let mut data = id.to_le_bytes().to_vec();
            data.extend_from_slice(&crate::log::le32(text.len()));
            data.extend_from_slice(text);
            data
        };
        let options = tag(TAG_LOAD_OPTIONS, b"LOADED_IMAGE::LoadOptions\0");
        self.events.push(Event::of(9, EV_EVENT_TAG, Digests::of(&uefi::utf16z(cmdline)), options));
        if let Some(initrd) = initrd {
            self.events.push(Event::of(9, EV_EVENT_TAG, initrd.file_digests(), tag(TAG_INITRD, b"Linux initrd\0")));
        }
    }

    /// The certificate of `db` that verified an image; firmware measures each once, and none without Secure Boot.
    fn authority_db(&mut self, signer: &str) -> Result<(), SimError> {
        if self.profile.secure_boot.enabled {
            self.authority(IMAGE_SECURITY, "db", &uefi::signature_data(OWNER, &keys::certificate(signer)?));
        }
        Ok(())
    }

    fn authority(&mut self, vendor: uefi::Guid, name: &str, data: &[u8]) {
        let event = Event::of_data(7, EV_EFI_VARIABLE_AUTHORITY, uefi::variable(vendor, name, data));
        if !self.events.contains(&event) {
            self.events.push(event);
        }
    }

    fn application(&mut self, digests: Digests, length: usize, path: &[u8]) {
        let data = uefi::image_load(IMAGE_AT, length as u64, path);
        self.events.push(Event::of(4, EV_EFI_BOOT_SERVICES_APPLICATION, digests, data));
    }

    /// GRUB's strings: the digest covers what follows the prefix, without the terminator.
    fn grub_string(&mut self, prefix: &str, text: &str) {
        self.ipl(8, Digests::of(text.as_bytes()), format!("{prefix}: {text}\0").as_bytes());
    }

    fn ipl(&mut self, pcr: u32, digests: Digests, data: &[u8]) {
        self.events.push(Event::of(pcr, EV_IPL, digests, data.to_vec()));
    }

    fn action(&mut self, pcr: u32, text: &str) {
        self.events.push(Event::of_data(pcr, EV_EFI_ACTION, text.as_bytes().to_vec()));
    }

    fn separator(&mut self, pcr: u32) {
        self.events.push(Event::of_data(pcr, EV_SEPARATOR, vec![0; 4]));
    }
}
