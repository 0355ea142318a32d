//! `pkcs11`: the root's key in a token, used through the token's own library. The library runs inside this process, as
//! PKCS#11 has it: it is the operator's, and as much trusted as the server.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Library};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use futures_util::future::BoxFuture;
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::digest::{SHA256, SHA384, digest};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Semaphore;

use super::local::Certificates;
use super::{Answer, Request, Upstream, UpstreamFault};
use crate::authority::files::{read_public, read_secret};
use crate::authority::profile::CertifiedKey;
use crate::store::{ListDraft, Sha256};

pub(super) const KIND: &str = "pkcs11";

/// A key in a token. Only one signature is under way at a time: a token that hangs keeps one thread, not one a try.
pub(super) struct Pkcs11 {
    token: Arc<Token>,
    turn: Arc<Semaphore>,
    timeout: Duration,
}

struct Token {
    module: PathBuf,
    label: String,
    key: String,
    pin_file: PathBuf,
    certificates: Certificates,
    /// Opened at the first signature, and not closed: most libraries take it ill.
    library: Mutex<Option<Library>>,
    /// A PIN that the token has refused: it is not shown again, for three tries lock most tokens.
    refused: Mutex<Option<Sha256>>,
}

impl Pkcs11 {
    pub(super) fn new(
        (module, label, key): (PathBuf, String, String),
        pin_file: PathBuf,
        certificates: Certificates,
        timeout: Duration,
    ) -> Self {
        let token =
            Token { module, label, key, pin_file, certificates, library: Mutex::default(), refused: Mutex::default() };
        Self { token: Arc::new(token), turn: Arc::new(Semaphore::new(1)), timeout }
    }
}

impl Upstream for Pkcs11 {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn sign(&self, request: Request) -> BoxFuture<'_, Result<Answer, UpstreamFault>> {
        Box::pin(self.in_turn(move |token| token.sign(&request)))
    }

    fn list_signer(&self) -> Result<Option<Vec<u8>>, UpstreamFault> {
        self.token.certificates.list_signer()
    }

    fn sign_list(&self, draft: ListDraft) -> BoxFuture<'_, Result<Vec<u8>, UpstreamFault>> {
        Box::pin(self.in_turn(move |token| token.sign_list(&draft)))
    }
}

impl Pkcs11 {
    /// Has the token do something, if it can within its time.
    async fn in_turn<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Token) -> Result<T, UpstreamFault> + Send + 'static,
    ) -> Result<T, UpstreamFault> {
        let late = UpstreamFault::Timeout { seconds: self.timeout.as_secs() };
        let (token, turn) = (self.token.clone(), self.turn.clone());
        let done = async move {
            let turn = turn.acquire_owned().await;
            tokio::task::spawn_blocking(move || {
                let done = what(&token);
                drop(turn);
                done
            })
            .await
        };
        match tokio::time::timeout(self.timeout, done).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(self.token.fault("sign", "its library has panicked")),
            Err(_) => Err(late),
        }
    }
}

impl Token {
    fn sign(&self, request: &Request) -> Result<Answer, UpstreamFault> {
        let session = self.open(&self.library()?)?;
        self.certificates.sign(request, self.key(&session)?)
    }

    fn sign_list(&self, draft: &ListDraft) -> Result<Vec<u8>, UpstreamFault> {
        let session = self.open(&self.library()?)?;
        self.certificates.sign_list(draft, self.key(&session)?)
    }

    fn key<'a>(&'a self, session: &'a Session) -> Result<TokenKey<'a>, UpstreamFault> {
        let key = self.find(session)?;
        let spki = self.spki()?;
        let public = CertifiedKey::from_spki(&spki).map_err(Box::new)?;
        let (algorithm, bits) = (public.algorithm(), public.der_bytes().to_vec());
        Ok(TokenKey { token: self, session, key, algorithm, bits })
    }

