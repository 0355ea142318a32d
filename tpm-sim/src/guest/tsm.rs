//! configfs-tsm (`Documentation/ABI/testing/configfs-tsm-report` of Linux) as file operations over a socket: directories,
//! writes, reads, their error numbers. Makes no evidence itself.

use std::collections::HashMap;

pub(super) const EINVAL: u32 = 22;
pub(super) const EIO: u32 = 5;
const EEXIST: u32 = 17;
const ENOENT: u32 = 2;
/// Bytes that a guest may have signed.
const INBLOB: usize = 64;
/// Levels below this can be asked for.
const PRIVLEVELS: u32 = 4;

/// What makes reports.
pub(super) trait Provider {
    /// `sev_guest` or `tdx_guest`.
    fn name(&self) -> &'static str;

    /// Whether a report can be asked for by privilege level.
    fn has_levels(&self) -> bool;

    /// A report over these bytes, and the auxiliary blob where the provider has one.
    ///
    /// # Errors
    /// An error number.
    fn report(&self, inblob: &[u8; INBLOB], privlevel: Option<u32>) -> Result<(Vec<u8>, Option<Vec<u8>>), u32>;
}

/// The directories below `/sys/kernel/config/tsm/report`.
#[derive(Debug, Default)]
pub(super) struct Tsm(HashMap<String, Entry>);

#[derive(Debug, Default)]
struct Entry {
    inblob: Option<[u8; INBLOB]>,
    privlevel: Option<u32>,
    generation: u64,
    made: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

/// One operation.
pub(super) struct Request<'a> {
    op: u8,
    entry: String,
    attribute: String,
    data: &'a [u8],
}

impl<'a> Request<'a> {
    /// Reads it; `None` if it is none.
    pub(super) fn read(frame: &'a [u8]) -> Option<Self> {
        let text = |from: &mut &'a [u8]| {
            let (length, rest) = from.split_first()?;
            let (text, rest) = rest.split_at_checked(usize::from(*length))?;
            *from = rest;
            String::from_utf8(text.to_vec()).ok()
        };
        let (op, mut rest) = frame.split_first()?;
        let (entry, attribute) = (text(&mut rest)?, text(&mut rest)?);
        Some(Self { op: *op, entry, attribute, data: rest })
    }
}

impl Tsm {
    /// Does it.
    ///
    /// # Errors
    /// An error number.
    pub(super) fn run(&mut self, request: Request<'_>, provider: &dyn Provider) -> Result<Vec<u8>, u32> {
        let Request { op, entry: name, attribute, data } = request;
        if op == 1 {
            return match self.0.entry(name) {
                std::collections::hash_map::Entry::Occupied(_) => Err(EEXIST),
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(Entry::default());
                    Ok(Vec::new())
                }
            };
        }
        if op == 4 {
            return self.0.remove(&name).map(|_| Vec::new()).ok_or(ENOENT);
        }
        let entry = self.0.get_mut(&name).ok_or(ENOENT)?;
        match op {
            2 | 3 if attribute.starts_with("privlevel") && !provider.has_levels() => Err(ENOENT),
            2 => entry.write(&attribute, data).map(|()| Vec::new()),
            3 => entry.read(&attribute, provider),
            _ => Err(EINVAL),
        }
    }
}

impl Entry {
    fn write(&mut self, attribute: &str, data: &[u8]) -> Result<(), u32> {
        match attribute {
            "inblob" => {
                // shorter ones are padded with zeros by both providers
                let mut inblob = [0; INBLOB];
                inblob.get_mut(..data.len()).ok_or(EINVAL)?.copy_from_slice(data);
                self.inblob = Some(inblob);
            }
            "privlevel" => {
                let text = std::str::from_utf8(data).map_err(|_| EINVAL)?;
                self.privlevel = Some(text.trim().parse().ok().filter(|level| *level < PRIVLEVELS).ok_or(EINVAL)?);
            }
            _ => return Err(ENOENT),
        }
        self.generation += 1;
        self.made = None;
        Ok(())
    }

    fn read(&mut self, attribute: &str, provider: &dyn Provider) -> Result<Vec<u8>, u32> {
        match attribute {
            "provider" => Ok(format!("{}\n", provider.name()).into_bytes()),
            "generation" => Ok(format!("{}\n", self.generation).into_bytes()),
            "privlevel_floor" => Ok(b"0\n".to_vec()),
            "outblob" | "auxblob" => {
                let inblob = self.inblob.ok_or(EINVAL)?;
                if self.made.is_none() {
                    self.made = Some(provider.report(&inblob, self.privlevel)?);
                }
                let (report, auxiliary) = self.made.clone().ok_or(EIO)?;
                if attribute == "outblob" { Ok(report) } else { auxiliary.ok_or(ENOENT) }
            }
            _ => Err(ENOENT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Provider for Echo {
        fn name(&self) -> &'static str {
            "sev_guest"
        }

        fn has_levels(&self) -> bool {
            true
        }

        fn report(&self, inblob: &[u8; INBLOB], _: Option<u32>) -> Result<(Vec<u8>, Option<Vec<u8>>), u32> {
            Ok((inblob.to_vec(), None))
        }
    }

    fn run(tsm: &mut Tsm, op: u8, entry: &str, attribute: &str, data: &[u8]) -> Result<Vec<u8>, u32> {
        let mut frame = vec![op, u8::try_from(entry.len()).unwrap()];
        frame.extend(entry.as_bytes());
        frame.push(u8::try_from(attribute.len()).unwrap());
        frame.extend(attribute.as_bytes());
        frame.extend(data);
        tsm.run(Request::read(&frame).unwrap(), &Echo)
    }

    #[test]
    fn files_behave_as_the_kernels() {
        let mut tsm = Tsm::default();
        assert_eq!(run(&mut tsm, 3, "a", "outblob", &[]), Err(ENOENT));
        assert_eq!(run(&mut tsm, 1, "a", "", &[]), Ok(Vec::new()));
        assert_eq!(run(&mut tsm, 1, "a", "", &[]), Err(EEXIST));
        assert_eq!(run(&mut tsm, 3, "a", "outblob", &[]), Err(EINVAL), "no inblob yet");
        assert_eq!(run(&mut tsm, 2, "a", "inblob", &[7; 65]), Err(EINVAL));
        assert_eq!(run(&mut tsm, 2, "a", "inblob", &[7; 64]), Ok(Vec::new()));
        assert_eq!(run(&mut tsm, 3, "a", "generation", &[]), Ok(b"1\n".to_vec()));
        assert_eq!(run(&mut tsm, 3, "a", "outblob", &[]), Ok(vec![7; 64]));
        assert_eq!(run(&mut tsm, 3, "a", "auxblob", &[]), Err(ENOENT));
        assert_eq!(run(&mut tsm, 3, "a", "provider", &[]), Ok(b"sev_guest\n".to_vec()));
        assert_eq!(run(&mut tsm, 2, "a", "privlevel", b"4"), Err(EINVAL));
        assert_eq!(run(&mut tsm, 2, "a", "privlevel", b"2\n"), Ok(Vec::new()));
        assert_eq!(run(&mut tsm, 3, "a", "generation", &[]), Ok(b"2\n".to_vec()));
        assert_eq!(run(&mut tsm, 4, "a", "", &[]), Ok(Vec::new()));
        assert_eq!(run(&mut tsm, 4, "a", "", &[]), Err(ENOENT));
    }
}
