//! Unified kernel images, and what firmware, systemd-stub and the kernel measure of one while it boots.
//! UAPI Group specification 5 (UKI); systemd's `src/boot/stub.c` and `src/fundamental/uki.h`.
//!
//! | register | measured by | predicted from |
//! | --- | --- | --- |
//! | PCR 4 | firmware | the image, and the kernel in it where the stub has firmware load that too |
//! | PCR 7 | firmware | [`SecureBootState`] and the certificates of the signature |
//! | PCR 9 | the kernel's EFI stub | command line and all initrds that systemd-stub hands over |
//! | PCR 11 | systemd-stub, then systemd's boot phases | the sections |
//! | PCR 12 | systemd-stub | nothing, as long as nothing beside the image changes the boot |
//!
//! Add-ons, credentials and extensions beside the image, a command line from a boot entry, and loaders before the image
//! that are not named are not seen here: they change PCR 4, 9, 12 and 13.

mod archive;
mod boot;
mod sections;
mod secure_boot;
mod stub;

pub(crate) use boot::CALLING;
pub use boot::{Boot, PHASES, Predicted, RETURNING, Unpredicted};
pub use sections::UkiSection;
pub use secure_boot::{Authority, SecureBootState, authority};
pub use stub::Stub;

use crate::Unmeasurable;
use crate::pe::Image;

/// A unified kernel image.
#[derive(Clone, Debug)]
pub struct Uki<'a> {
    image: Image<'a>,
    stub: Stub,
    sections: Vec<UkiSection<'a>>,
}

impl<'a> Uki<'a> {
    /// Reads an image, for the profile that is booted (0 unless the boot entry says otherwise).
    ///
    /// # Errors
    /// It is no PE image, has no kernel, no stub that says its version, a section twice, or no such profile.
    pub fn parse(image: &'a [u8], profile: usize) -> Result<Self, Unmeasurable> {
        let image = Image::parse(image)?;
        let stub = Stub::of(&image)?;
        let sections = sections::measured(&image, profile)?;
        Ok(Self { image, stub, sections })
    }

    /// The stub in it.
    #[must_use]
    pub const fn stub(&self) -> &Stub {
        &self.stub
    }

    /// The image as firmware sees it.
    #[must_use]
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Its sections, in the order in which they are measured.
    #[must_use]
    pub fn sections(&self) -> &[UkiSection<'a>] {
        &self.sections
    }

    fn section(&self, name: &str) -> Option<&UkiSection<'a>> {
        self.sections.iter().find(|section| section.name == name)
    }
}
