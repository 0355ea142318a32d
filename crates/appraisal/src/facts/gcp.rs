//! Facts of Google Cloud instances: who they are by the certificate of their virtual TPM's key. What the TPM quotes is said
//! in the words of `tpm`. Verifies nothing.

use holdfast_evidence::Provenance;
use holdfast_evidence::gcp::{GcpClaims, Instance};
use holdfast_evidence::tpm::QuotedBoot;
use holdfast_evidence::x509::RootIdentity;

use super::registry::kind_facts;
use super::{Fact, FactId, Facts, quoted};
use crate::value::{Value, digest_of};

kind_facts! {
    /// A fact of Google Cloud instances.
    GcpFact, FactId::Gcp;
    InstanceId "gcp.instance_id" Text One Machine Inventory, Some("gcp:instance_id"),
        "id of the instance, decimal; Google gives it to no other";
    Class "gcp.class" Text One Origin No, Some("gcp:class"),
        "trust class of the root above the evidence of Google Cloud instances";
    RootDigest "gcp.root.sha256" Digest One Origin No, Some("gcp:root"),
        "SHA-256 of the root certificate above the attestation key of the virtual TPM";
    RootName "gcp.root.name" Text One Origin No, None,
        "name of the root certificate above the attestation key of the virtual TPM";
    ProjectNumber "gcp.project_number" Text One Hardware Inventory, Some("gcp:project_number"),
        "number of the instance's project, decimal";
    ProjectId "gcp.project_id" Text One Hardware Inventory, Some("gcp:project_id"),
        "id of the instance's project";
    Zone "gcp.zone" Text One Hardware No, Some("gcp:zone"),
        "zone that the instance runs in";
    InstanceName "gcp.instance_name" Text One Hardware No, Some("gcp:instance_name"),
        "name of the instance, chosen by its owner: another instance may have had it before";
    SecurityVersion "gcp.security_version" Integer One Hardware No, None,
        "security version of the virtual TPM, as Google says it";
    Production "gcp.production" Bool One Hardware No, None,
        "whether the instance runs in Google's production, and not in a test environment";
}

/// The facts of an instance and of what its virtual TPM quoted.
#[must_use]
pub fn gcp(claims: &GcpClaims) -> Facts {
    let mut facts = gcp_quote(&claims.boot, claims.provenance());
    gcp_instance(&mut facts, &claims.instance, &claims.root, claims.provenance());
    facts
}

/// What the virtual TPM quoted.
#[must_use]
pub fn gcp_quote(boot: &QuotedBoot, provenance: Provenance) -> Facts {
    quoted::quoted(boot, provenance)
}

/// Who the instance is, by its certificate alone.
pub fn gcp_instance(facts: &mut Facts, instance: &Instance, root: &RootIdentity, provenance: Provenance) {
    let mut add = |fact: GcpFact, value: Option<Value>| {
        if let Some(value) = value {
            facts.insert(FactId::Gcp(fact), Fact::of(provenance, vec![value]));
        }
    };
    add(GcpFact::InstanceId, Some(Value::text(&instance.instance_id.to_string())));
    add(GcpFact::Class, Some(Value::text(root.class.as_str())));
    add(GcpFact::RootDigest, digest_of(&root.sha256).map(Value::Digest));
    add(GcpFact::RootName, Some(Value::text(&root.name)));
    add(GcpFact::ProjectNumber, Some(Value::text(&instance.project_number.to_string())));
    add(GcpFact::ProjectId, Some(Value::text(&instance.project_id)));
    add(GcpFact::Zone, Some(Value::text(&instance.zone)));
    add(GcpFact::InstanceName, Some(Value::text(&instance.instance_name)));
    let security = instance.security;
    add(GcpFact::SecurityVersion, security.and_then(|security| security.version).map(Value::Integer));
    add(GcpFact::Production, security.and_then(|security| security.production).map(Value::Bool));
}
