//! Activates credentials: the proof that an endorsement key and our attestation key live in the same chip.
//!
//! One policy session serves all keys: PolicySecret and ActivateCredential for each, and the last use ends it. A failed
//! use leaves it open, so it is flushed then.

use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::SessionType;
use tss_esapi::handles::{AuthHandle, KeyHandle, ObjectHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, EncryptedSecret, IdObject, Nonce, Public, SymmetricDefinition};
use tss_esapi::traits::UnMarshall;
use zeroize::Zeroizing;

use super::super::TpmFault;
use super::super::chip::Chip;
use super::super::identity::Open;
use super::super::templates;
use super::{KeyRecord, PLACES, recorded};

/// An endorsement key that is ready for use.
struct Loaded {
    handle: KeyHandle,
    persistent: bool,
}

pub(super) fn activate(
    open: &mut Open,
    credentials: &[(Vec<u8>, Vec<u8>)],
) -> Result<Vec<Zeroizing<Vec<u8>>>, TpmFault> {
    let keys = open.record.endorsement.as_ref().map(|record| record.keys.clone()).unwrap_or_default();
    if keys.is_empty() || keys.len() != credentials.len() {
        return Err(TpmFault::Form { what: "server's request", expected: "one credential for each endorsement key" });
    }
    let session = start(&mut open.chip)?;
    let mut secrets = Vec::new();
    for (number, (key, credential)) in keys.iter().zip(credentials).enumerate() {
        match one(open, key, credential, session, number + 1 < keys.len()) {
            Ok(secret) => secrets.push(secret),
            Err(fault) => {
                // Best effort: the session may be what failed.
                let _ = open.chip.flush(ObjectHandle::from(SessionHandle::from(session)));
                return Err(fault);
            }
        }
    }
    // The chip has ended the session with its last use. The library does not know that, and would flush the handle once
    // more at the end; its books are put right, which it answers with an error of its own.
    let mut ended = ObjectHandle::from(SessionHandle::from(session));
    let _ = open.chip.library(|context| context.tr_close(&mut ended));
    Ok(secrets)
}

fn start(chip: &mut Chip) -> Result<PolicySession, TpmFault> {
    let session = chip.command("StartAuthSession", |context| {
        context.start_auth_session(
            None,
            None,
            None,
            SessionType::Policy,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )
    })?;
    session
        .and_then(|session| PolicySession::try_from(session).ok())
        .ok_or(TpmFault::Form { what: "session", expected: "a policy session" })
}

fn one(
    open: &mut Open,
    key: &KeyRecord,
    (id_object, encrypted_secret): &(Vec<u8>, Vec<u8>),
    session: PolicySession,
    more_follow: bool,
) -> Result<Zeroizing<Vec<u8>>, TpmFault> {
    let form = || TpmFault::Form { what: "credential", expected: "TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET" };
    let id_object = contents(id_object).and_then(|bytes| IdObject::try_from(bytes).ok()).ok_or_else(form)?;
    let encrypted_secret =
        contents(encrypted_secret).and_then(|bytes| EncryptedSecret::try_from(bytes).ok()).ok_or_else(form)?;

    let loaded = load(&mut open.chip, key)?;
    let ak = open.ak;
    let activated = allow(&mut open.chip, session, more_follow).and_then(|()| {
        let sessions = (Some(AuthSession::Password), Some(AuthSession::from(session)), None);
        open.chip.command("ActivateCredential", |context| {
            context.execute_with_sessions(sessions, |context| {
                context.activate_credential(ak, loaded.handle, id_object, encrypted_secret)
            })
        })
    });
    if !loaded.persistent {
        let flushed = open.chip.flush(ObjectHandle::from(loaded.handle));
        if activated.is_ok() {
            flushed?;
        }
    }
    activated.map(|secret| Zeroizing::new(secret.value().to_vec()))
}

/// Satisfies the key's policy, PolicySecret of the endorsement hierarchy, for one use of the session.
fn allow(chip: &mut Chip, session: PolicySession, more_follow: bool) -> Result<(), TpmFault> {
    chip.library(|context| {
        let (attributes, mask) = SessionAttributesBuilder::new().with_continue_session(more_follow).build();
        context.tr_sess_set_attributes(AuthSession::from(session), attributes, mask)
    })?;
    chip.authorised("PolicySecret", |context| {
        context.policy_secret(
            session,
            AuthHandle::Endorsement,
            Nonce::default(),
            Digest::default(),
            Nonce::default(),
            None,
        )
    })
    .map(drop)
    .map_err(|fault| if fault.is_auth() { TpmFault::EndorsementAuth } else { fault })
}

/// The key from its standard handle where it stands there, else made by its template. A key other than the one in the
/// certificate is of no use to anybody.
fn load(chip: &mut Chip, key: &KeyRecord) -> Result<Loaded, TpmFault> {
    let expected = recorded(&key.public)?;
    let place = PLACES.iter().find(|places| key.persistent && places.certificate == key.index);
    if let Some(place) = place
        && let Some((handle, name)) = chip.persistent(place.handle)?
        && templates::name_of(&templates::buffer(&expected)).as_deref() == Some(name.value())
    {
        return Ok(Loaded { handle, persistent: true });
    }
    let template = Public::unmarshall(&recorded(&key.template)?)
        .map_err(|_| TpmFault::Form { what: "TPM record in the state directory", expected: "a template" })?;
    let made = chip
        .create_primary(Hierarchy::Endorsement, template)
        .map_err(|fault| if fault.is_auth() { TpmFault::EndorsementAuth } else { fault })?;
    if templates::tpmt(&made.public)? != expected {
        chip.flush(ObjectHandle::from(made.handle))?;
        return Err(TpmFault::EndorsementKeyDiffers { index: key.index });
    }
    Ok(Loaded { handle: made.handle, persistent: false })
}

/// What a TPM2B holds, if its length is right.
fn contents(tpm2b: &[u8]) -> Option<&[u8]> {
    let (length, rest) = tpm2b.split_first_chunk::<2>()?;
    (rest.len() == usize::from(u16::from_be_bytes(*length))).then_some(rest)
}
