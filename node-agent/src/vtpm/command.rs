//! The bytes of commands and answers, TPM 2.0 Library Part 3: header, handles, authorisations, parameters.

use super::VtpmFault;

/// Command codes and capabilities that we use, TPM 2.0 Library Part 2.
pub(super) mod code {
    pub(in super::super) const NV_UNDEFINE_SPACE: u32 = 0x122;
    pub(in super::super) const NV_DEFINE_SPACE: u32 = 0x12a;
    pub(in super::super) const CREATE_PRIMARY: u32 = 0x131;
    pub(in super::super) const NV_WRITE: u32 = 0x137;
    pub(in super::super) const NV_READ: u32 = 0x14e;
    pub(in super::super) const QUOTE: u32 = 0x158;
    pub(in super::super) const FLUSH_CONTEXT: u32 = 0x165;
    pub(in super::super) const NV_READ_PUBLIC: u32 = 0x169;
    pub(in super::super) const READ_PUBLIC: u32 = 0x173;
    pub(in super::super) const START_AUTH_SESSION: u32 = 0x176;
    pub(in super::super) const GET_CAPABILITY: u32 = 0x17a;
    pub(in super::super) const PCR_READ: u32 = 0x17e;
    pub(in super::super) const CAPABILITY_HANDLES: u32 = 1;
    pub(in super::super) const CAPABILITY_COMMANDS: u32 = 2;
}

/// The owner hierarchy.
pub(super) const OWNER: u32 = 0x4000_0001;
/// No handle.
pub(super) const NULL: u32 = 0x4000_0007;
/// The session that is a password.
const PASSWORD: u32 = 0x4000_0009;
/// The endorsement hierarchy.
pub(super) const ENDORSEMENT: u32 = 0x4000_000b;

/// Whether a command or an answer has an authorisation area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// TPM_ST_NO_SESSIONS.
    NoSessions,
    /// TPM_ST_SESSIONS.
    Sessions,
}

impl Tag {
    const fn number(self) -> u16 {
        match self {
            Self::NoSessions => 0x8001,
            Self::Sessions => 0x8002,
        }
    }
}

/// A command in the making. Handles come first, then the authorisation, then parameters.
pub(super) struct Command {
    name: &'static str,
    code: u32,
    tag: Tag,
    body: Vec<u8>,
}

impl Command {
    pub(super) const fn new(name: &'static str, code: u32) -> Self {
        Self { name, code, tag: Tag::NoSessions, body: Vec::new() }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    pub(super) fn u8(self, value: u8) -> Self {
        self.bytes(&[value])
    }

    pub(super) fn u16(self, value: u16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// A TPM2B.
    pub(super) fn sized(self, bytes: &[u8]) -> Self {
        self.u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX)).bytes(bytes)
    }

    /// The authorisation area: one session as it is.
    pub(super) fn authorised(mut self, session: &[u8]) -> Self {
        self.tag = Tag::Sessions;
        self.u32(u32::try_from(session.len()).unwrap_or(u32::MAX)).bytes(session)
    }

    /// The authorisation area: one password.
    pub(super) fn password(self, password: &[u8]) -> Self {
        let session = Self::new("", 0).u32(PASSWORD).sized(&[]).u8(0).sized(password);
        self.authorised(session.body())
    }

    /// What was written so far: for structures inside a command.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let size = u32::try_from(self.body.len().saturating_add(10)).unwrap_or(u32::MAX);
        [&self.tag.number().to_be_bytes()[..], &size.to_be_bytes(), &self.code.to_be_bytes(), &self.body].concat()
    }
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Response {
    name: &'static str,
    tag: Tag,
    body: Vec<u8>,
}

impl Response {
    pub(super) fn parse(name: &'static str, bytes: Vec<u8>) -> Result<Self, VtpmFault> {
        let unexpected = VtpmFault::Answer { command: name };
        let Some((header, body)) = bytes.split_first_chunk::<10>() else { return Err(unexpected) };
        let [t0, t1, s0, s1, s2, s3, c0, c1, c2, c3] = *header;
        if usize::try_from(u32::from_be_bytes([s0, s1, s2, s3])) != Ok(bytes.len()) {
            return Err(unexpected);
        }
        match u32::from_be_bytes([c0, c1, c2, c3]) {
            0 => {}
            code => return Err(VtpmFault::Command { command: name, code }),
        }
        let tag = match u16::from_be_bytes([t0, t1]) {
            0x8001 => Tag::NoSessions,
            0x8002 => Tag::Sessions,
            _ => return Err(unexpected),
        };
        Ok(Self { name, tag, body: body.to_vec() })
    }

    /// The parameters of an answer without handle.
    pub(super) fn parameters(&self) -> Result<Fields<'_>, VtpmFault> {
        self.split(Fields { name: self.name, rest: &self.body }).map(|(parameters, _)| parameters)
    }

    /// The handle, and the parameters behind it.
    pub(super) fn handle(&self) -> Result<(u32, Fields<'_>), VtpmFault> {
        let mut fields = Fields { name: self.name, rest: &self.body };
        let handle = fields.u32()?;
        self.split(fields).map(|(parameters, _)| (handle, parameters))
    }

    /// The TPM's next nonce in the session of an answer without handle; `None` where it has no session.
    pub(super) fn nonce(&self) -> Option<Vec<u8>> {
        let (_, mut session) = self.split(Fields { name: self.name, rest: &self.body }).ok()?;
        session.sized().map(<[u8]>::to_vec).ok()
    }

    /// Parameters, and the session area behind them.
    fn split<'a>(&self, mut fields: Fields<'a>) -> Result<(Fields<'a>, Fields<'a>), VtpmFault> {
        if self.tag == Tag::NoSessions {
            return Ok((fields, Fields { name: self.name, rest: &[] }));
        }
        let size = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
        let parameters = fields.take(size)?;
        Ok((Fields { name: self.name, rest: parameters }, fields))
    }
}

/// Reads fields front to back.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    name: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn unexpected(&self) -> VtpmFault {
        VtpmFault::Answer { command: self.name }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], VtpmFault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(self.unexpected())?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], VtpmFault> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(self.unexpected())?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, VtpmFault> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, VtpmFault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, VtpmFault> {
        self.array().map(u32::from_be_bytes)
    }

    /// A TPM2B's content.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], VtpmFault> {
        let length = self.u16()?;
        self.take(length.into())
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}
