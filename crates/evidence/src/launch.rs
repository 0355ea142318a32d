//! The digest of a launch: what an operator registers before a guest starts, and what its evidence then says of itself.
//! Verifies nothing; whether a digest is registered is for `crates/appraisal` to ask.
//!
//! A launch is the initial memory *and* what the host gave this one guest alone (SNP's `HOST_DATA`, TDX's
//! `MRCONFIGID`): two guests of one image are two launches, and a guest that nobody announced is none.

use crate::crypto::sha256;

/// What says which SEV-SNP guest was launched: fields of its attestation report, AMD 56860 table "ATTESTATION_REPORT".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnpLaunch {
    /// `MEASUREMENT`: the launch digest over the initial memory.
    pub measurement: [u8; 48],
    /// `HOST_DATA`: chosen by the host at launch; unique for each guest, or two guests are one launch.
    pub host_data: [u8; 32],
    /// `ID_KEY_DIGEST`: the key that signed the ID block; zero without one.
    pub id_key_digest: [u8; 48],
}

impl SnpLaunch {
    /// SHA-256 over the label `snp.launch` and the fields, each at its full width.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[b"snp.launch", &self.measurement, &self.host_data, &self.id_key_digest])
    }
}

/// What says which TDX guest was launched: fields of its TD report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdxLaunch {
    /// `MRTD`: the measurement of the initial memory.
    pub mrtd: [u8; 48],
    /// `MRCONFIGID`: chosen by the host at launch; unique for each guest, or two guests are one launch.
    pub mrconfigid: [u8; 48],
    /// `MROWNER`: chosen by the host at launch.
    pub mrowner: [u8; 48],
    /// `MROWNERCONFIG`: chosen by the host at launch.
    pub mrownerconfig: [u8; 48],
}

impl TdxLaunch {
    /// SHA-256 over the label `tdx.launch` and the fields, each at its full width.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        sha256(&[b"tdx.launch", &self.mrtd, &self.mrconfigid, &self.mrowner, &self.mrownerconfig])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNP: SnpLaunch = SnpLaunch { measurement: [1; 48], host_data: [2; 32], id_key_digest: [3; 48] };
    const TDX: TdxLaunch = TdxLaunch { mrtd: [1; 48], mrconfigid: [2; 48], mrowner: [3; 48], mrownerconfig: [4; 48] };

    #[test]
    fn the_digest_is_the_one_that_a_shell_computes() {
        // printf 'snp.launch'; then 48 bytes 01, 32 bytes 02, 48 bytes 03 | sha256sum
        let snp = hex::encode(SNP.digest());
        assert_eq!(snp, "37df50fd9404b6daa7089147702f75df0455cbf27b3acb27c8d7098cb4883c85");
        // printf 'tdx.launch'; then 48 bytes each of 01, 02, 03, 04 | sha256sum
        let tdx = hex::encode(TDX.digest());
        assert_eq!(tdx, "8341409db5eeedd28e54bdd6c2f8c3212633ccd12c33bbf58af327e39d008184");
    }

    #[test]
    fn every_field_is_in_the_digest() {
        let mut snp = vec![SNP; 4];
        snp[1].measurement[47] ^= 1;
        snp[2].host_data[31] ^= 1;
        snp[3].id_key_digest[47] ^= 1;
        let mut tdx = vec![TDX; 5];
        tdx[1].mrtd[47] ^= 1;
        tdx[2].mrconfigid[47] ^= 1;
        tdx[3].mrowner[47] ^= 1;
        tdx[4].mrownerconfig[47] ^= 1;
        let digests = snp.iter().map(SnpLaunch::digest).chain(tdx.iter().map(TdxLaunch::digest));
        let digests: std::collections::BTreeSet<_> = digests.collect();
        assert_eq!(digests.len(), 9);
    }
}
