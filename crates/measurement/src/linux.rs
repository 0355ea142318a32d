//! What QEMU changes in the header of a Linux kernel that it loads itself, which firmware then measures with the rest.
//! Linux boot protocol (`Documentation/arch/x86/boot.rst`), and `hw/i386/x86.c` (`x86_load_linux`) of QEMU.

use crate::Unmeasurable;
use crate::bytes::Bytes;

/// Where the boot protocol's magic stands.
const MAGIC: u64 = 0x202;
/// What QEMU keeps free for ACPI tables below the top of low memory.
const ACPI_BYTES: u32 = 0x28000;
/// Highest address of an initrd where the kernel does not say.
const INITRD_MAX: u32 = 0x37ff_ffff;

/// What QEMU starts a kernel with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loader {
    /// Bytes of the initrd, 0 without one.
    pub(crate) initrd: u32,
    /// Bytes of the guest's memory.
    pub(crate) memory: u64,
}

/// `kernel` as QEMU hands it to the firmware.
pub(crate) fn patched(kernel: &[u8], loader: Loader) -> Result<Vec<u8>, Unmeasurable> {
    let file = Bytes::new("kernel", kernel);
    if file.slice(MAGIC, 4, "boot header").ok() != Some(b"HdrS") {
        return Err(file.missing("Linux boot header"));
    }
    let protocol = file.u16_le(0x206, "boot protocol")?;
    if protocol < 0x202 {
        return Err(file.value("boot protocol", protocol.into()));
    }
    let flags = file.array::<1>(0x211, "load flags")?;
    let [flags] = flags;
    // a kernel that loads high gets its real-mode part at 0x10000, its command line at 0x20000
    let (real_mode, command_line): (u32, u32) = if flags & 1 == 0 { (0x90000, 0x9a000) } else { (0x10000, 0x20000) };
    let heap_end = command_line - real_mode - 0x200;
    let mut patched = kernel.to_vec();
    put(&mut patched, 0x210, &[0xb0]);
    put(&mut patched, 0x211, &[flags | 0x80]);
    put(&mut patched, 0x224, &heap_end.to_le_bytes());
    put(&mut patched, 0x228, &command_line.to_le_bytes());
    if loader.initrd > 0 {
        let limit = initrd_limit(file, protocol)?.min(below_4g(loader.memory).saturating_sub(ACPI_BYTES + 1));
        let free = limit.checked_sub(loader.initrd).ok_or(file.value("initrd size", loader.initrd.into()))?;
        put(&mut patched, 0x218, &(free & !0xfff).to_le_bytes());
        put(&mut patched, 0x21c, &loader.initrd.to_le_bytes());
    }
    Ok(patched)
}

fn initrd_limit(file: Bytes<'_>, protocol: u16) -> Result<u32, Unmeasurable> {
    if protocol >= 0x20c && file.u16_le(0x236, "extended load flags")? & 0x40 != 0 {
        // the kernel takes it above 4 GiB too, where QEMU does not put it
        return Ok(u32::MAX);
    }
    match protocol {
        0x203.. => Ok(Some(file.u32_le(0x22c, "initrd limit")?).filter(|limit| *limit != 0).unwrap_or(INITRD_MAX)),
        _ => Ok(INITRD_MAX),
    }
}

/// Memory of machine type q35 below 4 GiB.
fn below_4g(memory: u64) -> u32 {
    let low = if memory < 0xb000_0000 { 0xb000_0000 } else { 0x8000_0000 };
    u32::try_from(memory.min(low)).unwrap_or(u32::MAX)
}

fn put(kernel: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = kernel.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
