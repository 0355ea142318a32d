//! A running machine's TPM, from another process: over its data port, like any software on the machine.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::SimError;
use crate::tpm::process::read_message;
use crate::tpm::wire::Exchange;

/// Longest time for one command; an RSA key takes a second on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// A connection to a data port.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    machine: PathBuf,
}

impl Client {
    /// Connects to the port of the machine in that directory.
    pub(crate) fn connect(port: u16, machine: &Path) -> Result<Self, SimError> {
        let failed = |error: std::io::Error| gone(machine, &error);
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
        Ok(Self { stream, machine: machine.to_owned() })
    }
}

impl Exchange for Client {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, SimError> {
        let mut talk = || {
            self.stream.write_all(command)?;
            read_message(&mut self.stream)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
        };
        talk().map_err(|error: std::io::Error| gone(&self.machine, &error))
    }
}

fn gone(machine: &Path, error: &std::io::Error) -> SimError {
    SimError::Console { path: machine.to_owned(), problem: format!("its TPM does not answer: {error}") }
}
