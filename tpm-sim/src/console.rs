//! The console of a running machine: a Unix socket in its directory, one JSON request and one JSON answer per
//! connection. For the command line; tests use [`Powered`] itself.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::error::{SimError, file};
use crate::powered::Powered;
use crate::profile::Profile;
use crate::report::MachineReport;
use crate::tamper::LogLie;

const SOCKET: &str = "console.sock";
/// Longest request, in bytes; a profile travels by name.
const REQUEST_BYTES_MAX: u64 = 1 << 20;
/// How long a request may take to arrive.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);

/// What a running machine can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Say how you are.
    Status,
    /// Reboot: into this profile, or the same again; with these changes on top.
    Reboot {
        /// A built-in profile's name, or an absolute path.
        profile: Option<String>,
        /// Applied one after the other.
        changes: Vec<Change>,
        /// Without telling the TPM.
        pull_the_plug: bool,
    },
    /// Suspend and resume.
    Suspend,
    /// Clear the TPM in the firmware's menu, and boot again.
    Clear,
    /// Go back to a snapshot, and boot again.
    Rollback {
        /// Absolute path of the snapshot.
        from: PathBuf,
    },
    /// Lie in the firmware log.
    Lie(LogLie),
    /// Put the true firmware log back.
    Truth,
    /// Extend a PCR after boot, with no event.
    Extend {
        /// Which.
        pcr: u32,
        /// The digests of this text.
        text: String,
    },
    /// Start a file that is not signed: measured into PCR 10 and the list.
    StartFile {
        /// Where it lies.
        path: String,
        /// What is in it.
        text: String,
    },
    /// From now on these go wrong, and no others.
    Faults(Vec<String>),
    /// Count commands from zero.
    ForgetCommands,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Done; this is how it is now.
    Done(Box<MachineReport>),
    /// Not done.
    Failed {
        /// The failure's code.
        code: String,
        /// In words.
        problem: String,
    },
}

/// A machine with its console open. Dropping it stops the machine and removes the socket.
#[derive(Debug)]
pub struct Console {
    machine: Arc<Mutex<Powered>>,
    directory: PathBuf,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Opens the console of `machine`.
    ///
    /// # Errors
    /// [`SimError::File`] if the socket cannot be made, [`SimError::Console`] if the machine is already running.
    pub fn open(machine: Powered) -> Result<Self, SimError> {
        let directory = machine.machine().directory().to_owned();
        let path = directory.join(SOCKET);
        let listener = within(&directory, |path| UnixListener::bind(path)).map_err(file("listen on", &path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(file("restrict", &path))?;
        let machine = Arc::new(Mutex::new(machine));
        let closing = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (machine, closing) = (Arc::clone(&machine), Arc::clone(&closing));
            move || {
                while let Ok((stream, _)) = listener.accept() {
                    if closing.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Err(error) = answer(stream, &machine) {
                        tracing::debug!(%error, "console connection ended");
                    }
                }
            }
        });
        Ok(Self { machine, directory, closing, thread: Some(thread) })
    }

    /// How the machine is now.
    ///
    /// # Errors
    /// If its TPM does not answer.
    pub fn report(&self) -> Result<MachineReport, SimError> {
        MachineReport::running(&lock(&self.machine))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let _ = within(&self.directory, |path| UnixStream::connect(path)); // wakes the accepting thread
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(self.directory.join(SOCKET));
    }
}

/// Tells the machine running in `directory` something, and waits for its answer.
///
/// # Errors
/// [`SimError::Console`] if no machine runs there, or it could not do it.
pub fn tell(directory: &Path, request: &Request) -> Result<MachineReport, SimError> {
    let failed = |problem: String| SimError::Console { path: directory.to_owned(), problem };
    let talk = || -> std::io::Result<String> {
        let mut stream = within(directory, |path| UnixStream::connect(path))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let text = match talk() {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            return Err(failed("it is not running (start it with `run` or `boot`)".to_owned()));
        }
        Err(e) => return Err(failed(e.to_string())),
    };
    match serde_json::from_str(&text) {
        Ok(Answer::Done(report)) => Ok(*report),
        Ok(Answer::Failed { code, problem }) => Err(failed(format!("{problem} ({code})"))),
        Err(_) => Err(failed("it ended without an answer".to_owned())),
    }
}

/// Whether a machine runs in `directory` now.
pub(crate) fn is_running(directory: &Path) -> bool {
    let running = within(directory, |path| UnixStream::connect(path)).is_ok();
    if !running {
        let _ = std::fs::remove_file(directory.join(SOCKET)); // of a process that was killed
    }
    running
}

fn answer(stream: UnixStream, machine: &Mutex<Powered>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_WITHIN))?;
    let mut line = String::new();
    BufReader::new(std::io::Read::take(&stream, REQUEST_BYTES_MAX)).read_line(&mut line)?;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => {
            let mut machine = lock(machine);
            match obey(&mut machine, request).and_then(|()| MachineReport::running(&machine)) {
                Ok(report) => Answer::Done(Box::new(report)),
                Err(error) => Answer::Failed { code: error.code().to_owned(), problem: chain(&error) },
            }
        }
        Err(error) => Answer::Failed { code: "sim.console".to_owned(), problem: error.to_string() },
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    (&stream).write_all(text.as_bytes())
}

fn obey(machine: &mut Powered, request: Request) -> Result<(), SimError> {
    match request {
        Request::Status => Ok(()),
        Request::Reboot { profile, changes, pull_the_plug } => {
            let mut profile = match profile {
                Some(name) => Profile::load(&name)?,
                None => machine.profile().clone(),
            };
            for change in &changes {
                profile = profile.changed(change).ok_or_else(|| SimError::Profile {
                    origin: profile.name.clone(),
                    problem: format!("it has nothing to which this applies: {change}"),
                })?;
            }
            if pull_the_plug { machine.cut_power(&profile) } else { machine.reboot(&profile) }
        }
        Request::Suspend => machine.suspend(),
        Request::Clear => machine.clear(&machine.profile().clone()),
        Request::Rollback { from } => machine.rollback(&from, &machine.profile().clone()),
        Request::Lie(lie) => machine.lie(&lie),
        Request::Truth => machine.tell_the_truth(),
        Request::Extend { pcr, text } => machine.extend(pcr, text.as_bytes()),
        Request::StartFile { path, text } => machine.measure_unsigned(&path, text.as_bytes()),
        Request::Faults(faults) => {
            let faults: Result<Vec<_>, String> = faults.iter().map(|fault| fault.parse()).collect();
            let path = machine.machine().directory().to_owned();
            let faults = faults.map_err(|problem| SimError::Console { path, problem })?;
            machine.heal();
            faults.into_iter().for_each(|fault| machine.inject(fault));
            Ok(())
        }
        Request::ForgetCommands => {
            machine.forget_commands();
            Ok(())
        }
    }
}

/// The error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Socket paths end at 107 bytes; this one is reached through an open directory, however deep it lies.
fn within<T>(directory: &Path, work: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let opened = File::open(directory)?;
    work(Path::new(&format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd())))
}

fn lock(machine: &Mutex<Powered>) -> MutexGuard<'_, Powered> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}
