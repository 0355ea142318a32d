//! Tells the program whose files are new: by a signal, by a command, or both. What goes wrong is said, and ends nothing:
//! the files are there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::settings::Settings;

/// How long a command may take. A program that reads its files anew is told so, not waited for.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of a file with a process's number; PostgreSQL's has some more lines.
const PID_FILE_BYTES_MAX: u64 = 4096;

/// Gives every notice that is configured.
pub(super) async fn give(settings: &Settings) {
    if let Some((signal, file)) = &settings.signal
        && let Err(error) = send(*signal, file)
    {
        eprintln!("holdfast-agent: {error:#}");
    }
    if let Some(argv) = &settings.command
        && let Err(error) = run(argv).await
    {
        eprintln!("holdfast-agent: renew_command: {error:#}");
    }
}

fn send(signal: Signal, file: &Path) -> anyhow::Result<()> {
    use std::io::Read as _;
    let named = || format!("pid_file_name {}", file.display());
    let mut text = String::new();
    std::fs::File::open(file)
        .with_context(named)?
        .take(PID_FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(named)?;
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

async fn run(argv: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = argv.split_first().context("is empty")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| program.clone())?;
    match tokio::time::timeout(COMMAND_TIME_MAX, child.wait()).await {
        Ok(ended) if ended.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
        Ok(ended) => bail!("{program} failed: {}", ended?),
        Err(_) => bail!("{program} took more than {} s and was ended", COMMAND_TIME_MAX.as_secs()),
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
        run(&argv).await.unwrap();
        assert!(file.exists());
        assert!(run(&["false".to_owned()]).await.is_err());
        assert!(run(&["/no/such/program".to_owned()]).await.is_err());
    }
}
