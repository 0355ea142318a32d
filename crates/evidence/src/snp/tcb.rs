//! A TCB version by component. Components are compared one by one: the eight bytes as one number would let a new
//! bootloader excuse old microcode.

use std::fmt;

use super::product::TcbLayout;

/// Security version numbers of the firmware parts that stand below a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tcb {
    /// First mutable code; from Turin on.
    pub fmc: Option<u8>,
    /// Bootloader of the security processor.
    pub bootloader: u8,
    /// Its operating system.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode of all cores, the lowest.
    pub microcode: u8,
}

impl Tcb {
    /// The components in the eight bytes of a report; `None` if a byte that is spare in this layout is not zero.
    #[must_use]
    pub const fn read(bytes: [u8; 8], layout: TcbLayout) -> Option<Self> {
        match (layout, bytes) {
            (TcbLayout::Milan, [bootloader, tee, 0, 0, 0, 0, snp, microcode]) => {
                Some(Self { fmc: None, bootloader, tee, snp, microcode })
            }
            (TcbLayout::Turin, [fmc, bootloader, tee, snp, 0, 0, 0, microcode]) => {
                Some(Self { fmc: Some(fmc), bootloader, tee, snp, microcode })
            }
            (TcbLayout::Milan | TcbLayout::Turin, _) => None,
        }
    }
}

/// `fmc=1 bl=1 tee=1 snp=4 ucode=81`, the names that AMD's service uses.
impl fmt::Display for Tcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(fmc) = self.fmc {
            write!(f, "fmc={fmc} ")?;
        }
        write!(f, "bl={} tee={} snp={} ucode={}", self.bootloader, self.tee, self.snp, self.microcode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_decides_what_a_byte_means() {
        let turin = [1, 2, 3, 4, 0, 0, 0, 81];
        let read = Tcb::read(turin, TcbLayout::Turin);
        assert_eq!(read, Some(Tcb { fmc: Some(1), bootloader: 2, tee: 3, snp: 4, microcode: 81 }));
        assert_eq!(Tcb::read(turin, TcbLayout::Milan), None);
        let milan = [4, 0, 0, 0, 0, 0, 24, 219];
        let read = Tcb::read(milan, TcbLayout::Milan);
        assert_eq!(read, Some(Tcb { fmc: None, bootloader: 4, tee: 0, snp: 24, microcode: 219 }));
        assert_eq!(Tcb::read(milan, TcbLayout::Turin), None);
    }
}
