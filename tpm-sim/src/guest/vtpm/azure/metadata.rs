//! The metadata service (IMDS) of a simulated Azure machine: certificates of an SNP report, a quote for a TDREPORT.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::report::TD_REPORT;
use super::spec::{AzureSpec, Hardware};
use crate::error::SimError;
use crate::guest::amd;
use crate::guest::lab::Lab;
use crate::guest::place::{Guest, GuestSpec};
use crate::guest::service::{Answer, Handler, Request};

/// The metadata service of a machine.
pub(in crate::guest::vtpm) fn metadata(lab: Lab, guest: Guest) -> Handler {
    Arc::new(move |request: &Request| {
        if request.header("metadata") != Some("true") {
            return Answer::status(400);
        }
        match guest.spec() {
            Ok(GuestSpec::Azure(spec)) => answer(&lab, &spec, request).unwrap_or_else(|error| {
                tracing::warn!(%error, "metadata service");
                Answer::status(500)
            }),
            _ => Answer::status(500),
        }
    })
}

fn answer(lab: &Lab, spec: &AzureSpec, request: &Request) -> Result<Answer, SimError> {
    match (request.method.as_str(), request.path()) {
        ("GET", "/metadata/THIM/amd/certification") if spec.hardware == Hardware::Snp => {
            let [vek, chain] = lab.amd(&spec.snp.product)?.files(&spec.snp)?;
            let mut tcb = amd::tcb_bytes(&spec.snp);
            tcb.reverse();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            Ok(Answer::json(&json!({
                "vcekCert": text(vek),
                "tcbm": hex::encode_upper(tcb),
                "certificateChain": text(chain),
                "cacheControl": "86400",
            })))
        }
        ("POST", "/acc/tdquote") if spec.hardware == Hardware::Tdx => {
            let Some(report_data) = report_data_of(&request.body) else { return Ok(Answer::status(400)) };
            let quote = lab.intel()?.quote(&spec.tdx, &report_data)?;
            Ok(Answer::json(&json!({ "quote": URL_SAFE_NO_PAD.encode(quote) })))
        }
        _ => Ok(Answer::status(404)),
    }
}

/// The report data of the TDREPORT in a request.
fn report_data_of(body: &[u8]) -> Option<[u8; 64]> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let report = URL_SAFE_NO_PAD.decode(body.get("report")?.as_str()?.trim_end_matches('=')).ok()?;
    (report.len() == TD_REPORT).then(|| report.get(128..)?.first_chunk().copied())?
}