    fn library(&self) -> Result<Library, UpstreamFault> {
        let mut held = self.library.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = &*held {
            return Ok(library.clone());
        }
        let library = Library::new(&self.module).map_err(|error| self.fault("be reached", error))?;
        match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(self.fault("be reached", error)),
        }
        Ok(held.insert(library).clone())
    }

    fn open(&self, library: &Library) -> Result<Session, UpstreamFault> {
        let slots = library.get_slots_with_token().map_err(|error| self.fault("be found", error))?;
        let has_label = |slot: &cryptoki::slot::Slot| {
            library.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == self.label)
        };
        let slot = slots.into_iter().find(has_label);
        let slot = slot.ok_or_else(|| self.fault("be found", "no slot has a token of this label"))?;
        let session = library.open_ro_session(slot).map_err(|error| self.fault("open a session", error))?;
        let pin = read_secret(&self.pin_file).map_err(Box::new)?;
        let pin = pin.trim_end_matches(['\r', '\n']);
        let shown = Sha256::of(pin.as_bytes());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *refused == Some(shown) {
            return Err(self.fault("log in", "it has refused this PIN before: put the right one into the file"));
        }
        match session.login(UserType::User, Some(&AuthPin::from(pin.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => {
                if matches!(error, Error::Pkcs11(RvError::PinIncorrect | RvError::PinLocked, _)) {
                    *refused = Some(shown);
                }
                Err(self.fault("log in", error))
            }
        }
    }

    fn find(&self, session: &Session) -> Result<ObjectHandle, UpstreamFault> {
        let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(self.key.clone().into_bytes())];
        let found = session.find_objects(&template).map_err(|error| self.fault("look for the key", error))?;
        match found.as_slice() {
            [key] => Ok(*key),
            other => {
                let found = other.len();
                Err(self
                    .fault("look for the key", format!("{found} private keys have label {:?}, expected one", self.key)))
            }
        }
    }

    /// The public key as the certificate has it. That the token's key belongs to it shows in the signature, which is
    /// verified as part of the whole answer.
    fn spki(&self) -> Result<Vec<u8>, UpstreamFault> {
        let path = &self.certificates.cert_file;
        let text = read_public(path).map_err(Box::new)?;
        let bad = |reason: String| UpstreamFault::Key { path: path.clone(), reason };
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| bad(error.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| bad(error.to_string()))?;
        Ok(parsed.public_key().raw.to_vec())
    }

    fn fault(&self, action: &'static str, reason: impl ToString) -> UpstreamFault {
        UpstreamFault::Token { token: self.label.clone(), action, reason: reason.to_string() }
    }
}

/// The key as the certificate's builder wants it.
struct TokenKey<'a> {
    token: &'a Token,
    session: &'a Session,
    key: ObjectHandle,
    algorithm: &'static SignatureAlgorithm,
    bits: Vec<u8>,
}

impl PublicKeyData for TokenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for TokenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let (mechanism, data) = if self.algorithm == &rcgen::PKCS_ECDSA_P256_SHA256 {
            (Mechanism::Ecdsa, digest(&SHA256, message).as_ref().to_vec())
        } else if self.algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 {
            (Mechanism::Ecdsa, digest(&SHA384, message).as_ref().to_vec())
        } else if self.algorithm == &rcgen::PKCS_RSA_SHA256 {
            (Mechanism::Sha256RsaPkcs, message.to_vec())
        } else {
            return Err(rcgen::Error::RemoteKeyError);
        };
        let signature = self.session.sign(&mechanism, self.key, &data).map_err(|error| {
            tracing::warn!(token = self.token.label, %error, "the token does not sign");
            rcgen::Error::RemoteKeyError
        })?;
        if matches!(mechanism, Mechanism::Ecdsa) { ecdsa_der(&signature) } else { Some(signature) }
            .ok_or(rcgen::Error::RemoteKeyError)
    }
}

/// A token's `r || s` as X.509 has it: a SEQUENCE of two INTEGERs. `None` for what is longer than of P-384.
fn ecdsa_der(raw: &[u8]) -> Option<Vec<u8>> {
    if raw.is_empty() || !raw.len().is_multiple_of(2) || raw.len() > 96 {
        return None;
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    let mut body = Vec::with_capacity(raw.len() + 8);
    for number in [r, s] {
        let digits: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        let sign = digits.first().is_none_or(|first| first & 0x80 != 0);
        body.extend([2, u8::try_from(digits.len() + usize::from(sign)).ok()?]);
        body.extend(sign.then_some(0));
        body.extend(digits);
    }
    // Two numbers of 49 bytes with their heads are 102 bytes: the short form of a length does.
    let mut der = vec![0x30, u8::try_from(body.len()).ok()?];
    der.append(&mut body);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_signature_becomes_two_positive_numbers_without_leading_zeros() {
        assert_eq!(ecdsa_der(&[0, 5, 0x80, 1]).unwrap(), [0x30, 8, 2, 1, 5, 2, 3, 0, 0x80, 1]);
        assert_eq!(ecdsa_der(&[0, 0]).unwrap(), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(ecdsa_der(&[0xff; 96]).unwrap().len(), 104);
        for raw in [&[][..], &[1, 2, 3], &[1; 98]] {
            assert_eq!(ecdsa_der(raw), None);
        }
    }
}
