//! Every field of a simulated enclave's document, as a file has it; and the lies that could be told about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::amd::random;

/// An enclave's document, field by field; byte strings are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NitroSpec {
    /// The parent's instance id.
    pub instance_id: String,
    /// `module_id`: `i-…-enc…`, drawn at launch.
    pub module_id: String,
    /// Region, as the leaf's name ends.
    pub region: String,
    /// PCRs by number, 48 bytes each. Those left out are zero, as far as 15.
    pub pcrs: BTreeMap<u8, String>,
    /// A lie: the document's time, in seconds from now.
    pub time_shift: i64,
    /// A lie: another nonce than the enclave asked for.
    pub nonce: Option<String>,
    /// A lie: other user data than the enclave asked for.
    pub user_data: Option<String>,
    /// A lie: this byte of the document is flipped after it was signed.
    pub flipped_byte: Option<usize>,
    /// A lie: a leaf of another hypervisor's chain signs.
    pub signed_by_another: bool,
}

impl Default for NitroSpec {
    fn default() -> Self {
        let instance_id = format!("i-{}", &random(9)[..17]);
        let digest = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA384, text.as_bytes()));
        // PCR4 is extended with the bare instance id, nothing hashed before.
        let extended = [&[0; 48], instance_id.as_bytes()].concat();
        let pcr4 = hex::encode(ring::digest::digest(&ring::digest::SHA384, &extended));
        Self {
            module_id: format!("{instance_id}-enc{}", &random(8)[..16]),
            instance_id,
            region: "us-east-1".to_owned(),
            pcrs: BTreeMap::from([
                (0, digest("simulated enclave image 1")),
                (1, digest("simulated enclave kernel")),
                (2, digest("simulated enclave application 1")),
                (4, pcr4),
            ]),
            time_shift: 0,
            nonce: None,
            user_data: None,
            flipped_byte: None,
            signed_by_another: false,
        }
    }
}
