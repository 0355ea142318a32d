//! The lives of intermediates, and which authorities nothing may rest on any more. Their keys are with their servers.

use holdfast_identity::UnixTime;

use super::ledger::Actor;
use super::revocations::IssuerKeyId;
use super::{Held, Sha256};
use crate::authority::KeyId;
use crate::authority::life::{Life, Living, Stage};

/// Verbs about X.509 authorities.
pub trait X509Authorities: Send + Sync {
    /// All of them.
    fn x509_authorities(&self) -> Held<'_, X509State>;
    /// One step, all of it or nothing, and recorded; `false` where an authority is not at the stage that the step begins at.
    fn change_x509(&self, change: X509Change, by: Actor, at: UnixTime) -> Held<'_, bool>;
}

/// One intermediate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Authority {
    /// Its name.
    pub key_id: KeyId,
    /// Its name as text.
    pub id: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// The root that it leads to.
    pub root: KeyId,
    /// The server that holds its key.
    pub server: ServerId,
    /// Its times.
    pub life: Life,
}

impl Living for X509Authority {
    fn id(&self) -> &str {
        &self.id
    }

    fn life(&self) -> &Life {
        &self.life
    }
}

/// Which of the servers of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId(pub [u8; 8]);

/// An authority that nothing should rest on any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityMark {
    /// Its name.
    pub key_id: KeyId,
    /// A root of the bundle, or one that was; else an intermediate.
    pub is_root: bool,
    /// What it signed counts no more; else it is to be replaced.
    pub revoked: bool,
    /// Since when.
    pub at: UnixTime,
    /// Until then something below it could be shown.
    pub until: UnixTime,
}

/// All X.509 authorities but the bundle's roots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct X509State {
    /// Intermediates, in order of preparation.
    pub authorities: Vec<X509Authority>,
    /// What was tainted or revoked.
    pub marks: Vec<AuthorityMark>,
}

impl X509State {
    /// One intermediate by its name.
    #[must_use]
    pub fn find(&self, key_id: &KeyId) -> Option<&X509Authority> {
        self.authorities.iter().find(|one| one.key_id == *key_id)
    }

    /// The mark of an authority, if it has one.
    #[must_use]
    pub fn mark(&self, key_id: &KeyId) -> Option<&AuthorityMark> {
        self.marks.iter().find(|mark| mark.key_id == *key_id)
    }
}

/// An intermediate as the list of whoever signed it names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAuthority {
    /// Who signed it.
    pub issuer: IssuerKeyId,
    /// Its serial number.
    pub serial: [u8; 16],
    /// Its end.
    pub not_after: UnixTime,
}

/// A step in the life of authorities.
#[derive(Clone, Debug, Default)]
pub struct X509Change {
    /// What stands in the record.
    pub action: &'static str,
    /// Whom it is about.
    pub subject: String,
    /// The rest.
    pub detail: serde_json::Value,
    /// Intermediates as they are afterwards, each with the stage that it has before; `None` for a new one.
    pub put: Vec<(Option<Stage>, X509Authority)>,
    /// Intermediates that are gone, with the stage that they have before.
    pub gone: Vec<(Stage, KeyId)>,
    /// What is tainted or revoked from now on.
    pub mark: Vec<AuthorityMark>,
    /// Intermediates that stand on their issuer's list from now on.
    pub list: Vec<ListedAuthority>,
    /// Marks that mean nothing any more.
    pub forget: Vec<KeyId>,
    /// Roots that are in the bundle from now on.
    pub publish: Vec<Vec<u8>>,
    /// Roots that are in it no longer.
    pub withdraw: Vec<Sha256>,
}
