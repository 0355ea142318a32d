//! A TDREPORT beside the quote that was made of it. Its MAC only the platform can check, so that nothing is believed because
//! it stands here: every field that the quote has too must be the quote's, and the rest must be whole in itself.

use super::error::Unverified;
use super::hcl::TD_REPORT_BYTES;
use crate::crypto::HashAlg;
use crate::tdx::{Measurement, TdReport};

/// `REPORTTYPE.TYPE` of a TD's report.
const TDX: u8 = 0x81;
const TEE_TCB_INFO_BYTES: usize = 239;
const TDINFO_BYTES: usize = 512;

/// Everything in the TDREPORT but what no quote says (CPUSVN, and the MAC over all) is what the quote says, or reserved and
/// zero; its digests are those of its parts.
///
/// # Errors
/// [`Unverified::TdReport`], with the first field that differs.
pub fn td_report(td_report: &[u8; TD_REPORT_BYTES], quoted: &TdReport) -> Result<(), Unverified> {
    let mut rest = td_report.as_slice();
    let mut next = |bytes: usize| {
        let (field, behind) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
        rest = behind;
        field
    };
    let (kind, reserved_1, _cpu_svn) = (next(4), next(12), next(16));
    let (tcb_digest, info_digest, report_data) = (next(48), next(48), next(64));
    let (reserved_2, _mac) = (next(32), next(32));
    let (tcb_info, reserved_3, info) = (next(TEE_TCB_INFO_BYTES), next(17), next(TDINFO_BYTES));
    let sha384 = |part: &[u8]| HashAlg::Sha384.digest(&[part]);
    for (field, same) in [
        ("REPORTDATA", report_data == quoted.report_data),
        ("reserved", [reserved_1, reserved_2, reserved_3].into_iter().all(is_zero)),
        ("TEE_TCB_INFO_HASH", tcb_digest == sha384(tcb_info).as_bytes()),
        ("TEE_INFO_HASH", info_digest == sha384(info).as_bytes()),
    ] {
        if !same {
            return Err(Unverified::TdReport { field });
        }
    }
    tee_tcb_info(tcb_info, quoted)?;
    let service_tds = td_info(info, quoted)?;
    // version 1 says that there are service TDs
    let is_kind = kind == [TDX, 0, u8::from(!is_zero(service_tds)), 0];
    if is_kind { Ok(()) } else { Err(Unverified::TdReport { field: "REPORTTYPE" }) }
}

/// `TEE_TCB_INFO`: valid bits, the TDX module, and in TDX 1.5 its versions now.
fn tee_tcb_info(info: &[u8], quoted: &TdReport) -> Result<(), Unverified> {
    let attributes = quoted.seam_attributes.to_le_bytes();
    let svn2 = quoted.later.as_ref().map(|later| later.tee_tcb_svn2);
    let mut fields = Fields { at: 8, of: info };
    fields.compare("TEE_TCB_SVN", &quoted.tee_tcb_svn)?;
    fields.compare("MRSEAM", &quoted.mr_seam)?;
    fields.compare("MRSIGNERSEAM", &quoted.mr_signer_seam)?;
    fields.compare("SEAMATTRIBUTES", &attributes)?;
    svn2.map_or(Ok(()), |svn2| fields.compare("TEE_TCB_SVN2", &svn2))
}

/// `TDINFO`: the TD; returns its `SERVTD_HASH`.
fn td_info<'a>(info: &'a [u8], quoted: &TdReport) -> Result<&'a [u8], Unverified> {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &quoted.rt_mr;
    let mut fields = Fields { at: 0, of: info };
    fields.compare("TDATTRIBUTES", &quoted.td_attributes.0.to_le_bytes())?;
    fields.compare("XFAM", &quoted.xfam.to_le_bytes())?;
    let measurements: [(&'static str, &Measurement); 8] = [
        ("MRTD", &quoted.mr_td),
        ("MRCONFIGID", &quoted.mr_config_id),
        ("MROWNER", &quoted.mr_owner),
        ("MROWNERCONFIG", &quoted.mr_owner_config),
        ("RTMR0", rtmr0),
        ("RTMR1", rtmr1),
        ("RTMR2", rtmr2),
        ("RTMR3", rtmr3),
    ];
    for (field, measurement) in measurements {
        fields.compare(field, measurement)?;
    }
    let service_tds = info.get(fields.at..).and_then(|rest| rest.first_chunk::<48>());
    let service_tds = service_tds.ok_or(Unverified::TdReport { field: "SERVTD_HASH" })?;
    match &quoted.later {
        Some(later) => fields.compare("SERVTD_HASH", &later.mr_service_td)?,
        // a quote of TDX 1.0 has no word for service TDs: there is none
        None if is_zero(service_tds) => {}
        None => return Err(Unverified::TdReport { field: "SERVTD_HASH" }),
    }
    Ok(service_tds)
}

/// Fields one behind the other.
struct Fields<'a> {
    at: usize,
    of: &'a [u8],
}

impl Fields<'_> {
    fn compare(&mut self, field: &'static str, quoted: &[u8]) -> Result<(), Unverified> {
        let end = self.at + quoted.len();
        let same = self.of.get(self.at..end) == Some(quoted);
        self.at = end;
        if same { Ok(()) } else { Err(Unverified::TdReport { field }) }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
