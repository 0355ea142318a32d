//! What Intel says, by what it is looked up, and where its service (or a cache of it, a PCCS) has the four documents of
//! a kind of platform. Fetches nothing.

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tdx::{CheckedCollateral, PckCa, PlatformKind};
use holdfast_identity::UnixTime;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::settings::{EndorseSettings, UpdateChannel};
use crate::store::{EndorsementDraft, EndorsementRole, EndorsementSource};

/// The host of Intel's own service, whose root CRL is elsewhere.
const INTEL: &str = "api.trustedservices.intel.com";
/// Where Intel publishes it.
const INTEL_ROOT_CRL: &str = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der";
/// Header with the chain of the PCK CRL's issuer, percent-encoded.
pub(super) const LIST_CHAIN: &str = "sgx-pck-crl-issuer-chain";
/// Headers with the chains of the documents' signers.
pub(super) const CHAINS: [&str; 4] =
    ["tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain", "sgx-enclave-identity-issuer-chain", LIST_CHAIN];

/// From which channel collateral is; what operators brought is from any.
pub(super) fn channel(update: UpdateChannel, source: EndorsementSource) -> &'static str {
    match source {
        EndorsementSource::Service => update.as_str(),
        EndorsementSource::File
        | EndorsementSource::Bundle
        | EndorsementSource::Directory
        | EndorsementSource::Evidence => ANY,
    }
}

/// What operators brought.
pub(super) const ANY: &str = "any";

/// By which it is looked up: `tdx/90c06f000000/platform/standard`.
pub(super) fn about(kind: PlatformKind, channel: &str) -> String {
    format!("tdx/{}/{}/{channel}", hex::encode(kind.fmspc), kind.ca)
}

/// The kind of platform that a name from [`about`] is about.
pub(super) fn kind_of(about: &str) -> Option<PlatformKind> {
    let mut parts = about.strip_prefix("tdx/")?.split('/');
    read_kind(parts.next()?, parts.next()?)
}

/// A kind of platform from FMSPC and CA as Intel writes them.
pub(super) fn read_kind(fmspc: &str, ca: &str) -> Option<PlatformKind> {
    let mut bytes = [0; 6];
    hex::decode_to_slice(fmspc, &mut bytes).ok()?;
    let ca = [PckCa::Processor, PckCa::Platform].into_iter().find(|known| known.as_str() == ca)?;
    Some(PlatformKind { fmspc: bytes, ca })
}

/// The paths of the four documents, TCB info first: what the service does not know is known by it.
pub(super) fn paths(kind: PlatformKind, settings: &EndorseSettings) -> [String; 4] {
    let (fmspc, update) = (hex::encode(kind.fmspc), settings.update.as_str());
    let root_crl = match &settings.intel_root_crl_url {
        Some(url) => url.clone(),
        None if settings.intel_url.as_ref().is_some_and(|url| url.contains(INTEL)) => INTEL_ROOT_CRL.to_owned(),
        None => "/sgx/certification/v4/rootcacrl".to_owned(),
    };
    [
        format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update={update}"),
        format!("/tdx/certification/v4/qe/identity?update={update}"),
        format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", kind.ca),
        root_crl,
    ]
}

/// The first certificate of a chain as a header has it: PEM, percent-encoded.
pub(super) fn first_of(chain: &[u8]) -> Option<Vec<u8>> {
    let mut pem = Vec::with_capacity(chain.len());
    let mut rest = chain;
    while let Some((first, tail)) = rest.split_first() {
        let mut byte = [*first];
        rest = tail;
        if let (b'%', Some((digits, after))) = (first, tail.split_first_chunk::<2>())
            && hex::decode_to_slice(digits, &mut byte).is_ok()
        {
            rest = after;
        }
        pem.extend(byte);
    }
    CertificateDer::pem_slice_iter(&pem).next()?.ok().map(|der| der.to_vec())
}

/// Collateral to be held.
pub(super) fn draft(
    checked: &CheckedCollateral,
    channel: &str,
    source: EndorsementSource,
    at: UnixTime,
) -> EndorsementDraft {
    let collateral = checked.collateral();
    let kind = collateral.kind();
    EndorsementDraft {
        role: EndorsementRole::Collateral,
        serves: EvidenceKind::Tdx.into(),
        content: collateral.encode(),
        class: String::new(),
        name: format!("FMSPC {}, evaluation {}", hex::encode(kind.fmspc), collateral.evaluation_number()),
        subject: format!("PCK {} CA", kind.ca),
        about: about(kind, channel),
        not_after: checked.next_update(),
        source,
        fetched_at: at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_from_its_name() {
        let kind = PlatformKind { fmspc: [0x90, 0xc0, 0x6f, 0, 0, 0], ca: PckCa::Platform };
        let about = about(kind, "early");
        assert_eq!(about, "tdx/90c06f000000/platform/early");
        assert_eq!(kind_of(&about), Some(kind));
        for other in ["tdx/90c06f/platform/early", "tdx/90c06f000000/root/early", "vcek/Milan/00/bl=1"] {
            assert_eq!(kind_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_root_crl_is_where_the_service_has_it() {
        let kind = PlatformKind { fmspc: [0; 6], ca: PckCa::Processor };
        let of = |url: &str, crl: Option<&str>| {
            let settings = EndorseSettings {
                intel_url: Some(url.to_owned()),
                intel_root_crl_url: crl.map(str::to_owned),
                ..EndorseSettings::default()
            };
            paths(kind, &settings)[3].clone()
        };
        assert_eq!(of("https://api.trustedservices.intel.com", None), INTEL_ROOT_CRL);
        assert_eq!(of("https://pccs.example.org:8081", None), "/sgx/certification/v4/rootcacrl");
        assert_eq!(of("https://pccs.example.org:8081", Some("http://x/crl")), "http://x/crl");
    }
}
