//! A simulated Google Cloud instance: an attestation key whose template and certificate stand in NV, the certificate naming
//! the instance.

use serde::{Deserialize, Serialize};

use super::ak::{self, AkKind};
use super::azure::{CertificateLie, lied};
use super::ca::Certified;
use super::front::{Provider, Quoting};
use super::indices::Indices;
use crate::der::{SEQUENCE, UTF8_STRING, element, unsigned};
use crate::error::SimError;
use crate::guest::lab::Lab;
use crate::guest::random;
use crate::tpm::process::Swtpm;

/// Certificate and template, of RSA and of P-256 (go-tpm-tools, `client/handles.go`).
pub(super) const RSA: (u32, u32) = (0x01c1_0000, 0x01c1_0001);
pub(super) const ECC: (u32, u32) = (0x01c1_0002, 0x01c1_0003);
/// 1.3.6.1.4.1.11129.2.1.21
const INSTANCE: [u64; 10] = [1, 3, 6, 1, 4, 1, 11129, 2, 1, 21];
const CERTIFICATE_DAYS: i64 = 30 * 365;
const BOOLEAN: u8 = 0x01;

/// An instance, field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GcpSpec {
    /// Zone.
    pub zone: String,
    /// Number of the project.
    pub project_number: u64,
    /// Id of the project.
    pub project_id: String,
    /// Id of the instance, drawn at launch.
    pub instance_id: u64,
    /// Name of the instance.
    pub instance_name: String,
    /// Security version of the virtual TPM.
    pub security_version: u8,
    /// Whether it runs in production.
    pub production: bool,
    /// Whether the machine offers a key on P-256 beside the one of RSA.
    pub ecc: bool,
    /// What it boots and quotes.
    pub quoting: Quoting,
    /// A lie about the key's certificate.
    pub certificate_lie: Option<CertificateLie>,
}

impl Default for GcpSpec {
    fn default() -> Self {
        Self {
            zone: "us-central1-a".to_owned(),
            project_number: 1_000_000_000_000,
            project_id: "holdfast-simulator".to_owned(),
            instance_id: new_instance(),
            instance_name: "instance-1".to_owned(),
            security_version: 0,
            production: true,
            ecc: true,
            quoting: Quoting::default(),
            certificate_lie: None,
        }
    }
}

impl GcpSpec {
    /// Launches it anew: another instance of the same name.
    pub fn relaunch(&mut self) {
        self.instance_id = new_instance();
    }

    /// The extension that names the instance.
    fn extension(&self) -> Vec<u8> {
        let text = |text: &str| element(UTF8_STRING, text.as_bytes());
        let number = |number: u64| unsigned(&number.to_be_bytes());
        let security = [
            element(0xa0, &unsigned(&[self.security_version])),
            element(0xa1, &element(BOOLEAN, &[if self.production { 0xff } else { 0 }])),
        ];
        let fields = [
            text(&self.zone),
            number(self.project_number),
            text(&self.project_id),
            number(self.instance_id),
            text(&self.instance_name),
            element(0xa0, &element(SEQUENCE, &security.concat())),
        ];
        element(SEQUENCE, &fields.concat())
    }
}

/// 63 random bits.
fn new_instance() -> u64 {
    u64::from_str_radix(&random(8), 16).unwrap_or(1) >> 1 | 1
}

impl Provider for GcpSpec {
    fn indices(&self, lab: &Lab, tpm: &mut Swtpm) -> Result<Indices, SimError> {
        let authority = lab.gcp()?;
        let mut indices = Indices::new();
        let kinds = [(AkKind::Ecc, ECC, self.ecc), (AkKind::Rsa, RSA, !self.ecc)];
        for (kind, (certificate, template), _) in kinds.into_iter().filter(|(_, _, offered)| *offered) {
            let made = ak::template(kind, &self.instance_id.to_string());
            let public = ak::with_key(tpm, &made, |_, _, public| Ok(public.to_vec()))?;
            let what = Certified {
                name: format!("{}.{}", self.instance_id, self.project_id),
                ends: CERTIFICATE_DAYS * 86_400,
                extension: Some((INSTANCE.to_vec(), self.extension())),
                ..Certified::default()
            };
            indices.insert(certificate, lied(&authority, &public, what, self.certificate_lie)?);
            indices.insert(template, made);
        }
        Ok(indices)
    }

    fn quoting(&self) -> &Quoting {
        &self.quoting
    }
}
