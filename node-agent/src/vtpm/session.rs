//! A salted HMAC session, TPM 2.0 Library Part 1: who reads along without the endorsement key cannot authorise anything
//! with it. SHA-512, no parameter encryption.

use holdfast_evidence::crypto::credential::{hmac, kdfa, oaep_encrypt, random};
use holdfast_evidence::crypto::{Digest, HashAlg, Hasher};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

use super::command::{Command, NULL, Response, code};
use super::nv::SHA512;
use super::{Vtpm, VtpmFault};

/// TPM_SE_HMAC.
const HMAC_SESSION: u8 = 0;
/// TPMA_SESSION.continueSession: we flush it ourselves, whatever happens.
const CONTINUE: u8 = 1;
/// TPM_ALG_NULL.
const NO_CIPHER: u16 = 0x0010;
/// Bytes of a nonce and of the session key: SHA-512's.
const NONCE: usize = 64;
/// Bytes of the salt: of the endorsement key's Name algorithm, SHA-256.
const SALT: usize = 32;

/// An open session.
pub(super) struct Salted {
    handle: u32,
    key: Zeroizing<Vec<u8>>,
    nonce_tpm: Vec<u8>,
}

impl Vtpm {
    /// Opens a session salted for the loaded RSA endorsement key with this modulus, does `work` with it, and closes it.
    pub(super) fn with_session<T>(
        &mut self,
        endorsement_key: u32,
        modulus: &[u8],
        work: impl FnOnce(&mut Self, &mut Salted) -> Result<T, VtpmFault>,
    ) -> Result<T, VtpmFault> {
        let rng = SystemRandom::new();
        let nonce = random::<NONCE>(&rng)?;
        let salt = Zeroizing::new(random::<SALT>(&rng)?);
        let encrypted = oaep_encrypt(modulus, HashAlg::Sha256, "SECRET", salt.as_slice(), &rng)?;
        let command = Command::new("StartAuthSession", code::START_AUTH_SESSION)
            .u32(endorsement_key)
            .u32(NULL)
            .sized(&nonce)
            .sized(&encrypted)
            .u8(HMAC_SESSION)
            .u16(NO_CIPHER)
            .u16(SHA512);
        let response = self.send(command)?;
        let (handle, mut fields) = response.handle()?;
        let result = fields.sized().and_then(|nonce_tpm| {
            let key = kdfa(HashAlg::Sha512, salt.as_slice(), "ATH", nonce_tpm, &nonce, 512);
            work(self, &mut Salted { handle, key, nonce_tpm: nonce_tpm.to_vec() })
        });
        let flushed = self.flush(handle);
        result.and_then(|done| flushed.map(|()| done))
    }

    /// Sends a command that this session authorises with `password`, the value of the first handle's entity.
    pub(super) fn send_in(
        &mut self,
        session: &mut Salted,
        name: &'static str,
        code: u32,
        entities: &[(u32, &[u8])],
        password: &[u8],
        parameters: &[u8],
    ) -> Result<Response, VtpmFault> {
        let area = session.authorise(code, entities, password, parameters)?;
        let handles = entities.iter().fold(Command::new(name, code), |command, (handle, _)| command.u32(*handle));
        let response = self.send(handles.authorised(&area).bytes(parameters))?;
        if let Some(nonce) = response.nonce() {
            session.nonce_tpm = nonce;
        }
        Ok(response)
    }
}

impl Salted {
    /// The authorisation area of one command. `entities` are its handles with their Names.
    fn authorise(
        &self,
        code: u32,
        entities: &[(u32, &[u8])],
        password: &[u8],
        parameters: &[u8],
    ) -> Result<Vec<u8>, VtpmFault> {
        let nonce = random::<NONCE>(&SystemRandom::new())?;
        let digest = command_digest(code, entities.iter().map(|(_, name)| *name), parameters);
        let key = Zeroizing::new([self.key.as_slice(), password].concat());
        let parts = [digest.as_bytes(), &nonce, &self.nonce_tpm, &[CONTINUE]];
        let signed = hmac(HashAlg::Sha512, &key, &parts);
        let area = Command::new("", 0).u32(self.handle).sized(&nonce).u8(CONTINUE).sized(signed.as_bytes());
        Ok(area.body().to_vec())
    }
}

/// cpHash: command code, Names of the handles, parameters.
fn command_digest<'a>(code: u32, names: impl Iterator<Item = &'a [u8]>, parameters: &[u8]) -> Digest {
    let mut hasher = Hasher::new(HashAlg::Sha512);
    hasher.update(&code.to_be_bytes());
    names.for_each(|name| hasher.update(name));
    hasher.update(parameters);
    hasher.finish()
}
