//! PCR 7 event by event.

use super::signature_list;
use super::{Authority, SecureBoot, SignatureDatabase};
use crate::tpm::event_log::variable::Variable;
use crate::tpm::event_log::{Event, EventType, Guid, Proof, Stage, UnprovenBoot};

/// Bytes that shim before 15.3 left behind an authority's variable. Six were seen.
const AUTHORITY_TRAILING_MAX: usize = 8;

/// What must come next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    SecureBoot,
    Pk,
    Kek,
    Db,
    Dbx,
    /// `dbt`, `dbr`, an authority or the separator.
    Optional,
    /// An authority or the separator.
    Separator,
    /// Authorities only.
    Authorities,
}

impl Expected {
    const fn words(self) -> &'static str {
        match self {
            Self::SecureBoot => "variable SecureBoot",
            Self::Pk => "variable PK",
            Self::Kek => "variable KEK",
            Self::Db => "variable db",
            Self::Dbx => "variable dbx",
            Self::Optional => "variable dbt or dbr, an authority or the separator",
            Self::Separator => "an authority or the separator",
            Self::Authorities => "an authority",
        }
    }
}

/// Reads PCR 7 in order. Every event it gets is proven to be the digest of its data.
#[derive(Default)]
pub(crate) struct Grammar {
    expected: Expected,
    enabled: Option<(u32, bool)>,
    databases: [SignatureDatabase; 4],
    dbt: Option<SignatureDatabase>,
    dbr: Option<SignatureDatabase>,
    authorities: Vec<Authority>,
    dma_protection_disabled: Option<u32>,
}

impl Grammar {
    /// Takes the next event of PCR 7.
    pub(crate) fn accept(&mut self, event: &Event<'_>, proof: Proof<'_>) -> Result<(), UnprovenBoot> {
        match (event.kind, proof) {
            (EventType::SEPARATOR, Proof::Data(_)) => match self.expected {
                Expected::Optional | Expected::Separator => {
                    self.expected = Expected::Authorities;
                    Ok(())
                }
                _ => Err(self.unexpected(event, "the separator")),
            },
            (EventType::VARIABLE_DRIVER_CONFIG, Proof::Data(data)) => self.variable(event, data),
            (EventType::VARIABLE_AUTHORITY, Proof::Data(data) | Proof::DataLessLastByte(data)) => {
                self.authority(event, data)
            }
            (EventType::EFI_ACTION, Proof::Data(data)) => self.action(event, data),
            (EventType::SEPARATOR | EventType::VARIABLE_DRIVER_CONFIG, _) => {
                Err(self.unexpected(event, "an event whose data is not measured"))
            }
            _ => Err(self.unexpected(event, "an event of another type")),
        }
    }

    /// The facts, if everything that must stand in PCR 7 did.
    pub(crate) fn finish(self) -> Result<SecureBoot, UnprovenBoot> {
        let (Expected::Authorities, Some((enabled_event, enabled))) = (self.expected, self.enabled) else {
            return Err(UnprovenBoot::SecureBootIncomplete { expected: self.expected.words() });
        };
        let [pk, kek, db, dbx] = self.databases;
        Ok(SecureBoot {
            enabled,
            enabled_event,
            pk,
            kek,
            db,
            dbx,
            dbt: self.dbt,
            dbr: self.dbr,
            authorities: self.authorities,
            dma_protection_disabled: self.dma_protection_disabled,
        })
    }

    fn variable(&mut self, event: &Event<'_>, data: &[u8]) -> Result<(), UnprovenBoot> {
        let variable =
            Variable::parse(data).filter(|variable| variable.trailing == 0).ok_or(bad(event, "lengths do not fit"))?;
        let is = |name, owner| variable.is_named(name) && variable.owner == owner;
        let list = |name| list(event, name, variable.data);
        let [pk, kek, db, dbx] = &mut self.databases;
        self.expected = match self.expected {
            Expected::SecureBoot if is("SecureBoot", Guid::EFI_GLOBAL) => {
                self.enabled = Some((event.index, secure_boot_value(event, variable.data)?));
                Expected::Pk
            }
            Expected::Pk if is("PK", Guid::EFI_GLOBAL) => {
                *pk = list("PK")?;
                Expected::Kek
            }
            Expected::Kek if is("KEK", Guid::EFI_GLOBAL) => {
                *kek = list("KEK")?;
                Expected::Db
            }
            Expected::Db if is("db", Guid::IMAGE_SECURITY_DATABASE) => {
                *db = list("db")?;
                Expected::Dbx
            }
            Expected::Dbx if is("dbx", Guid::IMAGE_SECURITY_DATABASE) => {
                *dbx = list("dbx")?;
                Expected::Optional
            }
            Expected::Optional if self.dbt.is_none() && is("dbt", Guid::IMAGE_SECURITY_DATABASE) => {
                self.dbt = Some(list("dbt")?);
                Expected::Optional
            }
            Expected::Optional if is("dbr", Guid::IMAGE_SECURITY_DATABASE) => {
                self.dbr = Some(list("dbr")?);
                Expected::Separator
            }
            _ => return Err(self.unexpected(event, "another variable")),
        };
        Ok(())
    }

    fn authority(&mut self, event: &Event<'_>, data: &[u8]) -> Result<(), UnprovenBoot> {
        let stage = match self.expected {
            Expected::Optional | Expected::Separator => Stage::Firmware,
            Expected::Authorities => Stage::Loader,
            _ => return Err(self.unexpected(event, "an authority")),
        };
        let variable = Variable::parse(data)
            .filter(|variable| variable.trailing <= AUTHORITY_TRAILING_MAX)
            .ok_or(bad(event, "lengths do not fit"))?;
        let name = variable.name().ok_or(bad(event, "name is no UTF-16"))?;
        if stage == Stage::Firmware {
            self.expected = Expected::Separator;
        }
        self.authorities.push(Authority::new(event.index, stage, variable.owner, name, variable.data));
        Ok(())
    }

    fn action(&mut self, event: &Event<'_>, data: &[u8]) -> Result<(), UnprovenBoot> {
        match data.strip_suffix(b"\0").unwrap_or(data) {
            b"UEFI Debug Mode" => Err(UnprovenBoot::DebugMode { event: event.index }),
            b"DMA Protection Disabled"
                if self.expected != Expected::Authorities && self.dma_protection_disabled.is_none() =>
            {
                self.dma_protection_disabled = Some(event.index);
                Ok(())
            }
            _ => Err(self.unexpected(event, "an action")),
        }
    }

    fn unexpected(&self, event: &Event<'_>, found: &'static str) -> UnprovenBoot {
        UnprovenBoot::SecureBootOrder { event: event.index, expected: self.expected.words(), found }
    }
}

/// Nothing at all (firmware without the variable, as on some workstations), 0 or 1.
fn secure_boot_value(event: &Event<'_>, data: &[u8]) -> Result<bool, UnprovenBoot> {
    match data {
        [] | [0] => Ok(false),
        [1] => Ok(true),
        _ => Err(UnprovenBoot::SecureBootValue { event: event.index, found: data.len() }),
    }
}

fn list(event: &Event<'_>, variable: &'static str, data: &[u8]) -> Result<SignatureDatabase, UnprovenBoot> {
    let entries = signature_list::parse(data).map_err(|what| UnprovenBoot::SignatureList {
        event: event.index,
        variable,
        what,
    })?;
    Ok(SignatureDatabase { event: event.index, entries })
}

const fn bad(event: &Event<'_>, what: &'static str) -> UnprovenBoot {
    UnprovenBoot::BadData { event: event.index, pcr: 7, kind: event.kind.name(), what }
}
