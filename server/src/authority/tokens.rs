//! The keys that sign this server's JWT-SVIDs: drawn, published, activated and seen off as `life` says. Signing itself is
//! in `token_key`.
//!
//! Private halves are files beside the intermediate, 0600; the store has the public ones of all servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_evidence::crypto::{KeyKind, PrivateKey};
use holdfast_identity::UnixTime;
use holdfast_svid::jwk;
use ring::rand::SystemRandom;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::bundle::pem;
use super::life::{Command, LifeRefusal, Living as _, Schedule, Stage, Step};
use super::token_key::TokenKey;
use super::{AuthorityFault, AuthorityFiles, read_secret, write_new_secret};
use crate::store::{Actor, JwtAuthority, Store, StoreFault};

/// Steps of the schedule in one go: more would mean that one of them does not do what it says.
const STEPS_MAX: usize = 16;

/// What JWT-SVIDs are like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// What kind of keys sign them.
    pub key_kind: KeyKind,
    /// When keys change.
    pub schedule: Schedule,
    /// Seconds that one lives whose entry names no time.
    pub ttl: i64,
    /// `iss`, for programs that look for it.
    pub issuer: Option<String>,
}

impl Default for TokenSettings {
    /// ES256, keys of a day, tokens of five minutes.
    fn default() -> Self {
        let schedule = Schedule { lifetime: 86_400, lead: 1800, settle: 60 };
        Self { key_kind: KeyKind::EcP256, schedule, ttl: 300, issuer: None }
    }
}

/// This server's JWT authorities.
pub struct TokenAuthority {
    files: AuthorityFiles,
    settings: TokenSettings,
    signing: RwLock<Option<Arc<TokenKey>>>,
    /// Acts one after another.
    acting: Mutex<()>,
}

/// Why an act on an authority was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActFault {
    /// It is not allowed.
    #[error(transparent)]
    Refused(#[from] LifeRefusal),
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// A fault of keys or files.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
}

impl ActFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Store(fault) => fault.code(),
            Self::Authority(fault) => fault.code(),
        }
    }
}

impl TokenAuthority {
    /// Takes up the keys of before, or draws the first one, and does what is due.
    ///
    /// # Errors
    /// [`ActFault`].
    pub async fn open(
        files: AuthorityFiles,
        settings: TokenSettings,
        store: &dyn Store,
        now: UnixTime,
    ) -> Result<Self, ActFault> {
        files.create_token_directory()?;
        let opened = Self { files, settings, signing: RwLock::default(), acting: Mutex::default() };
        opened.sweep(&store.jwt_authorities().await?);
        opened.tend(store, now).await?;
        Ok(opened)
    }

    /// Keys that nobody has taken up, for tests of those who never ask for one.
    #[cfg(test)]
    pub(crate) fn at_rest(files: AuthorityFiles) -> Self {
        Self { files, settings: TokenSettings::default(), signing: RwLock::default(), acting: Mutex::default() }
    }

