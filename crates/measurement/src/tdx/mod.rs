//! The measurements of a TDX guest, as far as they follow from files alone.
//!
//! `MRTD` follows from the firmware. `RTMR` 1 and 2 follow from kernel, initrd and command line where QEMU hands these
//! to the firmware. `RTMR` 0 depends on the memory map and ACPI tables that the hypervisor makes up, and `RTMR` 1 of a
//! boot from a disk on the disk's partition table: neither is computed here.

mod direct_boot;
mod mrtd;

pub use direct_boot::{DirectBoot, KernelHeader, Rtmrs};
pub use mrtd::{Mrtd, PageOrder, mrtd};
