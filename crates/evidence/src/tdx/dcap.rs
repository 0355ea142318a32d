//! The judgement of `dcap-qvl` over quote and collateral: all of Intel's rules once more, TCB levels above all. It gets
//! the exact quote, the very certificates that our own checks went through, and no word of its own in policy.

use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteCollateralV3, QuotePolicy};
use holdfast_identity::UnixTime;

use super::collateral::{CheckedCollateral, Collateral, pem};
use super::error::Unverified;
use super::pck::VerifiedPck;
use super::quote::Quote;
use super::signatures::Remembering;
use super::tcb::{Tcb, TcbStatus};

/// Bytes of its words that are kept.
const REASON_MAX: usize = 300;

/// What Intel says about the platform's versions.
///
/// # Errors
/// [`Unverified`]; what our own checks let pass and `dcap-qvl` does not is [`Unverified::Dcap`].
pub(super) fn judge(
    quote: &Quote<'_>,
    pck: &VerifiedPck,
    collateral: &CheckedCollateral,
    now: UnixTime,
) -> Result<Tcb, Unverified> {
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    // Whether a service TD may be bound has been asked already, against the verifier's list.
    let verifier = QuoteVerifier::<Remembering>::new_with_config(pck.path.root_der.clone()).allow_service_td(true);
    let policy = QuotePolicy::claims_only(seconds);
    let claims = verifier
        .verify_with_policy(quote.exact, documents(&collateral.collateral, pck), seconds, &policy)
        .map_err(|error| refusal(&format!("{error:#}")))?;
    let own = pck.platform();
    let theirs = &claims.platform.pck;
    let same = theirs.fmspc == own.kind.fmspc
        && theirs.cpu_svn == own.cpu_svn
        && theirs.pce_svn == own.pce_svn
        && theirs.pce_id == own.pce_id
        && theirs.platform_instance_id == own.instance_id
        && claims
            .report
            .as_td10()
            .is_some_and(|td| td.mr_td == quote.report.mr_td && td.report_data == quote.report.report_data);
    if !same {
        return Err(Unverified::Dcap { reason: "reads the quote differently".to_owned() });
    }
    let tcb = Tcb::from_dcap(&claims).ok_or(Unverified::Dcap { reason: "has no TCB date".to_owned() })?;
    // It refuses these itself; a later version might leave them to policy.
    if tcb.status == TcbStatus::Revoked { Err(Unverified::TcbRevoked) } else { Ok(tcb) }
}

fn documents(collateral: &Collateral, pck: &VerifiedPck) -> QuoteCollateralV3 {
    let Collateral { tcb_info, qe_identity, root_crl, pck_crl, .. } = collateral;
    QuoteCollateralV3 {
        pck_crl_issuer_chain: String::new(),
        root_ca_crl: root_crl.clone(),
        pck_crl: pck_crl.clone(),
        tcb_info_issuer_chain: pem(&tcb_info.signer),
        tcb_info: tcb_info.text.clone(),
        tcb_info_signature: tcb_info.signature.to_vec(),
        qe_identity_issuer_chain: pem(&qe_identity.signer),
        qe_identity: qe_identity.text.clone(),
        qe_identity_signature: qe_identity.signature.to_vec(),
        // taken instead of what stands in the quote, so that both sides read one chain
        pck_certificate_chain: Some([pem(&pck.leaf), pem(&pck.ca)].concat()),
    }
}

/// What only `dcap-qvl` can say, by its words in this version; a test holds each.
fn refusal(words: &str) -> Unverified {
    if words.contains("TCB status is invalid: Revoked") {
        Unverified::TcbRevoked
    } else if words.contains("No matching TCB level found") {
        Unverified::TcbNoLevel
    } else if words.contains("TDX module") {
        Unverified::TdxModule
    } else {
        let printable = words.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
        Unverified::Dcap { reason: printable.take(REASON_MAX).collect() }
    }
}
