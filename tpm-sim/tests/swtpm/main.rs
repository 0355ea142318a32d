//! Machines on a real swtpm. Judges that are not ours (tpm2-tools, openssl) look at what they leave; a test says so
//! where a judge is absent.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod activation;
mod judges;
mod lies;
mod machine;
mod ports;
mod program;
mod reference;
mod verifier;

use std::path::Path;
use std::sync::OnceLock;

use holdfast_tpm_sim::{Factory, Powered, Profile};

/// The stock of manufactured machines, shared by all tests of this run and kept for the next.
fn factory() -> &'static Factory {
    static FACTORY: OnceLock<Factory> = OnceLock::new();
    FACTORY.get_or_init(|| Factory::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("tpm-sim")).unwrap())
}

/// A machine of the stock, booted; it lives as long as the directory.
fn booted(index: usize, profile: &str) -> (tempfile::TempDir, Powered) {
    let directory = tempfile::tempdir().unwrap();
    let machine = factory().machine(index, &directory.path().join("machine")).unwrap();
    let machine = machine.start(&profile_of(profile)).unwrap();
    (directory, machine)
}

fn profile_of(name: &str) -> Profile {
    Profile::load(name).unwrap()
}

/// Runs a judge and returns its standard output; `None`, with the reason printed, where it is not installed.
fn judge(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).envs(environment.iter().copied()).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?} refused: {errors}");
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        }
    }
}
