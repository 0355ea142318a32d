//! `IdentityMaterial`: what an agent says about its TPM when it asks for a challenge. All claims.

use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::ek::EKS_MAX;
use super::endorsement::CERTIFICATE_BYTES_MAX;
use super::ownership::OfferedOwnership;
use super::public::{PUBLIC_BYTES_MAX, Public};

/// Blobs of one chain, each from one NV index with one or several certificates: on-device intermediates of Intel are
/// three certificates.
pub const CHAIN_MAX: usize = 8;
const VERSION: u8 = 1;
/// With platform certificate or device keys; written only where there are any, so that former servers take the others.
const VERSION_WITH_OWNERSHIP: u8 = 2;

/// What an agent sends in `begin` as material of kind `tpm`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityMaterial {
    /// Every endorsement key that has a certificate. A machine that returns with a known attestation key may send none.
    pub endorsement: Vec<OfferedEk>,
    /// `TPM2B_PUBLIC` of the attestation key.
    pub ak_public: Vec<u8>,
    /// What makes the machine somebody's beside its endorsement keys.
    pub ownership: OfferedOwnership,
}

/// One endorsement key, as found in the TPM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfferedEk {
    /// The certificate as read from NV: DER, perhaps padded or wrapped.
    pub certificate: Vec<u8>,
    /// What the TPM's chain indices hold: DER certificates, one or several in a row, in any order.
    pub chain: Vec<Vec<u8>>,
    /// `TPM2B_PUBLIC` of the key.
    pub public: Vec<u8>,
}

impl IdentityMaterial {
    /// The bytes that travel.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let has_ownership = !self.ownership.is_empty();
        let writer = Writer::new()
            .u8(if has_ownership { VERSION_WITH_OWNERSHIP } else { VERSION })
            .sized16(&self.ak_public)
            .list8(&self.endorsement, |writer, ek| {
                writer
                    .sized16(&ek.certificate)
                    .sized16(&ek.public)
                    .list8(&ek.chain, |writer, certificate| writer.sized16(certificate))
            });
        if has_ownership { self.ownership.write(writer).finish() } else { writer.finish() }
    }

    /// Reads what an agent sent: at most 4 keys, and with each at most 8 blobs of certificates, each below 8 KiB.
    ///
    /// # Errors
    /// [`Malformed`] beyond these limits, at the first field that does not parse, and for trailing bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Material, bytes);
        let version = reader.u8("version")?;
        if !matches!(version, VERSION | VERSION_WITH_OWNERSHIP) {
            return Err(reader.value("version", version.into()));
        }
        let ak_public = reader.sized16(PUBLIC_BYTES_MAX + 2, "akPublic")?.to_vec();
        let count = reader.count8(EKS_MAX, "endorsement")?;
        let mut endorsement = Vec::with_capacity(count);
        for _ in 0..count {
            let certificate = reader.sized16(CERTIFICATE_BYTES_MAX, "certificate")?.to_vec();
            let public = reader.sized16(PUBLIC_BYTES_MAX + 2, "ekPublic")?.to_vec();
            let certificates = reader.count8(CHAIN_MAX, "chain")?;
            let chain = (0..certificates)
                .map(|_| reader.sized16(CERTIFICATE_BYTES_MAX, "chain").map(<[u8]>::to_vec))
                .collect::<Result<_, _>>()?;
            endorsement.push(OfferedEk { certificate, chain, public });
        }
        let ownership = match version {
            VERSION_WITH_OWNERSHIP => OfferedOwnership::read(&mut reader)?,
            _ => OfferedOwnership::default(),
        };
        reader.finish()?;
        Ok(Self { endorsement, ak_public, ownership })
    }

    /// The attestation key's public area.
    ///
    /// # Errors
    /// [`Malformed`] as for [`Public::parse_sized`].
    pub fn ak(&self) -> Result<Public, Malformed> {
        Public::parse_sized(&self.ak_public)
    }
}
