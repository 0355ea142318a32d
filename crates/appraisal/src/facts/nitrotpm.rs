//! Facts of NitroTPM: who attests, and the TPM's registers as the hypervisor's document has them. Verifies nothing.

use holdfast_evidence::Provenance;
use holdfast_evidence::nitrotpm::{NitroTpmClaims, UnauthenticatedQuote};

use super::nitro::{NitroSources, key_digest};
use super::registry::kind_facts;
use super::{Fact, FactId, Facts};
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact of NitroTPM.
    NitroTpmFact, FactId::NitroTpm;
    InstanceId "nitrotpm.instance_id" Text One Machine Inventory, Some("nitrotpm:instance_id"),
        "the EC2 instance";
    Class "nitrotpm.class" Text One Origin No, Some("nitrotpm:class"),
        "trust class of the root above the evidence of NitroTPM";
    RootDigest "nitrotpm.root.sha256" Digest One Origin No, Some("nitrotpm:root"),
        "SHA-256 of the root certificate above the document of the NitroTPM";
    RootName "nitrotpm.root.name" Text One Origin No, None,
        "name of the root certificate above the document of the NitroTPM";
    Region "nitrotpm.region" Text One Hardware No, Some("nitrotpm:region"),
        "the region, where the certificate of the NitroTPM's document names it";
    PublicKey "nitrotpm.public_key.sha256" Digest One State No, None,
        "SHA-256 of the public key that somebody on the instance had signed along; nothing says where its private half lives";
    QuotePcrDigest "nitrotpm.quote.pcr_digest" Digest One State No, None,
        "digest over PCRs as the key in the document's public_key quoted it; any key signs that, so it is shown by inspections and never part of an attestation";
}

impl<'a> From<&'a NitroTpmClaims> for NitroSources<'a> {
    fn from(claims: &'a NitroTpmClaims) -> Self {
        let NitroTpmClaims { module_id, region, pcrs, public_key, root, .. } = claims;
        Self { module_id, region: region.as_deref(), pcrs, public_key: public_key.as_deref(), root }
    }
}

/// The facts of an instance with a NitroTPM. A quote adds what it says of itself and touches nothing else.
#[must_use]
pub fn nitrotpm(sources: &NitroSources<'_>, quote: Option<&UnauthenticatedQuote>) -> Facts {
    let mut facts = Facts::new();
    let mut add = |id: FactId, provenance: Provenance, value: Option<Value>| {
        if let Some(value) = value {
            facts.insert(id, Fact::of(provenance, vec![value]));
        }
    };
    let (provenance, root) = (sources.provenance(), sources.root);
    let instance = sources.module_id.instance_id();
    add(FactId::NitroTpm(NitroTpmFact::InstanceId), provenance, Some(Value::text(instance)));
    add(FactId::NitroTpm(NitroTpmFact::Class), provenance, Some(Value::text(root.class.as_str())));
    add(FactId::NitroTpm(NitroTpmFact::RootDigest), provenance, digest_of(&root.sha256).map(Value::Digest));
    add(FactId::NitroTpm(NitroTpmFact::RootName), provenance, Some(Value::text(&root.name)));
    add(FactId::NitroTpm(NitroTpmFact::Region), provenance, sources.region.map(Value::text));
    for (pcr, digest) in sources.pcrs {
        add(FactId::NitroTpmPcr(*pcr), provenance, Some(Value::Digest(*digest)));
    }
    let unauthenticated = Provenance::Unauthenticated;
    add(FactId::NitroTpm(NitroTpmFact::PublicKey), unauthenticated, key_digest(sources.public_key));
    if let Some(quote) = quote {
        let digest = digest_of(&quote.pcr_digest).map(Value::Digest);
        add(FactId::NitroTpm(NitroTpmFact::QuotePcrDigest), quote.provenance(), digest);
    }
    facts
}
