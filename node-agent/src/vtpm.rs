//! A virtual TPM whose attestation key is the provider's (Azure, Google) or whose attestation goes by a vendor command
//! (NitroTPM): raw commands over a file descriptor of our own, without libtss2, which knows no vendor command.
//!
//! Makes no key of ours persistent and leaves nothing behind. Judges nothing.

mod command;
mod fault;
mod keys;
mod nsm;
mod nv;
mod session;
mod transport;

use zeroize::Zeroizing;

pub use fault::VtpmFault;
pub use nsm::NSM_REQUEST;
pub use nv::NvPublic;
pub use transport::{Transport, open};

use crate::tpm::Access;

use command::{Command, Response, code};

/// First NV handle that is listed when looking for a provider's indices: what stands below is the owner's.
pub const PROVIDER_INDICES: u32 = 0x0140_0000;
/// Handles or command codes asked for in one command.
const LISTED_MAX: u32 = 254;
/// Tries of a command that the TPM asks to send again.
const TRIES_MAX: u32 = 20;
/// The pause between them.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_millis(50);

/// An open virtual TPM. Every call blocks: use it on a thread that may.
pub struct Vtpm {
    transport: Box<dyn Transport>,
    owner_auth: Zeroizing<Vec<u8>>,
    endorsement_auth: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Vtpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vtpm")
    }
}

impl Vtpm {
    /// Speaks over `transport`; both hierarchies' authorisation values are empty.
    #[must_use]
    pub fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport, owner_auth: Zeroizing::default(), endorsement_auth: Zeroizing::default() }
    }

    /// Opens the TPM that the agent is configured for.
    ///
    /// # Errors
    /// [`VtpmFault::Open`].
    pub fn open(access: &Access) -> Result<Self, VtpmFault> {
        Ok(Self {
            transport: open(&access.interface)?,
            owner_auth: access.owner_auth.clone().unwrap_or_default(),
            endorsement_auth: access.endorsement_auth.clone().unwrap_or_default(),
        })
    }

    /// The handles in use from `first` on, of the same type as `first`. One command.
    ///
    /// # Errors
    /// [`VtpmFault`] where the TPM refuses.
    pub fn handles(&mut self, first: u32) -> Result<Vec<u32>, VtpmFault> {
        self.capability("GetCapability", code::CAPABILITY_HANDLES, first, LISTED_MAX)
    }

    /// Whether the TPM lists a command with this code, vendor bit and all. One command.
    ///
    /// # Errors
    /// [`VtpmFault`] where the TPM refuses.
    pub fn has_command(&mut self, command: u32) -> Result<bool, VtpmFault> {
        /// TPMA_CC: the index in bits 0 to 15, the vendor bit 29.
        const CODE: u32 = 0x2000_ffff;
        let listed = self.capability("GetCapability", code::CAPABILITY_COMMANDS, command, 1)?;
        Ok(listed.iter().any(|attributes| attributes & CODE == command))
    }

    fn capability(
        &mut self,
        name: &'static str,
        capability: u32,
        first: u32,
        count: u32,
    ) -> Result<Vec<u32>, VtpmFault> {
        let command = Command::new(name, code::GET_CAPABILITY).u32(capability).u32(first).u32(count);
        let response = self.send(command)?;
        let mut reader = response.parameters()?;
        reader.u8()?;
        if reader.u32()? != capability {
            return Err(reader.unexpected());
        }
        let count = reader.u32()?;
        (0..count.min(LISTED_MAX)).map(|_| reader.u32()).collect()
    }

    /// Sends one command and waits for its answer; again where the TPM says that it was not ready.
    fn send(&mut self, command: Command) -> Result<Response, VtpmFault> {
        let name = command.name();
        let bytes = command.finish();
        let mut tries = 0;
        loop {
            tries += 1;
            let answer =
                self.transport.transmit(&bytes).map_err(|source| VtpmFault::Transport { command: name, source })?;
            match Response::parse(name, answer) {
                Err(fault) if fault.asks_again() && tries < TRIES_MAX => std::thread::sleep(RETRY_AFTER),
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use super::*;

    /// Answers what it was told to, in order.
    struct Told(VecDeque<Vec<u8>>);

    impl Transport for Told {
        fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
            self.0.pop_front().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn told(answers: &[&str]) -> Vtpm {
        let answers = answers.iter().map(|answer| hex::decode(answer.replace(' ', "")).unwrap()).collect();
        Vtpm::new(Box::new(Told(answers)))
    }

    const HANDLES: &str = "8001 0000001b 00000000 00 00000001 00000002 01400001 01c10000";

    #[test]
    fn a_command_is_sent_again_where_the_tpm_asks_for_it() {
        let mut vtpm = told(&["8001 0000000a 00000922", HANDLES]);
        assert_eq!(vtpm.handles(PROVIDER_INDICES).unwrap(), [0x0140_0001, 0x01c1_0000]);
        let fault = told(&["8001 0000000a 0000018b"]).handles(PROVIDER_INDICES).unwrap_err();
        assert_eq!(fault.code(), "agent.vtpm.command");
        assert!(fault.to_string().contains("0x18b"), "{fault}");
    }

    #[test]
    fn answers_that_are_none_are_refused() {
        for answer in
            ["", "8001 0000000b 00000000", "8001 00000013 00000000 00 00000002 00000000", &HANDLES[..HANDLES.len() - 9]]
        {
            let fault = told(&[answer]).handles(PROVIDER_INDICES).unwrap_err();
            assert_eq!(fault.code(), "agent.vtpm.answer", "{answer}");
        }
    }

    #[test]
    fn a_vendor_command_is_told_from_its_neighbours() {
        let listed = |attributes: &str| format!("8001 00000017 00000000 00 00000002 00000001 {attributes}");
        for (attributes, has) in [("24000001", true), ("24000002", false), ("04000001", false)] {
            assert_eq!(told(&[&listed(attributes)]).has_command(0x2000_0001).unwrap(), has, "{attributes}");
        }
    }
}
