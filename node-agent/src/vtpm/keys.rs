//! Keys that the TPM holds or makes from a template, and what they sign. A key that we load is flushed by us.

use holdfast_evidence::tpm::{PcrIndex, PcrSelection, PcrSet};

use super::command::{Command, ENDORSEMENT, code};
use super::{Vtpm, VtpmFault};
use crate::tpm::Signed;

/// TPM_ALG_NULL.
const NO_SCHEME: u16 = 0x0010;
/// Rounds of PCR_Read: a round answers with eight values at most, some TPMs with fewer.
const READS_MAX: usize = 24;

impl Vtpm {
    /// The TPMT_PUBLIC of the key at `handle`. One command.
    ///
    /// # Errors
    /// [`VtpmFault::Command`] where there is none.
    pub fn read_public(&mut self, handle: u32) -> Result<Vec<u8>, VtpmFault> {
        let response = self.send(Command::new("ReadPublic", code::READ_PUBLIC).u32(handle))?;
        response.parameters()?.sized().map(<[u8]>::to_vec)
    }

    /// Makes the primary key of the endorsement hierarchy that `template` (TPMT_PUBLIC) describes, and does `work` with
    /// its handle and TPMT_PUBLIC; whatever comes of that, the key is flushed.
    ///
    /// # Errors
    /// [`VtpmFault`] where the TPM refuses.
    pub fn with_primary<T>(
        &mut self,
        template: &[u8],
        work: impl FnOnce(&mut Self, u32, &[u8]) -> Result<T, VtpmFault>,
    ) -> Result<T, VtpmFault> {
        let command = Command::new("CreatePrimary", code::CREATE_PRIMARY)
            .u32(ENDORSEMENT)
            .password(&self.endorsement_auth)
            // inSensitive with neither password nor data; the template; no outside data; no creation PCRs.
            .sized(&[0, 0, 0, 0])
            .sized(template)
            .sized(&[])
            .u32(0);
        let response = self.send(command)?;
        let (handle, mut fields) = response.handle()?;
        let result = match fields.sized() {
            Ok(public) => work(self, handle, public),
            Err(fault) => Err(fault),
        };
        let flushed = self.flush(handle);
        result.and_then(|done| flushed.map(|()| done))
    }

    /// Frees a loaded key or a session.
    pub(super) fn flush(&mut self, handle: u32) -> Result<(), VtpmFault> {
        self.send(Command::new("FlushContext", code::FLUSH_CONTEXT).u32(handle)).map(drop)
    }

    /// Quotes `selection` with the key at `key`, whose password is empty. One command.
    ///
    /// # Errors
    /// [`VtpmFault`] where the TPM refuses.
    pub fn quote(&mut self, key: u32, qualifying: &[u8; 32], selection: &PcrSelection) -> Result<Signed, VtpmFault> {
        let command = Command::new("Quote", code::QUOTE)
            .u32(key)
            .password(&[])
            .sized(qualifying)
            .u16(NO_SCHEME)
            .bytes(&selection.encode());
        let response = self.send(command)?;
        let mut fields = response.parameters()?;
        let attest = fields.sized()?.to_vec();
        Ok(Signed { attest, signature: fields.rest().to_vec() })
    }

    /// PCR values, as claims: nothing signs them. Ascending.
    ///
    /// # Errors
    /// [`VtpmFault`] where the TPM refuses, or does not have one of them.
    pub fn pcr_values(&mut self, selection: &PcrSelection) -> Result<Vec<(PcrIndex, Vec<u8>)>, VtpmFault> {
        let mut values = Vec::new();
        let mut left = selection.pcrs;
        for _ in 0..READS_MAX {
            if left.is_empty() {
                break;
            }
            let asked = PcrSelection { bank: selection.bank, pcrs: left };
            let response = self.send(Command::new("PCR_Read", code::PCR_READ).bytes(&asked.encode()))?;
            let mut fields = response.parameters()?;
            fields.u32()?;
            let read = read_selection(&mut fields)?;
            let count = fields.u32()?;
            if read.is_empty() || usize::try_from(count) != Ok(read.iter().count()) || !read.without(left).is_empty() {
                return Err(fields.unexpected());
            }
            for pcr in read.iter() {
                values.push((pcr, fields.sized()?.to_vec()));
            }
            left = left.without(read);
        }
        values.sort_by_key(|(pcr, _)| *pcr);
        if left.is_empty() { Ok(values) } else { Err(VtpmFault::Answer { command: "PCR_Read" }) }
    }
}

/// The PCRs of a TPML_PCR_SELECTION with one bank.
fn read_selection(fields: &mut super::command::Fields<'_>) -> Result<PcrSet, VtpmFault> {
    if fields.u32()? != 1 {
        return Err(fields.unexpected());
    }
    fields.u16()?;
    let length = fields.u8()?;
    let map = fields.take(length.into())?;
    let numbers = map
        .iter()
        .zip((0_u32..).step_by(8))
        .flat_map(|(byte, first)| (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| first + bit));
    Ok(numbers.filter_map(PcrIndex::new).fold(PcrSet::EMPTY, PcrSet::with))
}
