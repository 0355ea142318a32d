//! Challenges: one-use, expiring, and kept by nobody but the peer, under a seal that only our servers open.
//!
//! That a challenge is taken only once is the store's part: its id goes into a taken-set in the transaction that
//! records the verdict.

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};

use crate::Defect;
pub use crate::asked::{AnsweringKey, Commitment, ItemState};
use crate::binding::{Binding, BindingFields, SignedItem, binding_digest};
use crate::crypto::credential::random;
use crate::crypto::{self, CryptoFault, SealKey, SecureRandom};
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};
use crate::tpm::{PcrSelection, TpmExpectation};

/// Bytes of a sealed challenge that are read.
pub const SEAL_BYTES_MAX: usize = 8 << 10;
/// Items of one challenge.
pub const ITEMS_MAX: usize = 4;
const VERSION: u8 = 1;
const CONTEXT: &[u8] = b"holdfast/challenge/1";

/// What the attestation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An attestation key that is not on record: every EK is activated, the node key certified.
    Enrol,
    /// A known attestation key on a new connection.
    Return,
    /// A node on its own open connection.
    Renew {
        /// The node that the connection belongs to.
        node: SpiffeId,
        /// SHA-256 of the DER `SubjectPublicKeyInfo` of the key that the connection was opened with.
        spki_sha256: [u8; 32],
    },
}

impl Purpose {
    /// The name in the record and in logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Return => "return",
            Self::Renew { .. } => "renew",
        }
    }
}

/// A drawn challenge. Has no `Clone`: answering consumes it.
#[derive(Debug)]
pub struct Challenge {
    id: [u8; 16],
    nonce: [u8; 32],
    trust_domain: TrustDomain,
    expires_at: UnixTime,
    purpose: Purpose,
    items: Vec<ItemState>,
}

/// Why a sealed challenge or its answer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeRefused {
    /// No key of ours opens it, or its content is not what we seal.
    #[error("sealed challenge does not open")]
    Seal,
    /// Longer than [`SEAL_BYTES_MAX`].
    #[error("sealed challenge is {found} bytes, limit {SEAL_BYTES_MAX}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// It was drawn for another trust domain.
    #[error("challenge was drawn for trust domain {found}, this is {expected}")]
    TrustDomain {
        /// Ours.
        expected: String,
        /// That of the challenge.
        found: String,
    },
    /// It is void.
    #[error("challenge expired {seconds} seconds ago")]
    Expired {
        /// Since when.
        seconds: i64,
    },
    /// The items do not answer what was asked.
    #[error("answer has {found} items, {expected} were asked, or their kinds differ")]
    Items {
        /// Asked.
        expected: usize,
        /// Answered.
        found: usize,
    },
    /// A renewal names another node key than the connection's.
    #[error("renewal names another node key than the one its connection was opened with")]
    NodeKey,
}

impl ChallengeRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Seal => "challenge.seal",
            Self::TooLarge { .. } => "challenge.too_large",
            Self::TrustDomain { .. } => "challenge.trust_domain",
            Self::Expired { .. } => "challenge.expired",
            Self::Items { .. } => "challenge.items",
            Self::NodeKey => "challenge.node_key",
        }
    }
}

/// The key that seals, and the one before it, which still opens.
#[derive(Debug)]
pub struct SealRing {
    current: SealKey,
    previous: Option<SealKey>,
}

impl SealRing {
    /// A ring of the current key and, after a rotation, the previous one.
    #[must_use]
    pub const fn new(current: SealKey, previous: Option<SealKey>) -> Self {
        Self { current, previous }
    }
}

impl Challenge {
    /// Draws a challenge that is void `lifetime` seconds after `now`. At most [`ITEMS_MAX`] items are kept.
    ///
    /// # Errors
    /// [`CryptoFault::Random`] if the source fails.
    pub fn draw(
        trust_domain: TrustDomain,
        purpose: Purpose,
        mut items: Vec<ItemState>,
        now: UnixTime,
        lifetime: i64,
        rng: &dyn SecureRandom,
    ) -> Result<Self, CryptoFault> {
        items.truncate(ITEMS_MAX);
        let expires_at = now.plus(lifetime);
        Ok(Self { id: random(rng)?, nonce: random(rng)?, trust_domain, expires_at, purpose, items })
    }

