//! What the simulated Intel says about a kind of platform: TCB info and QE identity, signed, and revocation lists; as the
//! answers of its service, and as the one document of `dcap-qvl`.

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use super::pki::Intel;
use super::spec::{CollateralSpec, PlatformSpec, TdxSpec};
use crate::error::SimError;

/// The documents about one kind of platform.
#[derive(Clone, Debug)]
pub struct Documents {
    /// TCB info, the text that is signed.
    pub tcb_info: String,
    /// Its signature: r and s in hex.
    pub tcb_info_signature: String,
    /// QE identity, the text that is signed.
    pub qe_identity: String,
    /// Its signature.
    pub qe_identity_signature: String,
    /// The chain of the signer of both, PEM.
    pub signer_chain: String,
    /// The root's revocation list, DER.
    pub root_crl: Vec<u8>,
    /// The revocation list of the CA above the PCK, DER.
    pub pck_crl: Vec<u8>,
    /// The chain of that CA, PEM.
    pub ca_chain: String,
}

impl Intel {
    /// What is said about the platform of `spec` now.
    ///
    /// # Errors
    /// [`SimError::Guest`], [`SimError::Certificate`].
    pub fn documents(&self, spec: &TdxSpec) -> Result<Documents, SimError> {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let collateral = &spec.collateral;
        let window = (now + Duration::seconds(collateral.issued), now + Duration::seconds(collateral.next_update));
        let (tcb_info, qe_identity) = (tcb_info(spec, window)?.to_string(), qe_identity(spec, window)?.to_string());
        let [root_crl, pck_crl] = self.lists(&spec.platform, &collateral.revoked, window)?;
        Ok(Documents {
            tcb_info_signature: hex::encode(self.sign(&tcb_info, collateral.forged)?),
            qe_identity_signature: hex::encode(self.sign(&qe_identity, collateral.forged)?),
            tcb_info,
            qe_identity,
            signer_chain: self.signer_chain(),
            root_crl,
            pck_crl,
            ca_chain: self.ca_chain(&spec.platform.ca)?,
        })
    }
}

impl Documents {
    /// The body of the service's answer to `/tdx/certification/v4/tcb`.
    #[must_use]
    pub fn tcb_info_answer(&self) -> String {
        format!("{{\"tcbInfo\":{},\"signature\":\"{}\"}}", self.tcb_info, self.tcb_info_signature)
    }

    /// The body of its answer to `/tdx/certification/v4/qe/identity`.
    #[must_use]
    pub fn qe_identity_answer(&self) -> String {
        format!("{{\"enclaveIdentity\":{},\"signature\":\"{}\"}}", self.qe_identity, self.qe_identity_signature)
    }

    /// Everything as one document, in the form of `dcap-qvl`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "pck_crl_issuer_chain": self.ca_chain,
            "root_ca_crl": hex::encode(&self.root_crl),
            "pck_crl": hex::encode(&self.pck_crl),
            "tcb_info_issuer_chain": self.signer_chain,
            "tcb_info": self.tcb_info,
            "tcb_info_signature": self.tcb_info_signature,
            "qe_identity_issuer_chain": self.signer_chain,
            "qe_identity": self.qe_identity,
            "qe_identity_signature": self.qe_identity_signature,
        })
    }
}

fn moment(at: OffsetDateTime) -> Result<String, SimError> {
    at.format(&Rfc3339).map_err(|error| SimError::Guest { what: "collateral", problem: error.to_string() })
}

/// Components as Intel writes them; 16 of them, those that are not given 0.
fn components(svns: &[u8]) -> Vec<Value> {
    (0..16).map(|at| json!({ "svn": svns.get(at).copied().unwrap_or_default() })).collect()
}

fn tcb_info(spec: &TdxSpec, (issued, next): (OffsetDateTime, OffsetDateTime)) -> Result<Value, SimError> {
    let (platform, collateral) = (&spec.platform, &spec.collateral);
    // What Intel demands stays what it is, whatever the platform and its module have.
    let (intended, module) = (PlatformSpec::default(), TdxSpec::default().tee_tcb_svn);
    let cpu_svn = hex::decode(&intended.cpu_svn).unwrap_or_default();
    let module = hex::decode(&module).unwrap_or_default();
    let [module_svn, module_version, below] = [0, 1, 2].map(|at| module.get(at).copied().unwrap_or_default());
    let level = |status: &str, advisories: &[String], date: &str, pce_svn: u16, sgx: &[u8]| {
        json!({
            "tcb": {
                "sgxtcbcomponents": components(sgx),
                "pcesvn": pce_svn,
                // the module's own SVN and version are its identity's matter
                "tdxtcbcomponents": components(&[0, 0, below]),
            },
            "tcbDate": date,
            "tcbStatus": status,
            "advisoryIDs": advisories,
        })
    };
    let CollateralSpec { status, advisories, date, module_status, evaluation_number, .. } = collateral;
    let intel = json!({
        "mrsigner": "00".repeat(48),
        "attributes": "0000000000000000",
        "attributesMask": "FFFFFFFFFFFFFFFF",
    });
    Ok(json!({
        "id": "TDX",
        "version": 3,
        "issueDate": moment(issued)?,
        "nextUpdate": moment(next)?,
        "fmspc": collateral.fmspc.as_ref().unwrap_or(&platform.fmspc).to_uppercase(),
        "pceId": platform.pce_id,
        "tcbType": 0,
        "tcbEvaluationDataNumber": evaluation_number,
        "tdxModule": intel,
        "tdxModuleIdentities": [{
            "id": format!("TDX_{module_version:02X}"),
            "mrsigner": "00".repeat(48),
            "attributes": "0000000000000000",
            "attributesMask": "FFFFFFFFFFFFFFFF",
            "tcbLevels": [{
                "tcb": { "isvsvn": module_svn },
                "tcbDate": date,
                "tcbStatus": module_status,
            }],
        }],
        "tcbLevels": [
            level(status, advisories, date, intended.pce_svn, &cpu_svn),
            level("OutOfDate", &["INTEL-SA-00106".to_owned()], "2018-01-04T00:00:00Z", 5, &[]),
        ],
    }))
}

fn qe_identity(spec: &TdxSpec, (issued, next): (OffsetDateTime, OffsetDateTime)) -> Result<Value, SimError> {
    let collateral = &spec.collateral;
    // What Intel signed stays what it is, whatever quoting enclave the platform runs.
    let intended = PlatformSpec::default();
    Ok(json!({
        "id": "TD_QE",
        "version": 2,
        "issueDate": moment(issued)?,
        "nextUpdate": moment(next)?,
        "tcbEvaluationDataNumber": collateral.evaluation_number,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": intended.qe_attributes,
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": intended.qe_mrsigner,
        "isvprodid": intended.qe_isvprodid,
        "tcbLevels": [
            { "tcb": { "isvsvn": intended.qe_isvsvn }, "tcbDate": collateral.date, "tcbStatus": collateral.qe_status },
            { "tcb": { "isvsvn": 4 }, "tcbDate": "2024-03-13T00:00:00Z", "tcbStatus": "OutOfDate",
              "advisoryIDs": ["INTEL-SA-00837"] },
        ],
    }))
}
