//! Every field of a simulated enclave's document, as a file has it; and the lies that could be told about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::random;

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
    /// The document's form, and the lies that are told about it.
    pub document: DocumentSpec,
}

/// How a document is written, and the lies that are told about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DocumentSpec {
    /// Whether the envelope has its tag. AWS's have none.
    pub tagged: bool,
    /// Whether the payload is a map without a length, as AWS's are of late.
    pub indefinite: bool,
    /// A lie: the document's time, in seconds from now.
    pub time_shift: i64,
    /// A lie: another nonce than was asked for; none at all if empty.
    pub nonce: Option<String>,
    /// A lie: other user data than was asked for; none at all if empty.
    pub user_data: Option<String>,
    /// A lie: this stands behind the user data that was asked for.
    pub behind_user_data: Option<String>,
    /// A lie: only so many bytes of the user data that was asked for.
    pub user_data_bytes: Option<usize>,
    /// A lie: another public key than was asked for.
    pub public_key: Option<String>,
    /// A lie: the document does not have these PCRs.
    pub without_pcrs: Vec<u8>,
    /// A lie: these bytes stand behind the document.
    pub behind_document: Option<String>,
    /// Whether s of the signature is the order less what it was: such a signature verifies as well.
    pub negated_signature: bool,
    /// A lie: a bit of this PCR is flipped after the document was signed.
    pub flipped_pcr: Option<u8>,
    /// A lie: this byte of the document is flipped after it was signed.
    pub flipped_byte: Option<usize>,
    /// A lie about the chain or the form.
    pub lie: Option<Lie>,
}

/// What is wrong with a document's chain or form; everything else of it is in order, its signature included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// The bundle begins with a root of its own, and everything is signed below it.
    OwnRoot,
    /// The leaf names its issuer, who did not sign it.
    ForgedLeaf,
    /// Another leaf of the same module signs than the one that stands in the document.
    OtherLeaf,
    /// The instance's certificate is none of an authority.
    InstanceIsNoCa,
    /// One more authority than the region's certificate allows.
    LongPath,
    /// The leaf is one of an authority.
    LeafIsCa,
    /// The leaf's key may agree on keys, not sign.
    LeafMayNotSign,
    /// The instance's certificate has ended.
    ExpiredInstance,
    /// The leaf has ended.
    ExpiredLeaf,
    /// The leaf names another module.
    OtherModule,
    /// The PCRs stand under the other kind's key.
    OtherKind,
    /// The protected header says ES256.
    OtherAlgorithm,
    /// The document says SHA256.
    OtherDigest,
    /// The signature is in DER.
    DerSignature,
    /// The nonce stands twice.
    NonceTwice,
    /// A key that the specification does not have.
    UnknownKey,
}

impl Default for DocumentSpec {
    fn default() -> Self {
        Self {
            tagged: false,
            indefinite: true,
            time_shift: 0,
            nonce: None,
            user_data: None,
            behind_user_data: None,
            user_data_bytes: None,
            public_key: None,
            without_pcrs: Vec::new(),
            behind_document: None,
            negated_signature: false,
            flipped_pcr: None,
            flipped_byte: None,
            lie: None,
        }
    }
}

impl Default for NitroSpec {
    fn default() -> Self {
        let instance_id = new_instance();
        let digest = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA384, text.as_bytes()));
        // PCR 4 is extended with the bare instance id, nothing hashed before; PCR 3 with the role's ARN.
        let measured = |text: &str| {
            let extended = [&[0; 48], text.as_bytes()].concat();
            hex::encode(ring::digest::digest(&ring::digest::SHA384, &extended))
        };
        Self {
            module_id: format!("{instance_id}-enc{}", new_enclave()),
            region: "us-east-1".to_owned(),
            pcrs: BTreeMap::from([
                (0, digest("simulated enclave image 1")),
                (1, digest("simulated enclave kernel")),
                (2, digest("simulated enclave application 1")),
                (3, measured("arn:aws:iam::000000000000:role/holdfast-simulator")),
                (4, measured(&instance_id)),
            ]),
            instance_id,
            document: DocumentSpec::default(),
        }
    }
}

impl NitroSpec {
    /// The same enclave, launched anew by the same instance.
    pub fn relaunch(&mut self) {
        self.module_id = format!("{}-enc{}", self.instance_id, new_enclave());
    }
}

/// An instance id: `i-` and 17 digits.
pub(crate) fn new_instance() -> String {
    format!("i-{}", digits(17))
}

fn new_enclave() -> String {
    digits(16)
}

fn digits(count: usize) -> String {
    let mut drawn = random(count.div_ceil(2));
    drawn.truncate(count);
    drawn
}
