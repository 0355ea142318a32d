//! Machines for these tests: manufactured once, copied for each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use holdfast_agent::state::StateDir;
use holdfast_agent::tpm::{Access, Interface, Tpm};
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
        let place = tempfile::tempdir().unwrap();
        let profile = Profile::load("shim-grub").unwrap();
        let machine = Machine::copy_of(&template(), &place.path().join("machine")).unwrap().start(&profile).unwrap();
        let access = Access {
            interface: Interface::Swtpm { host: "127.0.0.1".to_owned(), port: machine.port() },
            ak_handle: HANDLES.0,
            node_key_handle: HANDLES.1,
            owner_auth: None,
            endorsement_auth: None,
        };
        machine.forget_commands();
        Self { machine, profile, access, place }
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::open(&self.place.path().join("agent")).unwrap()
    }

    /// The actor, as the agent starts it.
    pub(crate) fn tpm(&self) -> Tpm {
        Tpm::start(self.access.clone(), self.state(), |stall| panic!("{stall}")).unwrap()
    }

    /// Commands that the machine has seen since the last call.
    pub(crate) fn commands(&self) -> u64 {
        let seen = self.machine.command_total();
        self.machine.forget_commands();
        seen
    }

    /// Runs one of tpm2-tools against the machine.
    pub(crate) fn tool(&self, words: &str) {
        let mut words = words.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.args(words).env("TPM2TOOLS_TCTI", format!("swtpm:{}", self.machine.tcti()));
        let output = command.current_dir(self.place.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
