//! A sink that is a file of JSON lines, for the collector of a SIEM. On the disk before it counts; moved aside by size, and
//! opened anew when somebody else moved it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::cloudevents;
use super::event::{Event, Source};
use super::sender::Delivery;
use super::settings::FileSettings;

/// A file of JSON lines.
pub(super) struct EventFile {
    settings: FileSettings,
}

impl EventFile {
    pub(super) fn new(settings: &FileSettings) -> Self {
        Self { settings: settings.clone() }
    }

    pub(super) async fn deliver(&self, events: &[Event], source: &Source) -> Delivery {
        let mut lines = String::new();
        for event in events {
            lines.push_str(&cloudevents::one(event, source));
            lines.push('\n');
        }
        let settings = self.settings.clone();
        match tokio::task::spawn_blocking(move || append(&settings, lines.as_bytes())).await {
            Ok(Ok(())) => Delivery::Taken,
            Ok(Err(error)) => Delivery::failed(error.to_string()),
            Err(error) => Delivery::failed(error.to_string()),
        }
    }
}

/// Opens the file that has the name now, whoever moved the former one away, and makes the lines last.
fn append(settings: &FileSettings, lines: &[u8]) -> std::io::Result<()> {
    let mut file = open(&settings.path)?;
    let size = file.metadata()?.size();
    if settings.rotate_bytes > 0 && size > 0 && size.saturating_add(lines.len() as u64) > settings.rotate_bytes {
        drop(file);
        rotate(&settings.path, settings.keep)?;
        file = open(&settings.path)?;
    }
    // A crash may have cut the last line: it is sent again, and its beginning stays a line of its own.
    if file.metadata()?.size() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(lines)?;
    file.sync_data()
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// `events.jsonl` becomes `events.jsonl.1`, that `.2`, and so on; the last one goes.
fn rotate(path: &Path, keep: u32) -> std::io::Result<()> {
    let aside = |number: u32| -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name.into()
    };
    let gone_is_fine = |done: std::io::Result<()>| match done {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    if keep == 0 {
        return gone_is_fine(std::fs::remove_file(path));
    }
    for number in (1..keep).rev() {
        gone_is_fine(std::fs::rename(aside(number), aside(number + 1)))?;
    }
    gone_is_fine(std::fs::rename(path, aside(1)))
}
