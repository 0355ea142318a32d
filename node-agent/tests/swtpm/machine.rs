//! Machines for these tests: manufactured once, copied for each.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use holdfast_agent::state::StateDir;
use holdfast_agent::tpm::{Access, Interface, Patience, Tpm};
use holdfast_tpm_sim::{Machine, Powered, Profile, Vendor};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Persistent handles of the attestation key and the node key.
pub(crate) const HANDLES: (u32, u32) = (0x8148_4600, 0x8148_4601);

/// A running machine and the state directory of its agent.
pub(crate) struct Bench {
    pub(crate) machine: Powered,
    pub(crate) profile: Profile,
    pub(crate) access: Access,
    place: TempDir,
}

fn template() -> PathBuf {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let place = MADE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        Machine::manufacture(&place.path().join("machine"), &Vendor::ephemeral().unwrap(), 0).unwrap();
        place
    });
    place.path().join("machine")
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::changed(|_| ())
    }

    /// A machine whose vendor gave it no RSA certificate, and as chain only what `chain` says.
    pub(crate) fn with_one_endorsement_key(chain: bool) -> Self {
        Self::changed(|machine| {
            let firmware = Firmware::start(&machine.join("tpm"));
            firmware.tool("tpm2_nvundefine -C p 0x01c00002");
            if !chain {
                firmware.tool("tpm2_nvundefine -C p 0x01c00100");
            }
        })
    }

    /// A machine whose TPM has no endorsement certificate.
    pub(crate) fn without_endorsement() -> Self {
        Self::changed(|machine| {
            let firmware = Firmware::start(&machine.join("tpm"));
            for index in ["0x01c00002", "0x01c0000a"] {
                firmware.tool(&format!("tpm2_nvundefine -C p {index}"));
            }
        })
    }

    fn changed(change: impl FnOnce(&Path)) -> Self {
        let place = tempfile::tempdir().unwrap();
        let profile = Profile::load("shim-grub").unwrap();
        let machine = Machine::copy_of(&template(), &place.path().join("machine")).unwrap();
        change(machine.directory());
        let machine = machine.start(&profile).unwrap();
        let access = Access {
            interface: Interface::Swtpm { host: "127.0.0.1".to_owned(), port: machine.port() },
            ak_handle: HANDLES.0,
            node_key_handle: HANDLES.1,
            owner_auth: None,
            endorsement_auth: None,
            ownership: Default::default(),
        };
        machine.forget_commands();
        Self { machine, profile, access, place }
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::open(&self.place.path().join("agent")).unwrap()
    }

    /// The actor, as the agent starts it.
    pub(crate) fn tpm(&self) -> Tpm {
        Tpm::start(self.access.clone(), self.state(), Patience::default(), |stall| panic!("{stall}")).unwrap()
    }

    /// Commands that the machine has seen since the last call.
    pub(crate) fn commands(&self) -> u64 {
        let seen = self.machine.command_total();
        self.machine.forget_commands();
        seen
    }

    /// Runs one of tpm2-tools against the machine.
    pub(crate) fn tool(&self, words: &str) {
        run(words, &self.machine.tcti(), self.place.path());
    }

    /// Sends one raw command, given in hexadecimal, and leaves behind what it makes.
    pub(crate) fn command(&self, hexadecimal: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.machine.port())).unwrap();
        stream.write_all(&hex::decode(hexadecimal.replace(' ', "")).unwrap()).unwrap();
        let mut header = [0; 10];
        stream.read_exact(&mut header).unwrap();
        assert_eq!(header[6..], [0; 4], "response code");
    }

    pub(crate) fn with_owner_auth(mut self, value: &str) -> Self {
        self.access.owner_auth = Some(Zeroizing::new(value.as_bytes().to_vec()));
        self
    }
}

fn run(words: &str, tcti: &str, directory: &Path) {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command.args(words).env("TPM2TOOLS_TCTI", format!("swtpm:{tcti}")).current_dir(directory);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A TPM before any firmware has closed the platform hierarchy.
struct Firmware {
    swtpm: Child,
    port: u16,
    directory: PathBuf,
}

impl Firmware {
    fn start(state: &Path) -> Self {
        // The ports are free now, and seldom taken in the milliseconds until swtpm has them.
        let (one, port) = (40_000..60_000_u16)
            .step_by(2)
            .skip(usize::from(std::process::id() as u16 % 997))
            .find_map(|port| Some((TcpListener::bind(("127.0.0.1", port)).ok()?, port)))
            .unwrap();
        drop(one);
        let swtpm = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "startup-clear"])
            .args(["--tpmstate", &format!("dir={}", state.display())])
            .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1,disconnect")])
            .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
            .spawn()
            .unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { swtpm, port, directory: state.to_owned() }
    }

    fn tool(&self, words: &str) {
        run(words, &format!("host=127.0.0.1,port={}", self.port), &self.directory);
    }
}

impl Drop for Firmware {
    fn drop(&mut self) {
        let _ = self.swtpm.kill();
        let _ = self.swtpm.wait();
    }
}
