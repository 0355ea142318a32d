//! A simulated EC2 instance with a NitroTPM: the vendor command that has the hypervisor sign a document about the TPM's
//! PCRs, with request and answer in an NV index, as AWS's `nitro-tpm-attest` uses it.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::command::{Passing, RC_AUTH_FAIL, RC_COMMAND_CODE, RC_HANDLE, code, in_session, plain};
use super::forged::SoftwareKey;
use super::front::Quoting;
use super::indices;
use crate::digest::Bank;
use crate::error::SimError;
use crate::guest::lab::Lab;
use crate::guest::nitro::{self, Asked, DocumentSpec, Measured};
use crate::guest::random;
use crate::tpm::commands;
use crate::tpm::process::Swtpm;
use crate::tpm::wire::Exchange;

const PCRS: u8 = 24;
const CAPABILITY_COMMANDS: u32 = 2;
/// TPMA_CC of the vendor command: vendor bit, two handles, index 1.
const NSM_REQUEST_ATTRIBUTES: u32 = 0x2400_0001;
/// Bytes that an index of a NitroTPM may hold, and of swtpm.
const BUFFER: u16 = 8192;
const SWTPM_BUFFER: u16 = 2048;
/// TPM_SUCCESS.
const DONE: [u8; 4] = [0; 4];

/// An instance, field by field; byte strings are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NitroTpmSpec {
    /// The instance's id, drawn at launch.
    pub instance_id: String,
    /// `module_id`.
    pub module_id: String,
    /// Region, as the leaf's name ends.
    pub region: String,
    /// A lie: PCRs in place of those of the TPM, 48 bytes each.
    pub pcrs: BTreeMap<u8, String>,
    /// A lie: the document names a key in software, which quotes what booting this profile would have measured.
    pub forged_quote: Option<String>,
    /// The document's form, and the lies that are told about it.
    pub document: DocumentSpec,
    /// What it boots.
    pub quoting: Quoting,
}

impl Default for NitroTpmSpec {
    fn default() -> Self {
        let instance_id = nitro::new_instance();
        Self {
            module_id: module(&instance_id),
            instance_id,
            region: "us-east-1".to_owned(),
            pcrs: BTreeMap::new(),
            forged_quote: None,
            document: DocumentSpec::default(),
            quoting: Quoting::default(),
        }
    }
}

impl NitroTpmSpec {
    /// Launches it anew: another instance of the same image.
    pub fn relaunch(&mut self) {
        self.instance_id = nitro::new_instance();
        self.module_id = module(&self.instance_id);
    }
}

fn module(instance_id: &str) -> String {
    format!("{instance_id}-tpm{}", "0".repeat(16))
}

/// NV indices that software has defined as large as a NitroTPM's: their passwords, and what the hypervisor answered.
#[derive(Debug, Default)]
pub(super) struct Buffers(HashMap<u32, Buffer>);

#[derive(Debug)]
struct Buffer {
    password: Vec<u8>,
    answer: Option<Vec<u8>>,
}

impl Buffers {
    /// Answers a command of the instance's software.
    pub(super) fn carry(
        &mut self,
        spec: &NitroTpmSpec,
        lab: &Lab,
        tpm: &mut Swtpm,
        command: Passing<'_>,
    ) -> Result<Vec<u8>, SimError> {
        match command.code() {
            code::GET_CAPABILITY
                if command.word(0) == Some(CAPABILITY_COMMANDS) && command.word(1) == Some(code::AWS_NSM_REQUEST) =>
            {
                let words = [CAPABILITY_COMMANDS, 1, NSM_REQUEST_ATTRIBUTES];
                let body = words.iter().flat_map(|word| word.to_be_bytes());
                Ok(plain(0, &std::iter::once(0).chain(body).collect::<Vec<u8>>()))
            }
            code::NV_DEFINE_SPACE => self.define(tpm, command),
            code::NV_UNDEFINE_SPACE => {
                let answer = tpm.exchange(command.bytes())?;
                if let Some(index) = command.word(1).filter(|_| succeeded(&answer)) {
                    self.0.remove(&index);
                }
                Ok(answer)
            }
            code::NV_READ => {
                let buffer = command.word(1).and_then(|index| self.0.get(&index));
                match buffer.and_then(|buffer| Some((buffer, buffer.answer.as_ref()?))) {
                    Some((buffer, _)) if command.password(2) != Some(buffer.password.as_slice()) => {
                        Ok(plain(RC_AUTH_FAIL, &[]))
                    }
                    Some((_, answer)) => Ok(indices::read(answer, command).unwrap_or_else(|code| plain(code, &[]))),
                    None => tpm.exchange(command.bytes()),
                }
            }
            code::AWS_NSM_REQUEST => self.attest(spec, lab, tpm, command),
            _ => tpm.exchange(command.bytes()),
        }
    }

