//! What a TD's firmware and loaders measure: the events of a boot profile, in the registers of a TD (UEFI, "Confidential
//! Computing": PCR 1 and 7 are RTMR0, 2 to 6 RTMR1, 8 to 15 RTMR2; PCR 0 is MRTD, which no event extends).

use super::spec::TdxSpec;
use crate::boot;
use crate::digest::Bank;
use crate::error::SimError;
use crate::guest::amd::bytes;
use crate::log::{self, Event};
use crate::profile::Profile;
use crate::tamper;

const BANKS: &[Bank] = &[Bank::Sha384];

/// A TD's event log and the registers that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The event log (CCEL), where there is one.
    pub log: Option<Vec<u8>>,
    /// RTMR0 to RTMR3.
    pub rtmrs: [Vec<u8>; 4],
}

impl Measured {
    /// What booting `spec` measures.
    ///
    /// # Errors
    /// [`SimError::Profile`] if it cannot be booted, [`SimError::NoPlace`] for a lie about an event that is not there.
    pub fn of(spec: &TdxSpec) -> Result<Self, SimError> {
        let events: Vec<Event> =
            boot::events(&Profile::load(&spec.profile)?)?.into_iter().filter_map(in_a_td).collect();
        let mut rtmrs = [(); 4].map(|()| vec![0; Bank::Sha384.bytes()]);
        for event in &events {
            let register = usize::try_from(event.pcr).unwrap_or_default().checked_sub(1);
            if let Some(value) = register.and_then(|register| rtmrs.get_mut(register)) {
                *value = Bank::Sha384.hash(&[value, event.digests.get(Bank::Sha384)]);
            }
        }
        for (register, value) in &spec.rtmrs {
            if let Some(place) = rtmrs.get_mut(usize::from(*register)) {
                *place = bytes("rtmrs", value, 48)?;
            }
        }
        let log = match &spec.log_lie {
            _ if !spec.event_log => None,
            Some(lie) => tamper::told(&events, BANKS, lie)?,
            None => Some(log::encode(&events, BANKS)),
        };
        Ok(Self { log, rtmrs })
    }
}

/// The event with the index that a TD's log has: RTMR0 is 1. `None` for what goes into MRTD, or nowhere.
fn in_a_td(event: Event) -> Option<Event> {
    let index = match event.pcr {
        _ if !event.is_extended() => return None,
        1 | 7 => 1,
        2..=6 => 2,
        8..=15 => 3,
        _ => return None,
    };
    Some(Event { pcr: index, ..event })
}
