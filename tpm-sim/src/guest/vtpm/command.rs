//! TPM commands as bytes that pass by: what they are, and answers to them. Knows one authorisation area, no more.

use std::ops::Range;

/// A command, borrowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing<'a>(&'a [u8]);

pub(super) mod code {
    pub(crate) const NV_UNDEFINE_SPACE: u32 = 0x122;
    pub(crate) const NV_DEFINE_SPACE: u32 = 0x12a;
    pub(crate) const NV_READ: u32 = 0x14e;
    pub(crate) const QUOTE: u32 = 0x158;
    pub(crate) const NV_READ_PUBLIC: u32 = 0x169;
    pub(crate) const GET_CAPABILITY: u32 = 0x17a;
    /// TPM2_VENDOR_AWS_NSM_REQUEST.
    pub(crate) const AWS_NSM_REQUEST: u32 = 0x2000_0001;
}

pub(super) const RC_COMMAND_CODE: u32 = 0x143;
pub(super) const RC_NV_RANGE: u32 = 0x146;
/// TPM_RC_AUTH_FAIL on the first session.
pub(super) const RC_AUTH_FAIL: u32 = 0x98e;
/// TPM_RC_VALUE on the first parameter.
pub(super) const RC_VALUE: u32 = 0x1c4;
/// TPM_RC_HANDLE on the first handle.
pub(super) const RC_HANDLE: u32 = 0x18b;

const HEADER: usize = 10;
const SESSIONS: [u8; 2] = [0x80, 0x02];

impl<'a> Passing<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn code(self) -> u32 {
        self.u32(6).unwrap_or_default()
    }

    /// Handle or parameter number `at`, counted from the header's end in fours.
    pub(super) fn word(self, at: usize) -> Option<u32> {
        self.u32(HEADER + 4 * at)
    }

    pub(super) fn has_sessions(self) -> bool {
        self.0.starts_with(&SESSIONS)
    }

    /// The value in the only session, a password's, of a command with so many handles.
    pub(super) fn password(self, handles: usize) -> Option<&'a [u8]> {
        let area = self.0.get(self.authorisation(handles)?)?;
        // handle 4, nonce sized, attributes 1, value sized
        let nonce = usize::from(u16::from_be_bytes(*area.get(4..)?.first_chunk()?));
        let value = area.get(4 + 2 + nonce + 1..)?;
        let (length, value) = value.split_first_chunk::<2>()?;
        value.get(..usize::from(u16::from_be_bytes(*length)))
    }

    /// Where the parameters are, of a command with so many handles.
    pub(super) fn parameters(self, handles: usize) -> Option<Range<usize>> {
        let start = match self.has_sessions() {
            true => self.authorisation(handles)?.end,
            false => HEADER + 4 * handles,
        };
        (start <= self.0.len()).then_some(start..self.0.len())
    }

    fn authorisation(self, handles: usize) -> Option<Range<usize>> {
        let at = HEADER + 4 * handles;
        let length = usize::try_from(self.u32(at)?).ok()?;
        let start = at + 4;
        (start + length <= self.0.len()).then_some(start..start + length)
    }

    fn u32(self, at: usize) -> Option<u32> {
        self.0.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The sized buffer that starts at byte `at`: where its contents are.
    pub(super) fn sized(self, at: usize) -> Option<Range<usize>> {
        let length = usize::from(u16::from_be_bytes(*self.0.get(at..)?.first_chunk()?));
        let start = at + 2;
        (start + length <= self.0.len()).then_some(start..start + length)
    }

    pub(super) const fn bytes(self) -> &'a [u8] {
        self.0
    }
}

/// A response without sessions.
pub(super) fn plain(code: u32, parameters: &[u8]) -> Vec<u8> {
    response([0x80, 0x01], code, parameters)
}

/// The response to a command with one session: parameters, then a session area that continues and authenticates nothing.
pub(super) fn in_session(parameters: &[u8], nonce: &[u8], mac: &[u8]) -> Vec<u8> {
    let mut body = long(parameters.len()).to_vec();
    body.extend(parameters);
    for (bytes, attributes) in [(nonce, Some(1)), (mac, None)] {
        body.extend(short(bytes.len()));
        body.extend(bytes);
        body.extend(attributes);
    }
    response(SESSIONS, 0, &body)
}

fn response(tag: [u8; 2], code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    bytes.extend(long(HEADER + body.len()));
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

fn long(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

pub(super) fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_a_password_is_taken_apart() {
        let bytes =
            hex::decode("8002000000270000014e01800000018000010000000d40000009000001000412345678040000000000").unwrap();
        let command = Passing::new(&bytes);
        assert_eq!((command.code(), command.word(0), command.word(1)), (0x14e, Some(0x0180_0000), Some(0x0180_0001)));
        assert_eq!(command.password(2), Some(&[0x12, 0x34, 0x56, 0x78][..]));
        assert_eq!(command.parameters(2), Some(35..41));
        for end in 0..35 {
            let cut = Passing::new(&bytes[..end]);
            assert!(cut.password(2).is_none() && cut.parameters(2).is_none(), "{end}");
        }
    }

    #[test]
    fn responses_say_their_own_length() {
        assert_eq!(hex::encode(plain(0x143, &[])), "80010000000a00000143");
        assert_eq!(
            hex::encode(in_session(&[7, 7], &[], &[])),
            "80020000001500000000000000020707000001".to_owned() + "0000"
        );
    }
}