    /// Defines an index, of swtpm's size where a NitroTPM's was asked.
    fn define(&mut self, tpm: &mut Swtpm, command: Passing<'_>) -> Result<Vec<u8>, SimError> {
        let mut bytes = command.bytes().to_vec();
        let parts = command.parameters(1).and_then(|parameters| {
            let password = command.sized(parameters.start)?;
            let public = command.sized(password.end)?;
            Some((password, public))
        });
        let Some((password, public)) = parts else { return tpm.exchange(&bytes) };
        let index = command.bytes().get(public.start..).and_then(<[u8]>::first_chunk);
        let index = index.map(|index| u32::from_be_bytes(*index));
        let size = public.end.saturating_sub(2)..public.end;
        if command.bytes().get(size.clone()) != Some(&BUFFER.to_be_bytes()) {
            return tpm.exchange(&bytes);
        }
        if let Some(place) = bytes.get_mut(size) {
            place.copy_from_slice(&SWTPM_BUFFER.to_be_bytes());
        }
        let answer = tpm.exchange(&bytes)?;
        if let Some(index) = index.filter(|_| succeeded(&answer)) {
            let password = command.bytes().get(password).unwrap_or_default().to_vec();
            self.0.insert(index, Buffer { password, answer: None });
        }
        Ok(answer)
    }

    /// The vendor command: reads the request from the index, answers into it.
    fn attest(
        &mut self,
        spec: &NitroTpmSpec,
        lab: &Lab,
        tpm: &mut Swtpm,
        command: Passing<'_>,
    ) -> Result<Vec<u8>, SimError> {
        if !command.has_sessions() {
            return Ok(plain(RC_COMMAND_CODE, &[]));
        }
        let Some(buffer) = command.word(0).and_then(|index| Some((index, self.0.get_mut(&index)?))) else {
            return Ok(plain(RC_HANDLE, &[]));
        };
        let (index, buffer) = buffer;
        let request = commands::nv_read(tpm, index, &buffer.password, usize::from(SWTPM_BUFFER))?;
        let mut answer = nitro::respond(&spec.module_id, &request, &mut |asked| document_of(spec, lab, tpm, asked))?;
        answer.resize(answer.len().max(usize::from(BUFFER)), 0xff);
        buffer.answer = Some(answer);
        // Nobody without the salt can check, or make, this session's code: it is random.
        let mac = hex::decode(random(64)).unwrap_or_default();
        Ok(in_session(&[], &hex::decode(random(64)).unwrap_or_default(), &mac))
    }
}

/// What the hypervisor signs about this TPM.
pub(super) fn document_of(
    spec: &NitroTpmSpec,
    lab: &Lab,
    tpm: &mut dyn Exchange,
    asked: &Asked,
) -> Result<Vec<u8>, SimError> {
    let pcrs = pcrs(spec, tpm)?;
    let NitroTpmSpec { module_id, instance_id, region, .. } = spec;
    let measured = Measured { module_id, instance_id, region, pcrs_key: "nitrotpm_pcrs", pcrs };
    let hypervisor = lab.hypervisor()?;
    match &spec.forged_quote {
        None => nitro::document(&measured, &spec.document, &hypervisor, asked),
        Some(_) => {
            let public_key = Some(hex::encode(SoftwareKey::of(lab)?.point()));
            nitro::document(&measured, &DocumentSpec { public_key, ..spec.document.clone() }, &hypervisor, asked)
        }
    }
}

/// The TPM's SHA-384 PCRs, with lies in place of some.
fn pcrs(spec: &NitroTpmSpec, tpm: &mut dyn Exchange) -> Result<Vec<(u8, Vec<u8>)>, SimError> {
    let mut pcrs = Vec::with_capacity(usize::from(PCRS));
    for number in 0..PCRS {
        let value = match spec.pcrs.get(&number) {
            Some(lie) => crate::guest::amd::bytes("pcrs", lie, 48)?,
            None => commands::pcr(tpm, Bank::Sha384, number.into())?,
        };
        pcrs.push((number, value));
    }
    Ok(pcrs)
}

fn succeeded(answer: &[u8]) -> bool {
    answer.get(6..10) == Some(&DONE)
}