    /// Its id, 16 random bytes.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The nonce that enters the binding.
    #[must_use]
    pub const fn nonce(&self) -> &[u8; 32] {
        &self.nonce
    }

    /// When it becomes void.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// What it was drawn for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The trust domain that it was drawn for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Itself without its seal, for the record, once it is answered:
    /// [`RecordedChallenge`](crate::recorded::RecordedChallenge) reads it. Holds digests of secrets, and no secret.
    #[must_use]
    pub fn to_record(&self) -> Vec<u8> {
        self.encode()
    }

    /// What each item must show, in order.
    #[must_use]
    pub fn items(&self) -> &[ItemState] {
        &self.items
    }

    /// Seals it for the servers that share the ring.
    ///
    /// # Errors
    /// [`CryptoFault`] if the random source fails.
    pub fn seal(&self, ring: &SealRing, rng: &dyn SecureRandom) -> Result<Vec<u8>, CryptoFault> {
        ring.current.seal(CONTEXT, &self.encode(), rng)
    }

    /// Opens a seal, if it is ours, for this trust domain and not void yet.
    ///
    /// # Errors
    /// [`ChallengeRefused`] otherwise.
    pub fn open(
        seal: &[u8],
        ring: &SealRing,
        trust_domain: &TrustDomain,
        now: UnixTime,
    ) -> Result<Self, ChallengeRefused> {
        if seal.len() > SEAL_BYTES_MAX {
            return Err(ChallengeRefused::TooLarge { found: seal.len() });
        }
        let content = ring
            .current
            .open(CONTEXT, seal)
            .or_else(|| ring.previous.as_ref()?.open(CONTEXT, seal))
            .ok_or(ChallengeRefused::Seal)?;
        let challenge = Self::decode(&content).map_err(|_| ChallengeRefused::Seal)?;
        if challenge.trust_domain != *trust_domain {
            return Err(ChallengeRefused::TrustDomain {
                expected: trust_domain.to_string(),
                found: challenge.trust_domain.to_string(),
            });
        }
        if now >= challenge.expires_at {
            return Err(ChallengeRefused::Expired { seconds: now.since(challenge.expires_at) });
        }
        Ok(challenge)
    }

