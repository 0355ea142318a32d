//! The published Python clients, in a virtual environment below the build directory, made once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use holdfast_tests::Output;

/// What is installed. `spiffe` speaks gRPC by the C core, as C++, Ruby and PHP do.
const PACKAGES: &[&str] = &["spiffe==0.3.2"];

/// The interpreter of an environment that has `packages`; `None`, with the reason printed, where pip cannot install them.
pub(crate) fn environment(packages: &[&str]) -> Option<PathBuf> {
    static MADE: Mutex<BTreeMap<String, Option<PathBuf>>> = Mutex::new(BTreeMap::new());
    let name = packages.join("-");
    MADE.lock()
        .unwrap()
        .entry(name.clone())
        .or_insert_with(|| match make(&name, packages) {
            Ok(python) => Some(python),
            Err(why) => {
                eprintln!("SKIPPED: no Python with {packages:?}: {why}");
                None
            }
        })
        .clone()
}

fn make(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let folder = target.join(format!("python-{name}"));
    let python = folder.join("bin/python");
    if folder.join("made").exists() {
        return Ok(python);
    }
    let run = |command: &mut Command| {
        let output = Output::of(command.stdin(Stdio::null())).map_err(|error| error.to_string())?;
        if output.code == 0 { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
    };
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
    std::fs::write(folder.join("made"), "").map_err(|error| error.to_string())?;
    Ok(python)
}

/// A script that runs with the packages, and hears of `socket` by the standard's variable.
pub(crate) fn script(text: &str, socket: &Path) -> Option<tokio::process::Command> {
    let mut command = tokio::process::Command::new(environment(PACKAGES)?);
    command.arg("-c").arg(text).env("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", socket.display()));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Some(command)
}

/// Runs a script to its end. Its standard output; `None` where it cannot run here.
pub(crate) async fn run(text: &str, socket: &Path) -> Option<String> {
    let mut command = script(text, socket)?;
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), command.output()).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}
