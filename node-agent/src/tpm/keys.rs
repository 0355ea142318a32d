//! Puts the attestation key and the node key in place: from their persistent handles, or made anew.
//!
//! The attestation key is a primary of the endorsement hierarchy: the same on every start of the same chip. The node key
//! is a primary of the owner hierarchy. Where the owner's authorisation is not ours to use, both are primaries of the
//! endorsement hierarchy that stay loaded.

use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::resource_handles::Hierarchy;

use super::chip::{Chip, Primary};
use super::identity::Record;
use super::templates::{self, Template};
use super::{Access, TpmFault};

/// Both keys, ready for use.
pub(super) struct Held {
    pub(super) ak: KeyHandle,
    pub(super) node_key: KeyHandle,
    pub(super) persistent: bool,
}

/// One key to put in place.
struct Wanted<'a> {
    role: &'static str,
    handle: u32,
    hierarchy: Hierarchy,
    template: Template,
    /// TPM2B_PUBLIC as the state directory remembers it.
    recorded: &'a mut Option<String>,
}

/// A key in place, and whether its handle is a persistent one.
struct Placed {
    key: KeyHandle,
    persistent: bool,
}

pub(super) fn hold(chip: &mut Chip, access: &Access, record: &mut Record) -> Result<Held, TpmFault> {
    let unique = hex::decode(&record.node_key_unique)
        .ok()
        .and_then(|bytes| <[u8; templates::COORDINATE]>::try_from(bytes).ok())
        .ok_or(TpmFault::Form { what: "TPM record in the state directory", expected: "32 bytes for the node key" })?;

    let ak = place(
        chip,
        access,
        Wanted {
            role: "attestation key",
            handle: access.ak_handle,
            hierarchy: Hierarchy::Endorsement,
            template: Template::ak(),
            recorded: &mut record.ak_public,
        },
    )?;
    let node_key = place(
        chip,
        access,
        Wanted {
            role: "node key",
            handle: access.node_key_handle,
            hierarchy: if ak.persistent { Hierarchy::Owner } else { Hierarchy::Endorsement },
            template: Template::node_key(&unique),
            recorded: &mut record.node_key_public,
        },
    )?;
    Ok(Held { ak: ak.key, node_key: node_key.key, persistent: ak.persistent && node_key.persistent })
}

fn place(chip: &mut Chip, access: &Access, wanted: Wanted<'_>) -> Result<Placed, TpmFault> {
    let Some((key, name)) = chip.persistent(wanted.handle)? else {
        let made = make(chip, access, &wanted)?;
        return keep(chip, access, wanted, made);
    };
    let recorded = wanted.recorded.as_ref().and_then(|text| hex::decode(text).ok());
    if recorded.as_deref().and_then(templates::name_of).is_some_and(|recorded| recorded == name.value()) {
        return Ok(Placed { key, persistent: true });
    }

    // Something that we have no memory of. Ours by its looks, or a stranger's?
    let public = chip.read_public(key)?;
    if !wanted.template.made(&templates::tpmt(&public)?) {
        return Err(TpmFault::HandleOccupied {
            handle: wanted.handle,
            wanted: wanted.role,
            found: templates::describe(&public),
        });
    }
    let made = make(chip, access, &wanted)?;
    if templates::tpmt(&made.public)? == templates::tpmt(&public)? {
        chip.flush(ObjectHandle::from(made.handle))?;
        *wanted.recorded = Some(hex::encode(templates::tpm2b(&public)?));
        return Ok(Placed { key, persistent: true });
    }
    tracing::warn!(role = wanted.role, handle = wanted.handle, "key of a former enrolment replaced");
    match chip.evict(key, wanted.handle) {
        Ok(()) => keep(chip, access, wanted, made),
        Err(fault) if fault.is_auth() && access.owner_auth.is_none() => stay_loaded(wanted, &made),
        Err(fault) => Err(owner(fault, access)),
    }
}

fn make(chip: &mut Chip, access: &Access, wanted: &Wanted<'_>) -> Result<Primary, TpmFault> {
    match chip.make(wanted.hierarchy, &wanted.template) {
        Err(fault) if fault.is_auth() && wanted.hierarchy == Hierarchy::Endorsement => Err(TpmFault::EndorsementAuth),
        Err(fault) if fault.is_auth() && access.owner_auth.is_none() => {
            chip.make(Hierarchy::Endorsement, &wanted.template)
        }
        Err(fault) => Err(owner(fault, access)),
        made => made,
    }
}

/// Persists a new key where the owner lets us, and remembers it.
fn keep(chip: &mut Chip, access: &Access, wanted: Wanted<'_>, made: Primary) -> Result<Placed, TpmFault> {
    match chip.persist(made.handle, wanted.handle) {
        Ok(key) => {
            *wanted.recorded = Some(hex::encode(templates::tpm2b(&made.public)?));
            Ok(Placed { key, persistent: true })
        }
        Err(fault) if fault.is_auth() && access.owner_auth.is_none() => stay_loaded(wanted, &made),
        Err(fault) => Err(owner(fault, access)),
    }
}

fn stay_loaded(wanted: Wanted<'_>, made: &Primary) -> Result<Placed, TpmFault> {
    tracing::info!(role = wanted.role, "key stays loaded: no owner authorisation to persist it");
    *wanted.recorded = Some(hex::encode(templates::tpm2b(&made.public)?));
    Ok(Placed { key: made.handle, persistent: false })
}

fn owner(fault: TpmFault, access: &Access) -> TpmFault {
    if fault.is_auth() && access.owner_auth.is_some() { TpmFault::OwnerAuth } else { fault }
}
