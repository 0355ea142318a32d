//! Puts the files where their readers look: each is complete, with its owner and mode, before it has its name.
//!
//! With a directory to swap, as Kubernetes mounts secrets: `svid.pem` points to `..data/svid.pem`, `..data` to a
//! directory of one rotation, and moving `..data` replaces all files in one step.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, fsync, openat};

use super::contents::File;
use super::settings::Settings;

/// The link that is moved.
const DATA: &str = "..data";
/// What the directories of one rotation are called, before a number.
const PREFIX: &str = "..holdfast-";
/// Of a draft, after its name.
const DRAFT: &str = "..new";

/// The folder of the files.
pub(super) struct Folder {
    path: PathBuf,
    swap: bool,
    owner: (Option<u32>, Option<u32>),
}

impl Folder {
    /// # Errors
    /// Where it is no folder: it is not made, so that its owner and mode are its administrator's choice.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let path = settings.cert_dir.clone();
        let found = fs::metadata(&path).with_context(|| format!("cannot use cert_dir {}", path.display()))?;
        if !found.is_dir() {
            bail!("cert_dir {} is no directory", path.display());
        }
        Ok(Self { path, swap: settings.swap_directory, owner: settings.owner })
    }

    /// Replaces all of `files`.
    ///
    /// # Errors
    /// Where the file system refuses. What was there before is then still there, whole.
    pub(super) fn write(&self, files: &[File]) -> anyhow::Result<()> {
        let written = if self.swap { self.swap(files) } else { self.rename(files) };
        written.with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// All are drafted before the first one gets its name, so that little can fail, and little time passes, between.
    fn rename(&self, files: &[File]) -> io::Result<()> {
        let mut drafts = Vec::with_capacity(files.len());
        for file in files {
            let draft = self.path.join(format!("{}{DRAFT}", file.name));
            remove(&draft)?;
            self.create(CWD, &draft, file)?;
            drafts.push((draft, self.path.join(&file.name)));
        }
        for (draft, place) in drafts {
            fs::rename(draft, place)?;
        }
        // Of a time when the directory was swapped: nothing points there any more.
        remove(&self.path.join(DATA))?;
        self.sweep("")?;
        sync(&self.path)
    }

    fn swap(&self, files: &[File]) -> io::Result<()> {
        let current = fs::read_link(self.path.join(DATA)).ok();
        let name = self.next(current.as_deref());
        let rotation = self.path.join(&name);
        remove_all(&rotation)?;
        DirBuilder::new().mode(0o700).create(&rotation)?;
        self.fill(&rotation, files)?;
        self.point(DATA, Path::new(&name))?;
        for file in files {
            let target = Path::new(DATA).join(&file.name);
            if fs::read_link(self.path.join(&file.name)).ok().as_deref() != Some(&target) {
                self.point(&file.name, &target)?;
            }
        }
        sync(&self.path)?;
        self.sweep(&name)
    }

    /// Puts `files` into the new directory `rotation`, and gives it its owner and mode.
    ///
    /// Whoever owns the folder can exchange what is called `rotation` at any moment, for a link to `/etc`, say. So it is
    /// opened once, must be our own, and nothing is done by its name any more.
    fn fill(&self, rotation: &Path, files: &[File]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inside: OwnedFd = openat(CWD, rotation, flags, Mode::empty())?;
        if fstat(&inside)?.st_uid != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("directory of this rotation was exchanged for somebody else's"));
        }
        for file in files {
            self.create(&inside, Path::new(&file.name), file)?;
        }
        // Whoever may read a file in it has to come through. Last its owner, who may do with it what he likes.
        fchmod(&inside, Mode::from_raw_mode(0o755))?;
        fchown(&inside, self.owner.0, self.owner.1)?;
        Ok(fsync(&inside)?)
    }

    /// A name for the next rotation that no directory in use has.
    fn next(&self, current: Option<&Path>) -> String {
        let number = current.and_then(Path::to_str).and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok());
        format!("{PREFIX}{}", number.map_or(1, |number| number.wrapping_add(1)))
    }

    /// Makes `name` a link to `target`, whatever file was there.
    fn point(&self, name: &str, target: &Path) -> io::Result<()> {
        let draft = self.path.join(format!("{name}{DRAFT}"));
        remove(&draft)?;
        symlink(target, &draft)?;
        lchown(&draft, self.owner.0, self.owner.1)?;
        fs::rename(draft, self.path.join(name))
    }

    /// Takes away what rotations before this one left, keys among it.
    fn sweep(&self, current: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)?.flatten() {
            let name = entry.file_name();
            let old = name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name != current);
            if old && entry.file_type()?.is_dir() {
                remove_all(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes `file` at `path` in `folder`, where nothing is. Nobody else can open it before it has its owner and its mode,
    /// whatever the umask is.
    fn create(&self, folder: impl AsFd, path: &Path, file: &File) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut open = fs::File::from(openat(folder, path, flags, Mode::from_raw_mode(0o600))?);
        fchown(&open, self.owner.0, self.owner.1)?;
        open.write_all(file.text.as_bytes())?;
        open.set_permissions(fs::Permissions::from_mode(file.mode))?;
        open.sync_all()
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn folder(path: &Path, swap: bool) -> Folder {
        let text = format!("cert_dir = {path:?}\nswap_directory = {swap}");
        Folder::open(&Settings::parse(&text, None).unwrap()).unwrap()
    }

    fn files(text: &str) -> Vec<File> {
        let file = |name: &str, mode| File { name: name.to_owned(), text: text.to_owned().into(), mode };
        vec![file("bundle", 0o644), file("key", 0o640), file("svid", 0o444)]
    }

    fn read(path: &Path) -> Vec<String> {
        ["bundle", "key", "svid"].map(|name| fs::read_to_string(path.join(name)).unwrap()).to_vec()
    }

    #[test]
    fn files_have_their_modes_whatever_the_umask_and_nothing_is_left_over() {
        for (swap, entries) in [(false, 3), (true, 5)] {
            let work = tempfile::tempdir().unwrap();
            let folder = folder(work.path(), swap);
            for text in ["one", "two", "three"] {
                folder.write(&files(text)).unwrap();
                assert_eq!(read(work.path()), [text; 3]);
                for file in files(text) {
                    let mode = fs::metadata(work.path().join(&file.name)).unwrap().mode() & 0o7777;
                    assert_eq!(mode, file.mode, "{}", file.name);
                }
                assert_eq!(fs::read_dir(work.path()).unwrap().count(), entries, "{text}");
            }
        }
    }

    #[test]
    fn a_swap_replaces_all_files_in_one_step() {
        let work = tempfile::tempdir().unwrap();
        let folder = folder(work.path(), true);
        folder.write(&files("one")).unwrap();
        let links = ["bundle", "key", "svid"].map(|name| fs::symlink_metadata(work.path().join(name)).unwrap().ino());
        folder.write(&files("two")).unwrap();
        let later = ["bundle", "key", "svid"].map(|name| fs::symlink_metadata(work.path().join(name)).unwrap().ino());
        assert_eq!(links, later, "only ..data was moved");
        assert_eq!(fs::read_link(work.path().join(DATA)).unwrap(), Path::new("..holdfast-2"));
    }

    #[test]
    fn what_a_killed_helper_left_is_no_obstacle_and_other_files_stay() {
        for swap in [false, true] {
            let work = tempfile::tempdir().unwrap();
            let folder = folder(work.path(), swap);
            fs::write(work.path().join("key..new"), "half").unwrap();
            fs::write(work.path().join("mine"), "precious").unwrap();
            fs::create_dir(work.path().join("..holdfast-1")).unwrap();
            fs::write(work.path().join("..holdfast-1/key"), "old").unwrap();
            fs::write(work.path().join("svid"), "a plain file").unwrap();
            folder.write(&files("one")).unwrap();
            folder.write(&files("two")).unwrap();
            assert_eq!(read(work.path()), ["two"; 3]);
            assert_eq!(fs::read_to_string(work.path().join("mine")).unwrap(), "precious");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_draft_is_not_followed() {
        let work = tempfile::tempdir().unwrap();
        let target = work.path().join("elsewhere");
        fs::write(&target, "untouched").unwrap();
        let inside = work.path().join("in");
        fs::create_dir(&inside).unwrap();
        symlink(&target, inside.join("key..new")).unwrap();
        folder(&inside, false).write(&files("one")).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    }

    #[test]
    fn a_directory_exchanged_for_a_link_is_neither_written_to_nor_opened_up() {
        let work = tempfile::tempdir().unwrap();
        let elsewhere = work.path().join("elsewhere");
        DirBuilder::new().mode(0o700).create(&elsewhere).unwrap();
        let inside = work.path().join("in");
        fs::create_dir(&inside).unwrap();
        let rotation = inside.join("..holdfast-1");
        symlink(&elsewhere, &rotation).unwrap();
        let folder = folder(&inside, true);
        assert!(folder.fill(&rotation, &files("one")).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        assert_eq!(fs::metadata(&elsewhere).unwrap().mode() & 0o7777, 0o700);
        // Root alone can make somebody else's directory, and alone has something to lose here.
        if rustix::process::geteuid().is_root() {
            remove(&rotation).unwrap();
            DirBuilder::new().mode(0o700).create(&rotation).unwrap();
            lchown(&rotation, Some(4_000_000), None).unwrap();
            assert!(folder.fill(&rotation, &files("one")).is_err());
            assert_eq!(fs::read_dir(&rotation).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_folder_is_not_made() {
        let work = tempfile::tempdir().unwrap();
        let settings = Settings::parse(&format!("cert_dir = {:?}", work.path().join("x")), None).unwrap();
        assert!(Folder::open(&settings).is_err());
    }
}
