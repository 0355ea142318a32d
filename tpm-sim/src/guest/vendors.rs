//! What AMD and Intel serve over HTTP, for the chips and platforms of a lab's guests: certificates of keys and their issuers
//! (AMD's KDS), TCB info, QE identity and revocation lists (Intel's PCS, and its caches).

use std::sync::Arc;

use super::amd::{SigningKey, SnpSpec, Tcb};
use super::lab::Lab;
use super::place::GuestSpec;
use super::service::{Answer, Handler, Request};
use super::tdx::{Documents, TdxSpec};
use super::vtpm::azure::Hardware;
use crate::der::to_pem;
use crate::error::SimError;

const DER: &str = "application/x-pem-file";
const OCTETS: &str = "application/octet-stream";

/// The service of the vendors in `lab`.
#[must_use]
pub fn vendors(lab: Lab) -> Handler {
    Arc::new(move |request: &Request| {
        answer(&lab, request).unwrap_or_else(|error| {
            tracing::warn!(%error, "vendors' service");
            Answer::status(500)
        })
    })
}

fn answer(lab: &Lab, request: &Request) -> Result<Answer, SimError> {
    if request.method != "GET" {
        return Ok(Answer::status(405));
    }
    let words: Vec<&str> = request.path().split('/').skip(1).collect();
    let found = match words.as_slice() {
        [kind @ ("vcek" | "vlek"), "v1", product, rest] => amd(lab, signing_key(kind), product, rest, request)?,
        ["tdx", "certification", "v4", "tcb"] => {
            let wanted = request.query("fmspc").unwrap_or_default().to_lowercase();
            documents(lab, |spec| spec.platform.fmspc == wanted)?.map(|documents| {
                Answer::body("application/json", documents.tcb_info_answer().into_bytes())
                    .with("TCB-Info-Issuer-Chain", escaped(&documents.signer_chain))
            })
        }
        ["tdx", "certification", "v4", "qe", "identity"] => documents(lab, |_| true)?.map(|documents| {
            Answer::body("application/json", documents.qe_identity_answer().into_bytes())
                .with("SGX-Enclave-Identity-Issuer-Chain", escaped(&documents.signer_chain))
        }),
        ["sgx", "certification", "v4", "pckcrl"] => {
            let wanted = request.query("ca").unwrap_or_default();
            let in_der = request.query("encoding") == Some("der");
            documents(lab, |spec| spec.platform.ca == wanted)?.map(|documents| {
                let list = match in_der {
                    true => documents.pck_crl,
                    false => to_pem("X509 CRL", &documents.pck_crl).into_bytes(),
                };
                Answer::body("application/pkix-crl", list)
                    .with("SGX-PCK-CRL-Issuer-Chain", escaped(&documents.ca_chain))
            })
        }
        ["sgx", "certification", "v4", "rootcacrl"] => documents(lab, |_| true)?
            .map(|documents| Answer::body("text/plain", hex::encode(documents.root_crl).into_bytes())),
        ["IntelSGXRootCA.der"] => {
            documents(lab, |_| true)?.map(|documents| Answer::body("application/pkix-crl", documents.root_crl))
        }
        _ => None,
    };
    Ok(found.unwrap_or(Answer::status(404)))
}

fn signing_key(kind: &str) -> SigningKey {
    if kind == "vlek" { SigningKey::Vlek } else { SigningKey::Vcek }
}

/// Certificates of keys for chips that a guest runs on; their issuers; the root's list.
fn amd(lab: &Lab, kind: SigningKey, product: &str, what: &str, request: &Request) -> Result<Option<Answer>, SimError> {
    let guests = snp_guests(lab, product)?;
    let Some(guest) = guests.first() else { return Ok(None) };
    let amd = lab.amd(&guest.product)?;
    match what {
        "cert_chain" => {
            let issuer = amd.issuer_until(kind, guest.issuer_ends)?;
            let chain = [&issuer, amd.root()].map(|der| to_pem("CERTIFICATE", der)).concat();
            Ok(Some(Answer::body(DER, chain.into_bytes())))
        }
        "crl" => {
            let revoked = guests.iter().filter(|guest| guest.issuer_revoked).map(|guest| guest.signing_key);
            let revoked: Vec<SigningKey> = revoked.collect();
            Ok(Some(Answer::body(OCTETS, amd.revocation_list(&revoked)?)))
        }
        chip if kind == SigningKey::Vcek => {
            let chip = chip.to_lowercase();
            let Some(guest) = guests.iter().find(|guest| guest.chip_id == chip) else { return Ok(None) };
            let Some(tcb) = tcb(request) else { return Ok(Some(Answer::status(400))) };
            let der = amd.certify(kind, &chip, &tcb, guest.certificate_ends)?;
            Ok(Some(Answer::body(OCTETS, der)))
        }
        // AMD gives certificates of providers' keys to providers alone.
        _ => Ok(None),
    }
}

fn tcb(request: &Request) -> Option<Tcb> {
    let number = |name: &str| request.query(name)?.parse().ok();
    Some(Tcb {
        fmc: if request.query("fmcSPL").is_some() { number("fmcSPL")? } else { 0 },
        bootloader: number("blSPL")?,
        tee: number("teeSPL")?,
        snp: number("snpSPL")?,
        microcode: number("ucodeSPL")?,
    })
}

fn snp_guests(lab: &Lab, product: &str) -> Result<Vec<SnpSpec>, SimError> {
    let specs = lab.guests()?.into_iter().filter_map(|guest| guest.spec().ok());
    let reports = specs.filter_map(|spec| match spec {
        GuestSpec::Snp(spec) => Some(*spec),
        GuestSpec::Azure(spec) if spec.hardware == Hardware::Snp => Some(spec.snp),
        _ => None,
    });
    Ok(reports.filter(|spec| spec.product == product).collect())
}

/// What Intel says about the platform of the first TD that is such.
fn documents(lab: &Lab, wanted: impl Fn(&TdxSpec) -> bool) -> Result<Option<Documents>, SimError> {
    let specs = lab.guests()?.into_iter().filter_map(|guest| guest.spec().ok());
    let mut tds = specs.filter_map(|spec| match spec {
        GuestSpec::Tdx(spec) => Some(*spec),
        GuestSpec::Azure(spec) if spec.hardware == Hardware::Tdx => Some(spec.tdx),
        _ => None,
    });
    tds.find(wanted).map(|spec| lab.intel()?.documents(&spec)).transpose()
}

/// PEM as Intel puts it into a header.
fn escaped(pem: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    pem.bytes().map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
