//! Programs as processes: started with a log file, stopped when dropped, waited for with a limit.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a program may take to end after SIGTERM before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Those in `folder`.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Those that stand beside the running test or program: `target/debug`, found from `target/debug/deps/x`.
    ///
    /// # Errors
    /// If they were not built: `cargo build --workspace --bins` makes them.
    pub fn beside_this_one() -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let found = own.ancestors().skip(1).take(2).find(|folder| folder.join("holdfast-server").exists());
        match found {
            Some(folder) => Ok(Self(folder.to_owned())),
            None => {
                bail!("holdfast-server is not built beside {}: run `cargo build --workspace --bins`", own.display())
            }
        }
    }

    /// The path of `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A command that runs `name`.
    #[must_use]
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path(name));
        command.stdin(Stdio::null());
        command
    }
}

/// What a finished command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// Runs `command` to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn of(command: &mut Command) -> anyhow::Result<Self> {
        let output = command.output().with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Itself, if the exit code is 0.
    ///
    /// # Errors
    /// With the code and what was said, otherwise.
    pub fn success(self) -> anyhow::Result<Self> {
        if self.code != 0 {
            bail!("exit code {}\n{}{}", self.code, self.stdout, self.stderr);
        }
        Ok(self)
    }

    /// Standard output as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {}{}", self.stdout, self.stderr))
    }
}

/// A running program. Dropping it sends SIGTERM, waits, and kills what does not listen.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The same with standard output in a file of its own.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_apart(command: &mut Command, stdout: &Path, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(stdout)?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {:?}", command.get_program()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its exit code, if it has ended; -1 if a signal ended it.
    pub fn ended(&mut self) -> Option<i32> {
        self.child.try_wait().ok().flatten().map(|status| status.code().unwrap_or(-1))
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end and waits; its exit code, or -1 if it had to be killed.
    pub fn stop(&mut self) -> i32 {
        if let Some(code) = self.ended() {
            return code;
        }
        self.signal("TERM");
        let end = Instant::now() + STOP_GRACE;
        while Instant::now() < end {
            if let Some(code) = self.ended() {
                return code;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        -1
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends every [`until`] of this process at its next try.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Tries `attempt` every 20 ms until it answers `Some`.
///
/// # Errors
/// With `what` if it has not after `seconds`.
pub fn until<T>(what: &str, seconds: u64, mut attempt: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = attempt() {
            return Ok(value);
        }
        if INTERRUPTED.load(Ordering::Relaxed) {
            bail!("{what}: interrupted");
        }
        if Instant::now() > end {
            bail!("{what}: not within {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
