//! Brings files and store in line: at start, and when an operator has put another intermediate in place.

use std::path::Path;

use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use tracing::{info, warn};

use super::current::{BY, OpeningFault};
use super::files::{exists, read_public, replace_public};
use super::init::KeyAndCertificate;
use super::life::{Life, Stage};
use super::profile::BACKDATE_SECONDS;
use super::{AuthorityFault, AuthorityFiles, Issuer, KeyId};
use crate::store::entry_rules::X509_SVID_TTL_MAX;
use crate::store::{ServerId, Store, X509Authority, X509Change, X509State};

/// What a server starts with.
pub(super) struct Opened {
    pub(super) server: ServerId,
    pub(super) issuer: Issuer,
    pub(super) prepared: Option<Issuer>,
    pub(super) former: Vec<Issuer>,
}

/// Reads the files as the store says that they should be.
pub(super) async fn open(
    trust_domain: &TrustDomain,
    files: &AuthorityFiles,
    store: &dyn Store,
    now: UnixTime,
) -> Result<Opened, OpeningFault> {
    let state = store.x509_authorities().await?;
    finish_change_over(files, &state)?;
    let issuer = Issuer::load(trust_domain, files, now)?;
    let server = server_id(files)?;
    // What it signed before this start is not known, if it was there: one that nothing was recorded of has signed nothing.
    if state.find(&issuer.path().key_id).is_some() {
        issuer.was_used_until(now.plus(X509_SVID_TTL_MAX));
    }
    let held = store.bundle().await?;
    if held.authorities.is_empty() {
        for root in issuer.bundle().authorities() {
            store.publish_authority(root.clone(), BY, now).await?;
        }
    }
    adopt(&issuer, (server, None), files, store, now).await?;
    let mut ours = state.authorities.iter().filter(|one| one.server == server);
    let prepared = match ours.find(|one| one.life.stage == Stage::Prepared) {
        Some(next) if exists(&files.prepared())? => {
            Issuer::load_at(trust_domain, (files, &files.prepared()), issuer.bundle(), now)
                .inspect_err(|fault| warn!(code = fault.code(), %fault, "the prepared intermediate cannot be read"))
                .ok()
                .filter(|issuer| issuer.path().key_id == next.key_id)
        }
        _ => None,
    };
    let mut former = Vec::new();
    for old in state.authorities.iter().filter(|one| one.server == server) {
        if matches!(old.life.stage, Stage::Old | Stage::Tainted) && exists(&files.former(&old.key_id))? {
            match Issuer::load_at(trust_domain, (files, &files.former(&old.key_id)), issuer.bundle(), now) {
                Ok(one) => former.push(one),
                Err(fault) => warn!(code = fault.code(), %fault, "a former intermediate cannot be read"),
            }
        }
    }
    Ok(Opened { server, issuer, prepared, former })
}

/// Where the store says that the prepared one signs, and the server died before its file was in place.
fn finish_change_over(files: &AuthorityFiles, state: &X509State) -> Result<(), AuthorityFault> {
    let prepared = files.prepared();
    if !exists(&prepared)? {
        return Ok(());
    }
    let key_id = |path: &Path| KeyAndCertificate::read(path).map(|pair| KeyId::of(&pair.certificate));
    let next = key_id(&prepared)?.and_then(|key_id| state.find(&key_id).cloned());
    if next.is_some_and(|next| next.life.stage == Stage::Active) {
        let intermediate = files.intermediate();
        let former = if exists(&intermediate)? { key_id(&intermediate)? } else { None };
        let unnamed = || AuthorityFault::NotInitialised { path: intermediate };
        files.promote(&former.ok_or_else(unnamed)?)?;
        info!("the change to the prepared intermediate is finished");
    }
    Ok(())
}

/// Has the store know the intermediate that is in place, and publishes its root. One that the store knows as anything but
/// active does not sign.
pub(super) async fn adopt(
    issuer: &Issuer,
    (server, before): (ServerId, Option<&Issuer>),
    files: &AuthorityFiles,
    store: &dyn Store,
    now: UnixTime,
) -> Result<(), OpeningFault> {
    let state = store.x509_authorities().await?;
    let path = issuer.path();
    let refuse =
        |key_id: &KeyId, found| AuthorityFault::NotActive { path: files.intermediate(), key_id: key_id.clone(), found };
    for key_id in [&path.key_id, &path.root_id] {
        if let Some(mark) = state.mark(key_id) {
            return Err(refuse(key_id, if mark.revoked { "revoked" } else { "tainted" }).into());
        }
    }
    match state.find(&path.key_id) {
        Some(known) if known.life.stage == Stage::Active && known.server == server => {
            store.publish_authority(path.root.clone(), BY, now).await?;
            return Ok(());
        }
        Some(known) if known.life.stage != Stage::Active => return Err(refuse(&path.key_id, known.stage()).into()),
        Some(_) | None => {}
    }
    let known = state.find(&path.key_id).map(|known| known.life.stage);
    let prepared_at = made(issuer.intermediate()).unwrap_or(now);
    let ends = path.not_after;
    let life = Life { stage: Stage::Active, prepared_at, activated_at: Some(now), ends, used_until: now };
    let id = path.key_id.to_string();
    let own = X509Authority {
        key_id: path.key_id.clone(),
        id: id.clone(),
        der: issuer.intermediate().to_vec(),
        root: path.root_id.clone(),
        server,
        life,
    };
    let mut put = vec![(known, own)];
    let ours = state.authorities.iter().filter(|one| one.server == server && one.life.stage == Stage::Active);
    for one in ours.filter(|one| one.key_id != path.key_id) {
        let mut old = one.clone();
        old.life.stage = Stage::Old;
        // A file that was replaced while the server was down does not say what its key had signed.
        let held = before.filter(|before| before.path().key_id == one.key_id).map(Issuer::used_until);
        old.life.used_until = held.unwrap_or_else(|| now.plus(X509_SVID_TTL_MAX)).min(one.life.ends);
        put.push((Some(Stage::Active), old));
    }
    let change = X509Change {
        action: "x509.adopt",
        subject: id,
        detail: json!({ "root": path.root_id.to_string(), "ends": ends.seconds() }),
        put,
        publish: vec![path.root.clone()],
        ..X509Change::default()
    };
    if store.change_x509(change, BY, now).await? { Ok(()) } else { Err(AuthorityFault::NotRecorded.into()) }
}

/// When a certificate was made, by its start of validity.
fn made(der: &[u8]) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(UnixTime(parsed.validity().not_before.timestamp()).plus(BACKDATE_SECONDS))
}

/// This server's name among those of the store, drawn at the first start.
fn server_id(files: &AuthorityFiles) -> Result<ServerId, AuthorityFault> {
    let path = files.server_id();
    if exists(&path)? {
        let text = read_public(&path)?;
        let id = hex::decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        let content =
            AuthorityFault::Content { path, expected: "16 hexadecimal digits", found: "something else".to_owned() };
        return id.map(ServerId).ok_or(content);
    }
    let mut id = [0; 8];
    SystemRandom::new().fill(&mut id).map_err(|_| AuthorityFault::Crypto { action: "draw the server's name" })?;
    replace_public(&path, &format!("{}\n", hex::encode(id)))?;
    Ok(ServerId(id))
}
