//! TPM 2.0 command and response bytes. Knows headers, password sessions and sized buffers; knows no command.

use crate::error::SimError;

/// Longest command or response carried, in bytes; swtpm's own buffer is 4096.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4096;
/// Bytes of a command or response header: tag, size, code.
pub(crate) const HEADER_BYTES: usize = 10;

const TAG_NO_SESSIONS: u16 = 0x8001;
const TAG_SESSIONS: u16 = 0x8002;
const PASSWORD_SESSION: u32 = 0x4000_0009;

/// A command in the making.
pub(crate) struct Command {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Command {
    /// A command without handles that need authorisation.
    pub(crate) fn plain(name: &'static str, code: u32, handles: &[u32]) -> Self {
        Self::start(name, code, handles, TAG_NO_SESSIONS)
    }

    /// A command whose first handle is authorised by the empty password.
    pub(crate) fn authorised(name: &'static str, code: u32, handles: &[u32]) -> Self {
        Self::start(name, code, handles, TAG_SESSIONS).u32(9).u32(PASSWORD_SESSION).sized(&[]).u8(0).sized(&[])
    }

    /// A command whose first handle is authorised by a password.
    pub(crate) fn by_password(name: &'static str, code: u32, handles: &[u32], password: &[u8]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "passwords are as long as a digest at most")]
        let area = 9 + password.len() as u32;
        Self::start(name, code, handles, TAG_SESSIONS).u32(area).u32(PASSWORD_SESSION).sized(&[]).u8(0).sized(password)
    }

    fn start(name: &'static str, code: u32, handles: &[u32], tag: u16) -> Self {
        let mut command = Self { name, bytes: Vec::with_capacity(256) };
        command = command.u16(tag).u32(0).u32(code);
        for handle in handles {
            command = command.u32(*handle);
        }
        command
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A TPM2B: 16-bit size, then the bytes.
    pub(crate) fn sized(self, bytes: &[u8]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "buffers of our own making, all below 4096 bytes")]
        let size = bytes.len() as u16;
        self.u16(size).raw(bytes)
    }

    /// Sends the command and checks the response code.
    pub(crate) fn run(mut self, tpm: &mut dyn Exchange) -> Result<Response, SimError> {
        #[expect(clippy::cast_possible_truncation, reason = "commands of our own making, all below 4096 bytes")]
        let size = (self.bytes.len() as u32).to_be_bytes();
        if let Some(field) = self.bytes.get_mut(2..6) {
            field.copy_from_slice(&size);
        }
        let bytes = tpm.exchange(&self.bytes)?;
        let mut response = Response { command: self.name, bytes, at: 6 };
        let code = response.u32()?;
        if code != 0 {
            return Err(SimError::Refused { command: self.name, code });
        }
        Ok(response)
    }
}

/// Where a command goes: bytes in, the whole response out.
pub(crate) trait Exchange {
    /// # Errors
    /// [`SimError::Swtpm`] if the TPM is gone.
    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, SimError>;
}

/// A successful response, read from front to back. The handle area comes first, if the command has one.
pub(crate) struct Response {
    command: &'static str,
    bytes: Vec<u8>,
    at: usize,
}

impl Response {
    /// Skips the parameter size that stands between handles and parameters where sessions were used.
    pub(crate) fn parameters(&mut self) -> Result<(), SimError> {
        self.u32().map(|_| ())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, SimError> {
        self.take(1)?.first().copied().ok_or(SimError::ShortResponse { command: self.command })
    }

    pub(crate) fn u16(&mut self) -> Result<u16, SimError> {
        let short = SimError::ShortResponse { command: self.command };
        self.take(2)?.try_into().map(u16::from_be_bytes).map_err(|_| short)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, SimError> {
        let short = SimError::ShortResponse { command: self.command };
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| short)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, SimError> {
        let short = SimError::ShortResponse { command: self.command };
        self.take(8)?.try_into().map(u64::from_be_bytes).map_err(|_| short)
    }

    /// A TPM2B's contents.
    pub(crate) fn sized(&mut self) -> Result<Vec<u8>, SimError> {
        let size = usize::from(self.u16()?);
        self.take(size).map(<[u8]>::to_vec)
    }

    pub(crate) fn take(&mut self, size: usize) -> Result<&[u8], SimError> {
        let short = SimError::ShortResponse { command: self.command };
        let end = self.at.checked_add(size).ok_or(SimError::ShortResponse { command: self.command })?;
        let taken = self.bytes.get(self.at..end).ok_or(short)?;
        self.at = end;
        Ok(taken)
    }
}