    /// Answers it: for this node key, with items that commit to this. The binding holds what the hardware must have
    /// signed; nothing is verified yet.
    ///
    /// Every item signs a digest of its own: it covers the items before it, so that none can be exchanged for another
    /// machine's.
    ///
    /// # Errors
    /// [`ChallengeRefused::Items`] if the items are not those asked, [`ChallengeRefused::NodeKey`] if a renewal names
    /// another key than its connection's.
    pub fn answer(
        self,
        key: impl Into<AnsweringKey>,
        commitments: &[Commitment<'_>],
    ) -> Result<Binding, ChallengeRefused> {
        let key = key.into();
        let claimed = key.claimed();
        let kinds: Vec<_> = self.items.iter().map(ItemState::kind).collect();
        let refused = ChallengeRefused::Items { expected: kinds.len(), found: commitments.len() };
        let are_asked = commitments.iter().map(|commitment| commitment.kind).eq(kinds.iter().copied());
        // In a composite each item is covered by the next: that needs the bytes of all.
        let are_whole = kinds.len() < 2 || commitments.iter().all(|commitment| !commitment.item.is_empty());
        // One item of each kind, hardware reports first.
        let are_ordered = kinds.is_sorted_by(|former, latter| former < latter);
        if kinds.is_empty() || !are_ordered || !are_asked || !are_whole {
            return Err(refused);
        }
        let proven = match (&self.purpose, key) {
            (Purpose::Renew { spki_sha256, .. }, _) if claimed.spki_sha256() != *spki_sha256 => {
                return Err(ChallengeRefused::NodeKey);
            }
            // The connection's handshake was signed with it.
            (Purpose::Renew { .. }, _) => Some(claimed.proven()),
            (Purpose::Enrol | Purpose::Return, AnsweringKey::Proven(proven)) => Some(proven),
            (Purpose::Enrol | Purpose::Return, AnsweringKey::Claimed(_)) => None,
        };
        let tpm = self.items.iter().find_map(ItemState::tpm);
        let ak_name = match tpm {
            Some(tpm) => tpm.ak.name().to_vec(),
            None => commitments.iter().find_map(|commitment| commitment.ak_spki_sha256).unwrap_or_default().to_vec(),
        };
        let has_ak = tpm.is_some() || commitments.iter().any(|commitment| commitment.ak_spki_sha256.is_some());
        let ek_certificates = tpm.map(|tpm| tpm.ek_certificates()).unwrap_or_default();
        let selection = self.items.iter().find_map(ItemState::selection);
        let selection = selection.map(|selection| selection.encode()).unwrap_or_default();
        let mut others = Vec::with_capacity(commitments.len());
        let mut signed = Vec::with_capacity(commitments.len());
        for commitment in commitments {
            let digest = binding_digest(&BindingFields {
                trust_domain: &self.trust_domain,
                kinds: &kinds,
                nonce: &self.nonce,
                ak_name: if has_ak { &ak_name } else { &[] },
                node_key_spki: claimed.spki(),
                ek_certificates: &ek_certificates,
                selection: &selection,
                firmware_log: commitment.firmware_log.as_ref(),
                others: &others,
            });
            signed.push(SignedItem { kind: commitment.kind, digest, firmware_log: commitment.firmware_log });
            if kinds.len() > 1 {
                others.push(crypto::sha256(&[commitment.item]));
            }
        }
        Ok(Binding {
            challenge_id: self.id,
            nonce: self.nonce,
            signed,
            expires_at: self.expires_at,
            trust_domain: self.trust_domain,
            purpose: self.purpose,
            key: claimed,
            proven,
            items: self.items,
        })
    }

    fn encode(&self) -> Vec<u8> {
        let writer = Writer::new()
            .u8(VERSION)
            .bytes(&self.id)
            .bytes(&self.nonce)
            .sized16(self.trust_domain.as_str().as_bytes())
            .u64(self.expires_at.seconds().cast_unsigned());
        let writer = match &self.purpose {
            Purpose::Enrol => writer.u8(0),
            Purpose::Return => writer.u8(1),
            Purpose::Renew { node, spki_sha256 } => writer.u8(2).sized16(node.as_str().as_bytes()).bytes(spki_sha256),
        };
        writer
            .list8(&self.items, |writer, item| match item {
                ItemState::Tpm(expectation) => writer.u8(0).sized16(&expectation.encode()),
                ItemState::Quote { kind, selection } => {
                    writer.u8(1).sized16(kind.as_str().as_bytes()).bytes(&selection.encode())
                }
                ItemState::Report { kind } => writer.u8(2).sized16(kind.as_str().as_bytes()),
            })
            .finish()
    }

    pub(crate) fn decode(content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Seal, content);
        match reader.u8("version")? {
            VERSION => {}
            other => return Err(reader.value("version", other.into())),
        }
        let id = reader.array("id")?;
        let nonce = reader.array("nonce")?;
        let trust_domain = text(&mut reader, "trust domain")?;
        let expires_at = UnixTime(reader.u64("expiry")?.cast_signed());
        let purpose = match reader.u8("purpose")? {
            0 => Purpose::Enrol,
            1 => Purpose::Return,
            2 => Purpose::Renew { node: text(&mut reader, "node")?, spki_sha256: reader.array("node key")? },
            other => return Err(reader.value("purpose", other.into())),
        };
        let count = reader.count8(ITEMS_MAX, "items")?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(match reader.u8("kind")? {
                0 => ItemState::Tpm(Box::new(TpmExpectation::parse(reader.sized16(SEAL_BYTES_MAX, "item")?)?)),
                1 => ItemState::Quote { kind: text(&mut reader, "kind")?, selection: PcrSelection::read(&mut reader)? },
                2 => ItemState::Report { kind: text(&mut reader, "kind")? },
                other => return Err(reader.value("kind", other.into())),
            });
        }
        reader.finish()?;
        Ok(Self { id, nonce, trust_domain, expires_at, purpose, items })
    }
}

fn text<T: std::str::FromStr>(reader: &mut Reader<'_>, field: &'static str) -> Result<T, Malformed> {
    let bytes = reader.sized16(2048, field)?;
    let parsed = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
    parsed.ok_or(reader.malformed(field, Defect::Encoding))
}
