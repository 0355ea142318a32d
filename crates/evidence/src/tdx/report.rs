//! The body of a quote: what the TDX module says of one TD. Claims, until the quote around them is verified.

use super::attributes::TdAttributes;
use crate::error::Malformed;
use crate::launch::TdxLaunch;
use crate::reader::Reader;

/// A measurement register: SHA-384.
pub type Measurement = [u8; 48];

/// The fields of a TD report, of TDX 1.0 and later. Intel TDX DCAP Quote Generation Library, appendix A.3.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport {
    /// `TEE_TCB_SVN`: security versions of the TDX module and what lies below it; 0 its SVN, 1 its version.
    pub tee_tcb_svn: [u8; 16],
    /// `MRSEAM`: the TDX module itself.
    pub mr_seam: Measurement,
    /// `MRSIGNERSEAM`: who signed the TDX module; zero for Intel.
    pub mr_signer_seam: Measurement,
    /// `SEAMATTRIBUTES`: zero for a TDX module that is in production.
    pub seam_attributes: u64,
    /// `TDATTRIBUTES`.
    pub td_attributes: TdAttributes,
    /// `XFAM`: processor features that the TD may use.
    pub xfam: u64,
    /// `MRTD`: the initial memory, firmware for the most part.
    pub mr_td: Measurement,
    /// `MRCONFIGID`: chosen by the host at launch.
    pub mr_config_id: Measurement,
    /// `MROWNER`: chosen by the host at launch.
    pub mr_owner: Measurement,
    /// `MROWNERCONFIG`: chosen by the host at launch.
    pub mr_owner_config: Measurement,
    /// `RTMR0` to `RTMR3`: extended while the TD runs.
    pub rt_mr: [Measurement; 4],
    /// `REPORTDATA`: the TD's own 64 bytes.
    pub report_data: [u8; 64],
    /// What TDX 1.5 adds.
    pub later: Option<TdReport15>,
}

impl TdReport {
    /// Which launch it is of.
    #[must_use]
    pub const fn launch(&self) -> TdxLaunch {
        let Self { mr_td, mr_config_id, mr_owner, mr_owner_config, .. } = *self;
        TdxLaunch { mrtd: mr_td, mrconfigid: mr_config_id, mrowner: mr_owner, mrownerconfig: mr_owner_config }
    }
}

/// The fields that a TD report of TDX 1.5 has behind those of 1.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport15 {
    /// `TEE_TCB_SVN2`: the versions now, where the module was updated under the running TD.
    pub tee_tcb_svn2: [u8; 16],
    /// `MRSERVICETD`: the service TDs that are bound to this one; zero for none.
    pub mr_service_td: Measurement,
    /// Of the extended report: the service TDs that are bound now, and the number that this launch alone has.
    pub extended: Option<TdReport15Ex>,
}

/// The fields of an extended report (TDX 1.5, body type 4) that we look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TdReport15Ex {
    /// `VMID`: 0, or the partition of the TD that the report is for.
    pub vm_id: u8,
    /// `TD_ID`: drawn at every launch.
    pub td_id: [u8; 32],
    /// `CUR_SERVTD_HASH`: the service TDs that are bound now.
    pub current_service_td: Measurement,
}

/// Which report a quote holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyType {
    /// 2: TDX 1.0, 584 bytes.
    Td10,
    /// 3: TDX 1.5, 648 bytes.
    Td15,
    /// 4: TDX 1.5 extended, 885 bytes.
    Td15Ex,
}

impl BodyType {
    pub(super) const fn from_number(number: u16) -> Option<Self> {
        match number {
            2 => Some(Self::Td10),
            3 => Some(Self::Td15),
            4 => Some(Self::Td15Ex),
            _ => None,
        }
    }

    /// Bytes of the body.
    pub(super) const fn size(self) -> u32 {
        match self {
            Self::Td10 => 584,
            Self::Td15 => 648,
            Self::Td15Ex => 885,
        }
    }
}

impl TdReport {
    /// Whether a service TD is bound to this one, as far as the report can say.
    #[must_use]
    pub fn has_service_td(&self) -> bool {
        let bound = |measurement: &Measurement| *measurement != [0; 48];
        let later = self.later.as_ref();
        let extended = later.and_then(|later| later.extended.as_ref());
        self.td_attributes.has(TdAttributes::SERVTD_EXT)
            || later.is_some_and(|later| bound(&later.mr_service_td))
            || extended.is_some_and(|extended| bound(&extended.current_service_td))
    }

    pub(super) fn read(reader: &mut Reader<'_>, body: BodyType) -> Result<Self, Malformed> {
        let report = Self {
            tee_tcb_svn: reader.array("TEE_TCB_SVN")?,
            mr_seam: reader.array("MRSEAM")?,
            mr_signer_seam: reader.array("MRSIGNERSEAM")?,
            seam_attributes: reader.u64_le("SEAMATTRIBUTES")?,
            td_attributes: TdAttributes(reader.u64_le("TDATTRIBUTES")?),
            xfam: reader.u64_le("XFAM")?,
            mr_td: reader.array("MRTD")?,
            mr_config_id: reader.array("MRCONFIGID")?,
            mr_owner: reader.array("MROWNER")?,
            mr_owner_config: reader.array("MROWNERCONFIG")?,
            rt_mr: [reader.array("RTMR0")?, reader.array("RTMR1")?, reader.array("RTMR2")?, reader.array("RTMR3")?],
            report_data: reader.array("REPORTDATA")?,
            later: None,
        };
        let later = match body {
            BodyType::Td10 => None,
            BodyType::Td15 | BodyType::Td15Ex => Some(TdReport15 {
                tee_tcb_svn2: reader.array("TEE_TCB_SVN2")?,
                mr_service_td: reader.array("MRSERVICETD")?,
                extended: match body {
                    BodyType::Td10 | BodyType::Td15 => None,
                    BodyType::Td15Ex => Some(TdReport15Ex::read(reader)?),
                },
            }),
        };
        Ok(Self { later, ..report })
    }
}

impl TdReport15Ex {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (vm_id, td_id) = (reader.u8("VMID")?, reader.array("TD_ID")?);
        // DEV_INFO 48; service TDs at launch 48 + 8; INIT_CPU_SVN, INIT_TEE_TCB_SVN, INIT_TEE_FMSPC
        reader.take(48 + 48 + 8 + 16 + 16 + 12, "INIT")?;
        let current_service_td = reader.array("CUR_SERVTD_HASH")?;
        reader.take(8, "CUR_SERVTD_ATTR")?;
        Ok(Self { vm_id, td_id, current_service_td })
    }
}
