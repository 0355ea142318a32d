//! Tells the program whose files are new: by a signal, by a command, or both. What goes wrong is said, ends nothing, for the
//! files are there, and is tried again: a program that was not told goes on with an SVID that ends.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::Instant;

use super::settings::Settings;
use crate::backoff::Backoff;

/// How long a command may take. A program that reads its files anew is told so, not waited for.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a file with a process's number; PostgreSQL's has some more lines.
const PID_FILE_BYTES_MAX: u64 = 4096;

/// Pauses before a notice that went wrong is given again: the program may be starting just now, or be down for long.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The notices that are still to be given.
#[derive(Debug)]
pub(super) struct Owed {
    signal: bool,
    command: bool,
    backoff: Backoff,
    at: Option<Instant>,
}

impl Owed {
    /// None.
    pub(super) const fn nothing() -> Self {
        Self { signal: false, command: false, backoff: Backoff::new(PAUSES.0, PAUSES.1), at: None }
    }

    /// The files are new: every notice that is configured is to be given, now.
    pub(super) fn all(&mut self, settings: &Settings) {
        (self.signal, self.command) = (settings.signal.is_some(), settings.command.is_some());
        self.backoff.reset();
        self.at = (self.signal || self.command).then(Instant::now);
    }

    /// Waits until something is to be given; for ever where nothing is.
    pub(super) async fn due(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Gives what is owed. What went wrong stays owed, and is due again later.
    pub(super) async fn give(&mut self, settings: &Settings) {
        if let Some((signal, file)) = settings.signal.as_ref().filter(|_| self.signal) {
            self.signal = failed(send(*signal, file).err());
        }
        if let Some(argv) = settings.command.as_ref().filter(|_| self.command) {
            self.command = failed(run(argv, COMMAND_TIME_MAX).await.context("renew_command").err());
        }
        self.at = (self.signal || self.command).then(|| {
            let pause = self.backoff.pause();
            eprintln!("holdfast-agent: the notice is given again in {} s", pause.as_secs().max(1));
            Instant::now() + pause
        });
    }
}

fn failed(error: Option<anyhow::Error>) -> bool {
    error.is_some_and(|error| {
        eprintln!("holdfast-agent: {error:#}");
        true
    })
}

fn send(signal: Signal, file: &Path) -> anyhow::Result<()> {
    use std::io::Read as _;
    let named = || format!("pid_file_name {}", file.display());
    let mut text = String::new();
    // Who owns the file may be less than we are: a pipe in its place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = std::fs::File::from(openat(CWD, file, flags, Mode::empty()).with_context(named)?);
    if !open.metadata().with_context(named)?.is_file() {
        bail!("{} is no file", named());
    }
    open.take(PID_FILE_BYTES_MAX).read_to_string(&mut text).with_context(named)?;
    let pid = pid(&text).with_context(named)?;
    kill_process(pid, signal).with_context(|| format!("cannot signal process {}", pid.as_raw_nonzero()))
}

/// The number in the first line: one process, not a group, not all, not the first.
fn pid(text: &str) -> anyhow::Result<Pid> {
    let number: i32 = text.lines().next().unwrap_or_default().trim().parse().context("no number in the first line")?;
    // Asked only of what is positive: a negative number is no process to rustix, and a group to the kernel.
    let pid = (number > 1).then(|| Pid::from_raw(number)).flatten();
    pid.with_context(|| format!("{number} is no process to signal"))
}

/// A command with all that it started, ended when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

async fn run(argv: &[String], patience: Duration) -> anyhow::Result<()> {
    let (program, arguments) = argv.split_first().context("is empty")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| program.clone())?;
    // Its number stays its own, and its group's, until it has been waited for.
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
    let ended = tokio::time::timeout(patience, child.wait()).await;
    if ended.is_ok() {
        // What it left running it left on purpose.
        group.0 = None;
    }
    match ended {
        Ok(ended) if ended.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
        Ok(ended) => bail!("{program} failed: {}", ended?),
        Err(_) => bail!("{program} took more than {} s and was ended", patience.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_ordinary_process_is_ever_signalled() {
        assert_eq!(pid("4711\n").unwrap().as_raw_nonzero().get(), 4711);
        assert_eq!(pid(" 4711 \n/var/lib/postgresql/15/main\n5432\n").unwrap().as_raw_nonzero().get(), 4711);
        for wrong in ["", "\n", "0", "1", "-1", "-4711", "x", "99999999999"] {
            assert!(pid(wrong).is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_command_is_run_as_it_is_written() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("a b; $HOME");
        let argv = ["touch".to_owned(), file.to_str().unwrap().to_owned()];
        run(&argv, COMMAND_TIME_MAX).await.unwrap();
        assert!(file.exists());
        assert!(run(&["false".to_owned()], COMMAND_TIME_MAX).await.is_err());
        assert!(run(&["/no/such/program".to_owned()], COMMAND_TIME_MAX).await.is_err());
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let argv = ["sh", "-c", &script].map(str::to_owned);
        let ended = tokio::spawn(async move { run(&argv, Duration::from_secs(2)).await });
        while !file.exists() {
            assert!(!ended.is_finished(), "ended before it began");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let child = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        assert!(ended.await.unwrap().unwrap_err().to_string().contains("was ended"));
        // Gone, or waiting for process 1 to take notice.
        let runs = || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        for _ in 0..1000 {
            if !runs() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {child} still runs");
    }

    #[test]
    fn a_pipe_in_the_place_of_the_number_holds_nobody_up() {
        let work = tempfile::tempdir().unwrap();
        let pipe = work.path().join("pid");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let (told, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(send(Signal::CONT, &pipe).is_err()));
        assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Ok(true));
    }
}
