//! NV indices: read those of the provider, and define one of our own as a buffer for a vendor command.

use zeroize::Zeroizing;

use super::command::{Command, OWNER, code};
use super::{Vtpm, VtpmFault};

/// Bytes read or written at once; TPMs' buffers are 768 to 2048, and one that refuses is asked for less.
const PIECE_BYTES: [u16; 2] = [1024, 512];
/// TPMA_NV_OWNERREAD and TPMA_NV_AUTHREAD.
const OWNER_READ: u32 = 1 << 17;
const AUTH_READ: u32 = 1 << 18;
/// TPMA_NV_AUTHWRITE and AUTHREAD: only who knows the index's own password.
const BUFFER_ATTRIBUTES: u32 = 1 << 2 | AUTH_READ;
/// Where free indices for a buffer are looked for: the owner's range of TCG's registry.
const BUFFERS: std::ops::RangeInclusive<u32> = 0x0180_0000..=0x0180_00ff;
/// TPM_ALG_SHA512.
pub(super) const SHA512: u16 = 0x000d;

/// What an index is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvPublic {
    /// TPMA_NV.
    pub attributes: u32,
    /// Bytes that it holds.
    pub size: u16,
    /// Its Name, algorithm first.
    pub name: Vec<u8>,
}

impl Vtpm {
    /// What the index is. One command.
    ///
    /// # Errors
    /// [`VtpmFault::Command`] where it is not defined.
    pub fn nv_public(&mut self, index: u32) -> Result<NvPublic, VtpmFault> {
        let response = self.send(Command::new("NV_ReadPublic", code::NV_READ_PUBLIC).u32(index))?;
        let mut fields = response.parameters()?;
        let public = fields.sized()?;
        let name = fields.sized()?.to_vec();
        // TPMS_NV_PUBLIC: index, Name algorithm, attributes, policy, size.
        let attributes = public.get(6..10).and_then(<[u8]>::first_chunk).ok_or(fields.unexpected())?;
        let size = public.last_chunk().ok_or(fields.unexpected())?;
        Ok(NvPublic { attributes: u32::from_be_bytes(*attributes), size: u16::from_be_bytes(*size), name })
    }

    /// What the index holds, whole, read with an empty password: its own, else the owner's.
    ///
    /// # Errors
    /// [`VtpmFault`] where it is not defined, larger than `limit`, or not ours to read.
    pub fn nv_read(&mut self, index: u32, limit: usize) -> Result<Vec<u8>, VtpmFault> {
        let public = self.nv_public(index)?;
        if usize::from(public.size) > limit {
            return Err(VtpmFault::TooLarge { index, found: public.size.into(), limit });
        }
        let (by, password) = match public.attributes {
            attributes if attributes & AUTH_READ != 0 => (index, Zeroizing::default()),
            attributes if attributes & OWNER_READ != 0 => (OWNER, self.owner_auth.clone()),
            _ => return Err(VtpmFault::Unreadable { index }),
        };
        self.nv_read_by(index, by, &password, public.size.into())
    }

    /// The first `size` bytes of an index, read as `by` with `password`.
    pub(super) fn nv_read_by(
        &mut self,
        index: u32,
        by: u32,
        password: &[u8],
        size: usize,
    ) -> Result<Vec<u8>, VtpmFault> {
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            let part = self.nv_read_part(index, by, password, bytes.len(), size - bytes.len())?;
            bytes.extend(part);
        }
        Ok(bytes)
    }

    /// Up to `most` bytes from `offset` on, at least one.
    fn nv_read_part(
        &mut self,
        index: u32,
        by: u32,
        password: &[u8],
        offset: usize,
        most: usize,
    ) -> Result<Vec<u8>, VtpmFault> {
        let offset = u16::try_from(offset).unwrap_or(u16::MAX);
        let mut pieces = PIECE_BYTES.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let length = piece.min(u16::try_from(most).unwrap_or(u16::MAX));
            let command =
                Command::new("NV_Read", code::NV_READ).u32(by).u32(index).password(password).u16(length).u16(offset);
            match self.send(command) {
                Ok(response) => {
                    let mut fields = response.parameters()?;
                    return fields
                        .sized()
                        .map(<[u8]>::to_vec)
                        .and_then(|part| if part.is_empty() { Err(fields.unexpected()) } else { Ok(part) });
                }
                Err(fault) if fault.is_size() && pieces.peek().is_some() => {}
                Err(fault) => return Err(fault),
            }
        }
        Err(VtpmFault::Answer { command: "NV_Read" })
    }

    /// Defines a buffer of `size` bytes that only `password` reads and writes, and says where.
    pub(super) fn nv_define_buffer(&mut self, password: &[u8], size: u16) -> Result<u32, VtpmFault> {
        let taken = self.handles(*BUFFERS.start())?;
        let index = BUFFERS.into_iter().find(|index| !taken.contains(index)).ok_or(VtpmFault::NoIndex)?;
        let public = Command::new("", 0).u32(index).u16(SHA512).u32(BUFFER_ATTRIBUTES).sized(&[]).u16(size);
        let command = Command::new("NV_DefineSpace", code::NV_DEFINE_SPACE)
            .u32(OWNER)
            .password(&self.owner_auth)
            .sized(password)
            .sized(public.body());
        self.send(command)?;
        Ok(index)
    }

    /// Removes a buffer.
    pub(super) fn nv_undefine(&mut self, index: u32) -> Result<(), VtpmFault> {
        let command =
            Command::new("NV_UndefineSpace", code::NV_UNDEFINE_SPACE).u32(OWNER).u32(index).password(&self.owner_auth);
        self.send(command).map(drop)
    }
}
