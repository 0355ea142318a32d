//! Facts of Nitro Enclaves: who attests and what was started. Verifies nothing.

use holdfast_evidence::crypto::{Digest, sha256};
use holdfast_evidence::nitro::{ModuleId, NitroClaims};
use holdfast_evidence::x509::RootIdentity;
use holdfast_evidence::{Provenance, TrustClass};

use super::registry::kind_facts;
use super::{Fact, FactId, Facts};
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact of Nitro Enclaves.
    NitroFact, FactId::Nitro;
    ModuleId "nitro.module_id" Text One Machine No, Some("nitro:module_id"),
        "the enclave, one launch of it: parent instance and enclave, as the hypervisor names them";
    InstanceId "nitro.instance_id" Text One Hardware Inventory, Some("nitro:instance_id"),
        "the parent EC2 instance; PCR 4 was compared with it";
    Class "nitro.class" Text One Origin No, Some("nitro:class"),
        "trust class of the root above the evidence of Nitro Enclaves";
    RootDigest "nitro.root.sha256" Digest One Origin No, Some("nitro:root"),
        "SHA-256 of the root certificate above the document";
    RootName "nitro.root.name" Text One Origin No, None,
        "name of that root certificate";
    Region "nitro.region" Text One Hardware No, Some("nitro:region"),
        "the region, where the document's certificate names it";
    Role "nitro.role" Digest One Hardware Inventory, Some("nitro:role"),
        "PCR 3: the parent instance's IAM role, SHA-384 over 48 zero bytes and the role's ARN; the ARN holds the account, and an instance without a role has none";
    RoleArn "nitro.role_arn" Text One Hardware No, None,
        "PCR 3 again: an ARN in a policy is compared by its digest";
    Image "nitro.image" Digest One State No, Some("nitro:image"),
        "PCR 0: the whole image; anybody can start it in an account of his own";
    Kernel "nitro.kernel" Digest One State No, Some("nitro:kernel"),
        "PCR 1: kernel, command line and first RAM disk; unrelated applications share the stock kernel's";
    Application "nitro.application" Digest One State No, Some("nitro:application"),
        "PCR 2: every RAM disk but the first";
    Signer "nitro.signer" Digest One State No, Some("nitro:signer"),
        "PCR 8: the certificate that the image was signed with, SHA-384 over 48 zero bytes and the SHA-384 of its DER; an unsigned image has none";
    PublicKey "nitro.public_key.sha256" Digest One State No, None,
        "SHA-256 of the public key that the enclave had signed along, where it had one";
}

/// The parts of verified claims, or of what an offline inspection found out, that become facts.
#[derive(Clone, Copy, Debug)]
pub struct NitroSources<'a> {
    /// The module.
    pub module_id: &'a ModuleId,
    /// The region, where it is known.
    pub region: Option<&'a str>,
    /// The PCRs.
    pub pcrs: &'a [(u8, Digest)],
    /// The key that was signed along.
    pub public_key: Option<&'a [u8]>,
    /// The root.
    pub root: &'a RootIdentity,
}

impl<'a> From<&'a NitroClaims> for NitroSources<'a> {
    fn from(claims: &'a NitroClaims) -> Self {
        let NitroClaims { module_id, region, pcrs, public_key, root, .. } = claims;
        Self { module_id, region: region.as_deref(), pcrs, public_key: public_key.as_deref(), root }
    }
}

impl NitroSources<'_> {
    /// Who vouches for the facts: the provider's hypervisor, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        match self.root.class {
            TrustClass::Simulated => Provenance::Simulated,
            TrustClass::Discrete | TrustClass::Firmware | TrustClass::Vtpm | TrustClass::Cloud => Provenance::Provider,
        }
    }
}

/// The facts of an enclave.
#[must_use]
pub fn nitro(sources: &NitroSources<'_>) -> Facts {
    let mut facts = Facts::new();
    let provenance = sources.provenance();
    let mut add = |id: FactId, value: Option<Value>| {
        if let Some(value) = value {
            facts.insert(id, Fact::of(provenance, vec![value]));
        }
    };
    let (module, root) = (sources.module_id, sources.root);
    add(FactId::Nitro(NitroFact::ModuleId), Some(Value::text(module.as_str())));
    add(FactId::Nitro(NitroFact::InstanceId), Some(Value::text(module.instance_id())));
    add(FactId::Nitro(NitroFact::Class), Some(Value::text(root.class.as_str())));
    add(FactId::Nitro(NitroFact::RootDigest), digest_of(&root.sha256).map(Value::Digest));
    add(FactId::Nitro(NitroFact::RootName), Some(Value::text(&root.name)));
    add(FactId::Nitro(NitroFact::Region), sources.region.map(Value::text));
    add(FactId::Nitro(NitroFact::PublicKey), key_digest(sources.public_key));
    for (pcr, digest) in sources.pcrs.iter().filter(|(_, digest)| !digest.is_zero()) {
        add(FactId::NitroPcr(*pcr), Some(Value::Digest(*digest)));
        for fact in aliases(*pcr) {
            add(FactId::Nitro(*fact), Some(Value::Digest(*digest)));
        }
    }
    facts
}

/// The readable names of a PCR.
const fn aliases(pcr: u8) -> &'static [NitroFact] {
    match pcr {
        0 => &[NitroFact::Image],
        1 => &[NitroFact::Kernel],
        2 => &[NitroFact::Application],
        3 => &[NitroFact::Role, NitroFact::RoleArn],
        8 => &[NitroFact::Signer],
        _ => &[],
    }
}

pub(super) fn key_digest(key: Option<&[u8]>) -> Option<Value> {
    digest_of(&sha256(&[key?])).map(Value::Digest)
}
