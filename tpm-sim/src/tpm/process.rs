//! One swtpm process. It is reached over two socket pairs that it inherits: no port, no path, and when this process
//! dies, however it dies, swtpm sees its data channel close and ends too.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::SimError;
use crate::tpm::wire::{Exchange, HEADER_BYTES, MESSAGE_BYTES_MAX};

/// Longest time swtpm may take for one command; an RSA key takes a second on a busy machine.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long swtpm may take to end after it was told to.
const END_WITHIN: Duration = Duration::from_secs(2);

/// swtpm's state, below a machine's directory.
pub(crate) const STATE: &str = "tpm";
/// swtpm's own log, below a machine's directory.
pub(crate) const LOG: &str = "swtpm.log";

const CONTROL_INIT: u32 = 2;
const CONTROL_SHUTDOWN: u32 = 3;
const CONTROL_SET_LOCALITY: u32 = 5;
const CONTROL_STOP: u32 = 14;

/// A running swtpm. Between [`Swtpm::power_on`] and [`Swtpm::power_off`] its TPM has power.
#[derive(Debug)]
pub(crate) struct Swtpm {
    child: Child,
    data: UnixStream,
    control: UnixStream,
    log: PathBuf,
    /// Counts power cycles; a command read from a client in an earlier one is not carried into a later one.
    pub(crate) power_cycle: u64,
}

impl Swtpm {
    /// Starts swtpm in `directory`, on its state in [`STATE`], which may be empty; its TPM has no power yet.
    pub(crate) fn spawn(directory: &Path) -> Result<Self, SimError> {
        let log = directory.join(LOG);
        let failed = |source| SimError::Swtpm { what: "start", log: directory.join(LOG), source: Some(source) };
        let (data, its_data) = UnixStream::pair().map_err(failed)?;
        let (control, its_control) = UnixStream::pair().map_err(failed)?;
        data.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
        control.set_read_timeout(Some(ANSWER_WITHIN)).map_err(failed)?;
        // swtpm refuses the descriptors 0 to 2, so a shell moves its input and output to 3 and 4.
        let child = Command::new("/bin/sh")
            .args(["-c", "exec swtpm \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null", "swtpm", "socket", "--tpm2"])
            .args(["--fd", "3", "--ctrl", "type=unixio,clientfd=4"])
            .args(["--tpmstate", &format!("dir={STATE}"), "--log", &format!("file={LOG}")])
            .current_dir(directory) // relative names: swtpm's options cannot carry a comma
            .stdin(Stdio::from(OwnedFd::from(its_data)))
            .stdout(Stdio::from(OwnedFd::from(its_control)))
            .stderr(Stdio::null())
            .process_group(0) // Ctrl-C in a terminal reaches us, and we stop it in order
            .spawn()
            .map_err(SimError::SwtpmMissing)?;
        Ok(Self { child, data, control, log, power_cycle: 0 })
    }

    /// `_TPM_Init`: power, but no TPM2_Startup yet.
    pub(crate) fn power_on(&mut self) -> Result<(), SimError> {
        self.power_cycle += 1;
        match self.order("power on", CONTROL_INIT, &0u32.to_be_bytes()) {
            Err(SimError::Swtpm { source: Some(source), .. }) if self.ended_at_once() => {
                Err(SimError::SwtpmMissing(source))
            }
            other => other,
        }
    }

    /// Cuts the power; what TPM2_Shutdown did not save is lost.
    pub(crate) fn power_off(&mut self) -> Result<(), SimError> {
        self.order("power off", CONTROL_STOP, &[])
    }

    /// The locality of the commands that follow.
    pub(crate) fn locality(&mut self, locality: u8) -> Result<(), SimError> {
        self.order("set locality", CONTROL_SET_LOCALITY, &[locality])
    }

    /// swtpm's process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the shell found no swtpm (exit code 127).
    fn ended_at_once(&mut self) -> bool {
        matches!(self.child.wait().map(|status| status.code()), Ok(Some(127)))
    }

    fn order(&mut self, what: &'static str, code: u32, payload: &[u8]) -> Result<(), SimError> {
        let log = self.log.clone();
        let mut answer = [0u8; 4];
        let mut talk = |control: &mut UnixStream| -> std::io::Result<()> {
            let mut message = code.to_be_bytes().to_vec();
            message.extend_from_slice(payload);
            control.write_all(&message)?;
            control.read_exact(&mut answer)
        };
        talk(&mut self.control).map_err(|source| SimError::Swtpm { what, log: log.clone(), source: Some(source) })?;
        match u32::from_be_bytes(answer) {
            0 => Ok(()),
            _ => Err(SimError::Swtpm { what, log, source: None }),
        }
    }
}

impl Exchange for Swtpm {
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, SimError> {
        let log = self.log.clone();
        let talk = |data: &mut UnixStream| -> std::io::Result<Vec<u8>> {
            data.write_all(command)?;
            read_message(data)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
        };
        talk(&mut self.data).map_err(|source| SimError::Swtpm { what: "a command", log, source: Some(source) })
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.order("shut down", CONTROL_SHUTDOWN, &[]);
        let _ = self.data.shutdown(std::net::Shutdown::Both);
        let _ = self.control.shutdown(std::net::Shutdown::Both);
        let deadline = Instant::now() + END_WITHIN;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads one whole command or response; `None` at a clean end of the stream.
///
/// # Errors
/// `InvalidData` if the size field lies outside header and [`MESSAGE_BYTES_MAX`]; what the stream says otherwise.
pub(crate) fn read_message(stream: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut message = vec![0u8; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        let Some(rest) = message.get_mut(filled..) else { break };
        match stream.read(rest)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let size = match message.get(2..6).map(<[u8; 4]>::try_from) {
        Some(Ok(field)) => u32::from_be_bytes(field) as usize,
        _ => 0,
    };
    if !(HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&size) {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    message.resize(size, 0);
    if let Some(body) = message.get_mut(HEADER_BYTES..) {
        stream.read_exact(body)?;
    }
    Ok(Some(message))
}
