//! What a challenge expects of a TPM, sealed inside it; and what a server keeps of a TPM that it knows. Both are
//! written by servers alone.

use crate::crypto;
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::ek::{EKS_MAX, EkIdentity};
use super::error::Unverified;
use super::ownership::{DEVICE_KEYS_MAX, DeviceRole, Ownership};
use super::pcr::PcrSelection;
use super::public::{PUBLIC_BYTES_MAX, Public};

const VERSION: u8 = 1;
/// With what was proven of platform and device keys; written only where there is anything.
const VERSION_WITH_OWNERSHIP: u8 = 2;

/// How the node key is to be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKeyProof {
    /// The attestation key certifies it, over the binding.
    Certify,
    /// It is the key on record, which was certified before.
    OnRecord {
        /// SHA-256 of its DER `SubjectPublicKeyInfo`.
        spki_sha256: [u8; 32],
    },
}

/// What the answer to a challenge must show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TpmExpectation {
    /// The attestation key; its attributes were checked when this was drawn up.
    pub(crate) ak: Public,
    pub(crate) eks: Vec<EkIdentity>,
    /// SHA-256 of each activation secret, in the order of the credentials; empty for a known key.
    pub(crate) secrets: Vec<[u8; 32]>,
    pub(crate) selection: PcrSelection,
    pub(crate) known_firmware_log: Option<[u8; 32]>,
    pub(crate) node_key: NodeKeyProof,
    /// Platform and device keys, whose certificates were verified when this was drawn up, or which the record has.
    pub(crate) ownership: Ownership,
    /// The device keys that must still speak.
    pub(crate) residency: Vec<(DeviceRole, Public)>,
}

impl TpmExpectation {
    /// The attestation key.
    #[must_use]
    pub const fn ak(&self) -> &Public {
        &self.ak
    }

    /// The endorsement keys of the machine.
    #[must_use]
    pub fn eks(&self) -> &[EkIdentity] {
        &self.eks
    }

    /// What the quote must cover.
    #[must_use]
    pub const fn selection(&self) -> PcrSelection {
        self.selection
    }

    /// The firmware log that may be answered by its digest alone.
    #[must_use]
    pub const fn known_firmware_log(&self) -> Option<[u8; 32]> {
        self.known_firmware_log
    }

    /// How the node key is to be proven.
    #[must_use]
    pub const fn node_key(&self) -> NodeKeyProof {
        self.node_key
    }

    /// What is known of platform and device keys once the answer holds.
    #[must_use]
    pub const fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// SHA-256 of the endorsement keys' certificates, as the binding takes them.
    #[must_use]
    pub fn ek_certificates(&self) -> Vec<[u8; 32]> {
        self.eks.iter().map(|ek| ek.certificate_sha256).collect()
    }

    /// Whether every secret that was sent came back: then the attestation key is in the TPM of every endorsement key
    /// offered. Servers ask this as soon as [`TpmItem::secrets_at_start`](super::TpmItem::secrets_at_start) can tell,
    /// before they take in the rest; `verify` asks it again.
    ///
    /// # Errors
    /// [`Unverified::ActivationSecret`].
    pub fn check_secrets(&self, found: &[&[u8]]) -> Result<(), Unverified> {
        let sent = &self.secrets;
        let equal = found.len() == sent.len()
            && found.iter().zip(sent).all(|(found, sent)| crypto::equal(&crypto::sha256(&[found]), sent));
        if equal { Ok(()) } else { Err(Unverified::ActivationSecret { expected: sent.len(), found: found.len() }) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let writer = KnownTpm::write(&self.ak, &self.eks, &self.ownership, Writer::new())
            .list8(&self.residency, |writer, (role, public)| writer.u8(role.id()).sized16(public.as_bytes()))
            .list8(&self.secrets, |writer, secret| writer.bytes(secret))
            .bytes(&self.selection.encode());
        let writer = match &self.known_firmware_log {
            None => writer.u8(0),
            Some(digest) => writer.u8(1).bytes(digest),
        };
        match &self.node_key {
            NodeKeyProof::Certify => writer.u8(0),
            NodeKeyProof::OnRecord { spki_sha256 } => writer.u8(1).bytes(spki_sha256),
        }
        .finish()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Seal, bytes);
        let KnownTpm { ak, eks, ownership } = KnownTpm::read(&mut reader)?;
        let mut residency = Vec::new();
        for _ in 0..reader.count8(DEVICE_KEYS_MAX, "residency")? {
            let role = DeviceRole::read(&mut reader)?;
            residency.push((role, Public::parse(reader.sized16(PUBLIC_BYTES_MAX, "residency")?)?));
        }
        let count = reader.count8(EKS_MAX, "secrets")?;
        let secrets = (0..count).map(|_| reader.array("secret")).collect::<Result<_, _>>()?;
        let selection = PcrSelection::read(&mut reader)?;
        let known_firmware_log = match reader.u8("firmwareLog")? {
            0 => None,
            1 => Some(reader.array("firmwareLog")?),
            other => return Err(reader.value("firmwareLog", other.into())),
        };
        let node_key = match reader.u8("nodeKey")? {
            0 => NodeKeyProof::Certify,
            1 => NodeKeyProof::OnRecord { spki_sha256: reader.array("nodeKey")? },
            other => return Err(reader.value("nodeKey", other.into())),
        };
        reader.finish()?;
        Ok(Self { ak, eks, secrets, selection, known_firmware_log, node_key, ownership, residency })
    }
}

/// A TPM that has proven itself before: what the server's record keeps of it, and draws the next challenge from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTpm {
    /// Its attestation key, as activated.
    pub ak: Public,
    /// Its endorsement keys, as verified when it enrolled.
    pub eks: Vec<EkIdentity>,
    /// What was proven then of its platform and device keys.
    pub ownership: Ownership,
}

impl KnownTpm {
    /// As the record keeps it, below 5 KiB.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Self::write(&self.ak, &self.eks, &self.ownership, Writer::new()).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`Malformed`] for anything else: the record is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Seal, bytes);
        let known = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(known)
    }

    fn write(ak: &Public, eks: &[EkIdentity], ownership: &Ownership, writer: Writer) -> Writer {
        let version = if ownership.is_empty() { VERSION } else { VERSION_WITH_OWNERSHIP };
        let writer = writer.u8(version).sized16(ak.as_bytes()).list8(eks, |writer, ek| ek.write(writer));
        if ownership.is_empty() { writer } else { ownership.write(writer) }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let version = reader.u8("version")?;
        if !matches!(version, VERSION | VERSION_WITH_OWNERSHIP) {
            return Err(reader.value("version", version.into()));
        }
        let ak = Public::parse(reader.sized16(PUBLIC_BYTES_MAX, "ak")?)?;
        let count = reader.count8(EKS_MAX, "eks")?;
        let eks = (0..count).map(|_| EkIdentity::read(reader)).collect::<Result<_, _>>()?;
        let ownership = match version {
            VERSION_WITH_OWNERSHIP => Ownership::read(reader)?,
            _ => Ownership::default(),
        };
        Ok(Self { ak, eks, ownership })
    }
}
