//! What Intel says about the versions that a platform runs. Whether that is good enough is for policy to say; only
//! `Revoked` never reaches it.

use std::fmt;

use dcap_qvl::QuoteClaims;
use holdfast_identity::UnixTime;

use super::collateral::date;

/// Intel's word for a TCB level, converged over platform, TDX module and quoting enclave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TcbStatus {
    /// Nothing is missing.
    UpToDate,
    /// Software inside must be hardened against the advisories.
    SwHardeningNeeded,
    /// The platform must be set otherwise.
    ConfigurationNeeded,
    /// Both.
    ConfigurationAndSwHardeningNeeded,
    /// An update is missing.
    OutOfDate,
    /// An update is missing, and a setting.
    OutOfDateConfigurationNeeded,
    /// The TD started under an old TCB, which was updated since.
    TdRelaunchAdvised,
    /// The same, and a setting is missing.
    TdRelaunchAdvisedConfigurationNeeded,
    /// The platform's keys must be taken for known: refused, always.
    Revoked,
}

impl TcbStatus {
    /// Intel's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UpToDate => "UpToDate",
            Self::SwHardeningNeeded => "SWHardeningNeeded",
            Self::ConfigurationNeeded => "ConfigurationNeeded",
            Self::ConfigurationAndSwHardeningNeeded => "ConfigurationAndSWHardeningNeeded",
            Self::OutOfDate => "OutOfDate",
            Self::OutOfDateConfigurationNeeded => "OutOfDateConfigurationNeeded",
            Self::TdRelaunchAdvised => "TDRelaunchAdvised",
            Self::TdRelaunchAdvisedConfigurationNeeded => "TDRelaunchAdvisedConfigurationNeeded",
            Self::Revoked => "Revoked",
        }
    }
}

impl fmt::Display for TcbStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<dcap_qvl::TcbStatus> for TcbStatus {
    fn from(status: dcap_qvl::TcbStatus) -> Self {
        use dcap_qvl::TcbStatus as Theirs;
        match status {
            Theirs::UpToDate => Self::UpToDate,
            Theirs::SWHardeningNeeded => Self::SwHardeningNeeded,
            Theirs::ConfigurationNeeded => Self::ConfigurationNeeded,
            Theirs::ConfigurationAndSWHardeningNeeded => Self::ConfigurationAndSwHardeningNeeded,
            Theirs::OutOfDate => Self::OutOfDate,
            Theirs::OutOfDateConfigurationNeeded => Self::OutOfDateConfigurationNeeded,
            Theirs::TDRelaunchAdvised => Self::TdRelaunchAdvised,
            Theirs::TDRelaunchAdvisedConfigurationNeeded => Self::TdRelaunchAdvisedConfigurationNeeded,
            Theirs::Revoked => Self::Revoked,
        }
    }
}

/// Intel's verdict on a platform's versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcb {
    /// Converged over platform, module and quoting enclave; never `Revoked` in claims.
    pub status: TcbStatus,
    /// Of the quoting enclave alone.
    pub qe_status: TcbStatus,
    /// Advisories that concern the platform, its module or its quoting enclave, at launch or now; sorted.
    pub advisories: Vec<String>,
    /// The lower of the evaluation numbers of TCB info and QE identity: how new Intel's bar is.
    pub evaluation_number: u32,
    /// The date of the level that is met: the oldest among platform, module and quoting enclave, at launch and now.
    pub date: UnixTime,
}

impl Tcb {
    pub(super) fn from_dcap(claims: &QuoteClaims) -> Option<Self> {
        let platform = &claims.platform.tcb_level;
        let now = claims.platform.current_tcb_level.as_ref();
        let qe = &claims.qe.tcb_level;
        let advisories = [Some(&claims.tcb.advisory_ids), Some(&platform.advisory_ids)];
        let advisories = advisories.into_iter().chain([now.map(|level| &level.advisory_ids), Some(&qe.advisory_ids)]);
        let mut advisories: Vec<String> = advisories.flatten().flatten().cloned().collect();
        advisories.sort_unstable();
        advisories.dedup();
        let dates = [Some(&platform.tcb_date), now.map(|level| &level.tcb_date), Some(&qe.tcb_date)];
        let dates: Option<Vec<UnixTime>> = dates.into_iter().flatten().map(|text| date(text)).collect();
        Some(Self {
            status: claims.tcb.status.into(),
            qe_status: qe.tcb_status.into(),
            advisories,
            evaluation_number: claims.tcb.eval_data_number,
            date: dates?.into_iter().min()?,
        })
    }
}
