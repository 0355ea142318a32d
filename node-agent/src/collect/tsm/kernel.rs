//! configfs-tsm as the kernel keeps it (drivers/virt/coco/guest/report.c, Documentation/ABI/testing/configfs-tsm-report),
//! for tests: entries, write and read generations, and the errors that each call can answer with.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Mutex, MutexGuard};

use super::files::TsmFiles;

const ENOENT: i32 = 2;
const ENXIO: i32 = 6;
pub(in crate::collect) const EBUSY: i32 = 16;
const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const EFBIG: i32 = 27;

/// What a report is made of.
pub(in crate::collect) type Make = dyn Fn(&[u8], u64) -> (Vec<u8>, Vec<u8>) + Send + Sync;

/// The kernel's side.
pub(in crate::collect) struct Kernel {
    /// `sev_guest`, `tdx_guest`, another, or none.
    pub(in crate::collect) provider: Option<&'static str>,
    pub(in crate::collect) privlevel_floor: u64,
    /// From inblob and level: outblob and auxblob.
    pub(in crate::collect) make: Box<Make>,
    /// Errors that the next calls on this attribute answer with.
    pub(in crate::collect) trouble: Mutex<VecDeque<(&'static str, i32)>>,
    /// How many of the next reports somebody else spoils, by writing inblob before they are read.
    pub(in crate::collect) rivals: Mutex<u32>,
    pub(in crate::collect) entries: Mutex<BTreeMap<String, Entry>>,
}

#[derive(Default)]
pub(in crate::collect) struct Entry {
    inblob: Option<Vec<u8>>,
    privlevel: u64,
    write_generation: u64,
    read_generation: u64,
    report: Option<(Vec<u8>, Vec<u8>)>,
}

fn error<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Kernel {
    pub(in crate::collect) fn new(
        provider: &'static str,
        make: impl Fn(&[u8], u64) -> (Vec<u8>, Vec<u8>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            provider: Some(provider),
            privlevel_floor: 0,
            make: Box::new(make),
            trouble: Mutex::default(),
            rivals: Mutex::default(),
            entries: Mutex::default(),
        }
    }

    /// Entries that nobody removed.
    pub(in crate::collect) fn left(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap()
    }

    fn trouble(&self, attribute: &str) -> io::Result<()> {
        let mut trouble = self.trouble.lock().unwrap();
        match trouble.front() {
            Some((at, errno)) if *at == attribute => {
                let errno = *errno;
                trouble.pop_front();
                error(errno)
            }
            _ => Ok(()),
        }
    }

    /// tsm_report_read: made anew if anything was written since the last time.
    fn blobs(&self, entry: &mut Entry) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let Some(inblob) = entry.inblob.clone() else { return error(EINVAL) };
        match &entry.report {
            Some(report) if entry.read_generation == entry.write_generation => Ok(report.clone()),
            _ => {
                let report = (self.make)(&inblob, entry.privlevel);
                entry.report = Some(report.clone());
                entry.read_generation = entry.write_generation;
                Ok(report)
            }
        }
    }
}

impl TsmFiles for Kernel {
    fn create(&self, entry: &str) -> io::Result<()> {
        self.trouble("")?;
        if self.provider.is_none() {
            return error(ENXIO);
        }
        let mut entries = self.lock();
        if entries.contains_key(entry) {
            return error(EEXIST);
        }
        entries.insert(entry.to_owned(), Entry::default());
        Ok(())
    }

    fn write(&self, entry: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        self.trouble(attribute)?;
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(entry) else { return error(ENOENT) };
        match (attribute, self.provider) {
            ("privlevel", Some("sev_guest")) => {
                let Ok(level) = std::str::from_utf8(bytes).unwrap().trim().parse() else { return error(EINVAL) };
                if level < self.privlevel_floor || level > 3 {
                    return error(EINVAL);
                }
                entry.privlevel = level;
            }
            ("inblob", _) if bytes.len() > 64 => return error(EFBIG),
            // A binary attribute is taken when its file is closed: an error there reaches nobody.
            ("inblob", _) if entry.write_generation == entry.read_generation.wrapping_sub(1) => return Ok(()),
            ("inblob", _) => entry.inblob = Some(bytes.to_vec()),
            _ => return error(ENOENT),
        }
        entry.write_generation += 1;
        let mut rivals = self.rivals.lock().unwrap();
        if attribute == "inblob" && *rivals > 0 {
            *rivals -= 1;
            entry.inblob = Some(b"somebody else's".to_vec());
            entry.write_generation += 1;
        }
        Ok(())
    }

    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
        self.trouble(attribute)?;
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(entry) else { return error(ENOENT) };
        let Some(provider) = self.provider else { return error(ENXIO) };
        match attribute {
            "provider" => Ok(format!("{provider}\n").into_bytes()),
            "generation" => Ok(format!("{}\n", entry.write_generation).into_bytes()),
            "outblob" => self.blobs(entry).map(|(out, _)| out),
            "auxblob" if provider == "sev_guest" => self.blobs(entry).map(|(_, aux)| aux),
            "privlevel_floor" if provider == "sev_guest" => Ok(format!("{}\n", self.privlevel_floor).into_bytes()),
            _ => error(ENOENT),
        }
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        match self.lock().remove(entry) {
            Some(_) => Ok(()),
            None => error(ENOENT),
        }
    }
}
