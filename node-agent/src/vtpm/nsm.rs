//! NitroTPM's vendor command: a request of the Nitro Secure Module, carried in an NV index that the TPM reads it from and
//! writes the answer to. As AWS's `nitro-tpm-attest` does it (github.com/aws/NitroTPM-Tools), but for the session that
//! also writes the request. Never run on hardware by us.

use holdfast_evidence::crypto::credential::random;
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::command::{Command, code};
use super::{Vtpm, VtpmFault};
use crate::tpm::endorsement_template;

/// TPM2_VENDOR_AWS_NSM_REQUEST: two handles, both the index; no parameters.
pub const NSM_REQUEST: u32 = 0x2000_0001;
/// Bytes of the index: a document takes about five thousand, and what is asked to stand in it three times a thousand.
const BUFFER_BYTES: u16 = 8192;
/// Bytes of the index's password.
const PASSWORD: usize = 64;
/// Bytes written at once: below every TPM's buffer.
const PIECE_BYTES: usize = 512;
/// Bytes of an RSA-2048 modulus, the end of the endorsement key's TPMT_PUBLIC.
const MODULUS: usize = 256;

impl Vtpm {
    /// Sends a CBOR request and returns the index as the TPM left it: the CBOR answer, and whatever stood behind it.
    /// Nothing stays in the TPM.
    ///
    /// # Errors
    /// [`VtpmFault`]; [`VtpmFault::is_unknown_command`] where this is no NitroTPM.
    pub fn nsm(&mut self, request: &[u8]) -> Result<Vec<u8>, VtpmFault> {
        let mut password = Zeroizing::new(random::<PASSWORD>(&SystemRandom::new())?);
        // The TPM drops zeros at the end of a password.
        if let Some(last) = password.last_mut() {
            *last |= 1;
        }
        self.with_primary(&endorsement_template(), |vtpm, key, public| {
            let modulus = public.last_chunk::<MODULUS>().ok_or(VtpmFault::Answer { command: "CreatePrimary" })?;
            let index = vtpm.nv_define_buffer(password.as_slice(), BUFFER_BYTES)?;
            let exchanged = vtpm.exchange(key, modulus, index, password.as_slice(), request);
            let undefined = vtpm.nv_undefine(index);
            exchanged.and_then(|answer| undefined.map(|()| answer))
        })
    }

    fn exchange(
        &mut self,
        key: u32,
        modulus: &[u8],
        index: u32,
        password: &[u8],
        request: &[u8],
    ) -> Result<Vec<u8>, VtpmFault> {
        self.with_session(key, modulus, |vtpm, session| {
            for (number, piece) in request.chunks(PIECE_BYTES).enumerate() {
                // The first write changes the index's Name.
                let name = vtpm.nv_public(index)?.name;
                let offset = u16::try_from(number * PIECE_BYTES).unwrap_or(u16::MAX);
                let parameters = Command::new("", 0).sized(piece).u16(offset);
                let entities = [(index, name.as_slice()), (index, name.as_slice())];
                vtpm.send_in(session, "NV_Write", code::NV_WRITE, &entities, password, parameters.body())?;
            }
            let name = vtpm.nv_public(index)?.name;
            let entities = [(index, name.as_slice()), (index, name.as_slice())];
            vtpm.send_in(session, "AWS_NSM_Request", NSM_REQUEST, &entities, password, &[])
        })?;
        self.nv_read_by(index, index, password, BUFFER_BYTES.into())
    }
}
