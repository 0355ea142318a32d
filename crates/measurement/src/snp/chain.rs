//! The chain of `PAGE_INFO` structures: one SHA-384 for each page, over the digest so far and what the page is.
//! AMD 56860, "SNP_LAUNCH_UPDATE", table "Layout of the PAGE_INFO structure".

use holdfast_evidence::crypto::HashAlg;

use crate::PAGE;

/// The address that stands for a VMSA page.
const VMSA_ADDRESS: u64 = 0xffff_ffff_f000;

/// `PAGE_TYPE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageType {
    Normal,
    Vmsa,
    Zero,
    Unmeasured,
    Secrets,
    Cpuid,
}

impl PageType {
    const fn number(self) -> u8 {
        match self {
            Self::Normal => 1,
            Self::Vmsa => 2,
            Self::Zero => 3,
            Self::Unmeasured => 4,
            Self::Secrets => 5,
            Self::Cpuid => 6,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Normal => "measured",
            Self::Vmsa => "VMSA",
            Self::Zero => "zero",
            Self::Unmeasured => "not measured",
            Self::Secrets => "secrets",
            Self::Cpuid => "CPUID",
        }
    }
}

pub(super) struct Chain {
    digest: [u8; 48],
}

impl Chain {
    pub(super) const fn new() -> Self {
        Self { digest: [0; 48] }
    }

    pub(super) const fn digest(&self) -> [u8; 48] {
        self.digest
    }

    /// Adds one page; `contents` is the SHA-384 of its contents, or zero for pages without any.
    pub(super) fn extend(&mut self, page: PageType, address: u64, contents: &[u8]) {
        // length 0x70, the type, then IMI_PAGE and the permissions of VMPL 3, 2 and 1, all zero
        let [kind, zero] = [page.number(), 0];
        let description = [0x70, 0, kind, zero, zero, zero, zero, zero];
        let digest = HashAlg::Sha384.digest(&[&self.digest, contents, &description, &address.to_le_bytes()]);
        self.digest = digest.as_bytes().first_chunk().copied().unwrap_or([0; 48]);
    }

    /// Adds pages with contents, a whole number of them.
    pub(super) fn normal(&mut self, address: u64, contents: &[u8]) {
        let pages = contents.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX));
        for (index, page) in (0_u64..).zip(pages) {
            self.extend(PageType::Normal, address + index * PAGE, super::sha384(page).as_bytes());
        }
    }

    /// Adds the start of one processor.
    pub(super) fn vmsa(&mut self, page: &[u8]) {
        self.extend(PageType::Vmsa, VMSA_ADDRESS, super::sha384(page).as_bytes());
    }
}