    /// The key that signs now; none only if none could be drawn.
    #[must_use]
    pub fn signing(&self) -> Option<Arc<TokenKey>> {
        self.signing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Seconds that a JWT-SVID lives whose entry names no time.
    #[must_use]
    pub const fn ttl(&self) -> i64 {
        self.settings.ttl
    }

    /// Whether the private half of this authority is here.
    #[must_use]
    pub fn holds(&self, authority: &JwtAuthority) -> bool {
        self.files.token_key(&authority.authority_id).is_some_and(|path| path.exists())
    }

    /// Does what is due by the schedule.
    ///
    /// # Errors
    /// [`ActFault`]; what was done before it stays done.
    pub async fn tend(&self, store: &dyn Store, now: UnixTime) -> Result<(), ActFault> {
        let _one = self.acting.lock().await;
        for _ in 0..STEPS_MAX {
            let all = store.jwt_authorities().await?;
            let (ours, theirs): (Vec<_>, Vec<_>) = all.iter().partition(|authority| self.holds(authority));
            match self.settings.schedule.due(ours.iter().copied(), theirs.iter().copied(), now) {
                None => break,
                Some(Step::Prepare) => _ = self.draw(store, Actor::Server, now).await?,
                Some(Step::Activate(id)) => {
                    self.command(store, &id, Command::Activate, Actor::Server, now).await?;
                }
                Some(Step::Retire(id)) => {
                    store.retire_jwt_authority(id.clone(), now).await?;
                    info!(authority = id, "JWT authority has left the bundle: everything it signed has ended");
                    self.forget(&id);
                }
            }
        }
        self.take_up(store).await
    }

    /// Draws and publishes the next key; its ID.
    ///
    /// # Errors
    /// [`LifeRefusal::AlreadyPrepared`], and faults.
    pub async fn prepare(&self, store: &dyn Store, by: Actor, now: UnixTime) -> Result<String, ActFault> {
        let _one = self.acting.lock().await;
        let all = store.jwt_authorities().await?;
        if let Some(prepared) = all.iter().find(|one| one.life.stage == Stage::Prepared && self.holds(one)) {
            return Err(LifeRefusal::AlreadyPrepared { id: prepared.authority_id.clone() }.into());
        }
        self.draw(store, by, now).await
    }

    /// Carries out an operator's command.
    ///
    /// # Errors
    /// [`ActFault`].
    pub async fn act(
        &self,
        store: &dyn Store,
        authority_id: &str,
        command: Command,
        by: Actor,
        now: UnixTime,
    ) -> Result<(), ActFault> {
        let _one = self.acting.lock().await;
        self.command(store, authority_id, command, by, now).await?;
        self.take_up(store).await
    }

    async fn command(
        &self,
        store: &dyn Store,
        authority_id: &str,
        command: Command,
        by: Actor,
        now: UnixTime,
    ) -> Result<(), ActFault> {
        let all = store.jwt_authorities().await?;
        let unknown = || LifeRefusal::Unknown { id: authority_id.to_owned() };
        let authority = all.iter().find(|one| one.id() == authority_id).ok_or_else(unknown)?;
        if command == Command::Activate && !self.holds(authority) {
            return Err(LifeRefusal::Elsewhere { id: authority_id.to_owned() }.into());
        }
        let ours = all.iter().filter(|one| self.holds(one)).map(|one| one.authority_id.clone()).collect();
        store.command_jwt_authority(authority_id.to_owned(), command, ours, by, now).await??;
        info!(authority = authority_id, ?command, "JWT authority changed");
        if command == Command::Revoke {
            self.forget(authority_id);
        }
        Ok(())
    }

    /// The private half is on disk before the public one is published: a crash in between leaves a file that the next
    /// start removes.
    async fn draw(&self, store: &dyn Store, by: Actor, now: UnixTime) -> Result<String, ActFault> {
        let kind = self.settings.key_kind;
        let fault = AuthorityFault::Crypto { action: "generate a key for JWT-SVIDs" };
        let drawn = tokio::task::spawn_blocking(move || {
            let rng = SystemRandom::new();
            let der = PrivateKey::draw(kind, &rng).ok()?;
            let public = PrivateKey::from_pkcs8(&der, &rng).ok()?.public().clone();
            Some((der, public))
        });
        let Ok(Some((der, key))) = drawn.await else { return Err(fault.into()) };
        let authority_id = jwk::thumbprint(&key);
        let path = self.files.token_key(&authority_id).ok_or(fault)?;
        write_new_secret(&path, &Zeroizing::new(pem("PRIVATE KEY", &der)))?;
        let life = self.settings.schedule.prepared(now);
        let authority = JwtAuthority { authority_id: authority_id.clone(), key, life };
        store.publish_jwt_authority(authority, by, now).await??;
        info!(authority = authority_id, "JWT authority prepared");
        Ok(authority_id)
    }

    /// Signs by whichever of ours is active.
    async fn take_up(&self, store: &dyn Store) -> Result<(), ActFault> {
        let all = store.jwt_authorities().await?;
        let active = all.iter().find(|one| one.life.stage == Stage::Active && self.holds(one));
        let current = self.signing();
        if current.as_ref().map(|key| key.authority_id.as_str()) == active.map(|one| one.authority_id.as_str()) {
            return Ok(());
        }
        let key = match active {
            Some(active) => Some(Arc::new(self.read(active)?)),
            None => None,
        };
        *self.signing.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    fn read(&self, authority: &JwtAuthority) -> Result<TokenKey, AuthorityFault> {
        let path = self.files.token_key(&authority.authority_id).unwrap_or_default();
        let content = |found: &str| AuthorityFault::Content {
            path: path.clone(),
            expected: "the private key of its JWT authority",
            found: found.to_owned(),
        };
        let text = read_secret(&path)?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| content("no PKCS#8 key"))?;
        let der = Zeroizing::new(der.secret_pkcs8_der().to_vec());
        let key = PrivateKey::from_pkcs8(&der, &SystemRandom::new()).map_err(|_| content("a key of another kind"))?;
        if *key.public() != authority.key {
            return Err(content("another key"));
        }
        let (authority_id, issuer) = (authority.authority_id.clone(), self.settings.issuer.clone());
        Ok(TokenKey { authority_id, key, ends: authority.life.ends, issuer })
    }

    fn forget(&self, authority_id: &str) {
        if let Some(path) = self.files.token_key(authority_id) {
            remove(&path);
        }
    }

    /// Removes private keys whose public halves are not in the bundle: nothing can be signed with them any more.
    fn sweep(&self, known: &[JwtAuthority]) {
        let entries = fs::read_dir(self.files.token_directory()).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let is_known = |one: &JwtAuthority| self.files.token_key(&one.authority_id).as_ref() == Some(&path);
            if !known.iter().any(is_known) {
                warn!(path = %path.display(), "key of no JWT authority removed");
                remove(&path);
            }
        }
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "key cannot be removed");
        }
        _ => {}
    }
}

impl AuthorityFiles {
    /// Where the private keys for JWT-SVIDs are.
    fn token_directory(&self) -> PathBuf {
        self.directory().join("jwt")
    }

    /// The file of one of them, PKCS#8 in PEM, 0600; `None` for an ID that is no thumbprint.
    fn token_key(&self, authority_id: &str) -> Option<PathBuf> {
        let is_thumbprint = authority_id.len() == 43
            && authority_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        is_thumbprint.then(|| self.token_directory().join(format!("{authority_id}.pem")))
    }

    fn create_token_directory(&self) -> Result<(), AuthorityFault> {
        use std::os::unix::fs::DirBuilderExt as _;
        self.create_directory()?;
        let path = self.token_directory();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|source| AuthorityFault::File {
            action: "create",
            path,
            source,
        })
    }
}
