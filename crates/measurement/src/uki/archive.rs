//! The archives in which systemd-stub hands sections to the initrd: cpio of one folder and one file, without times or
//! owners, so that they are the same at every boot. `pack_cpio_literal` in systemd's `src/boot/cpio.c`.

/// Where the files appear in the initrd.
const FOLDER: &str = ".extra";

/// The archive with one file.
pub(super) fn archive(name: &str, contents: &[u8]) -> Vec<u8> {
    let mut archive = Archive(Vec::new());
    archive.header(1, 0o040_555, 0, FOLDER);
    archive.header(2, 0o100_444, contents.len(), &format!("{FOLDER}/{name}"));
    archive.0.extend_from_slice(contents);
    archive.pad();
    archive.trailer();
    archive.0
}

struct Archive(Vec<u8>);

impl Archive {
    /// Magic, then thirteen numbers of eight digits: inode, mode, owner, group, links, time, size, four device numbers,
    /// length of the name with its NUL, checksum.
    fn header(&mut self, inode: u32, mode: u32, size: usize, path: &str) {
        let numbers = [inode, mode, 0, 0, 1, 0, number(size), 0, 0, 0, 0, number(path.len() + 1), 0];
        self.0.extend_from_slice(b"070701");
        numbers.iter().for_each(|number| self.0.extend_from_slice(format!("{number:08x}").as_bytes()));
        self.name(path);
    }

    /// A constant in the stub, whose one number above 9 is in capitals.
    fn trailer(&mut self) {
        let numbers = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xb, 0];
        self.0.extend_from_slice(b"070701");
        numbers.iter().for_each(|number| self.0.extend_from_slice(format!("{number:08X}").as_bytes()));
        self.name("TRAILER!!!");
    }

    fn name(&mut self, path: &str) {
        self.0.extend_from_slice(path.as_bytes());
        self.0.push(0);
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_the_one_of_the_stub() {
        let archive = archive("os-release", b"ID=x");
        let text = String::from_utf8(archive).unwrap();
        assert!(text.starts_with("070701000000010000416d0000000000000000000000010000000000000000"), "{text}");
        assert!(text.contains(".extra/os-release\0"));
        let trailer = &text[text.len() - 124..];
        assert!(trailer.starts_with("0707010000000000000000"), "{trailer}");
        assert!(trailer.ends_with("0000000B00000000TRAILER!!!\0\0\0\0"), "{trailer}");
        assert_eq!(text.len() % 4, 0);
    }
}
