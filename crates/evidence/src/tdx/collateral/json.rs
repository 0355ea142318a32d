//! The parts of Intel's JSON documents that we judge ourselves. TCB levels are `dcap-qvl`'s to read.

use holdfast_identity::UnixTime;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The head of a TCB info, version 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcbInfoHead {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) issued_at: UnixTime,
    pub(crate) next_update: UnixTime,
    pub(crate) fmspc: [u8; 6],
    pub(crate) pce_id: [u8; 2],
    pub(crate) evaluation_number: u32,
}

/// A QE identity, version 2 or 3, without its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QeIdentityHead {
    pub(crate) id: String,
    pub(crate) version: u32,
    pub(crate) issued_at: UnixTime,
    pub(crate) next_update: UnixTime,
    pub(crate) evaluation_number: u32,
    pub(crate) misc_select: [u8; 4],
    pub(crate) misc_select_mask: [u8; 4],
    pub(crate) attributes: [u8; 16],
    pub(crate) attributes_mask: [u8; 16],
    pub(crate) mr_signer: [u8; 32],
    pub(crate) isv_prod_id: u16,
}

/// What of a document says which edition it is.
pub(super) trait Head {
    fn issued_at(&self) -> UnixTime;
    fn next_update(&self) -> UnixTime;
    fn evaluation_number(&self) -> u32;

    /// The later the better: first the evaluation number, by which Intel counts its reviews of what is up to date.
    fn rank(&self) -> (u32, UnixTime) {
        (self.evaluation_number(), self.issued_at())
    }

    fn counts_at(&self, now: UnixTime) -> bool {
        (self.issued_at()..=self.next_update()).contains(&now)
    }
}

impl Head for TcbInfoHead {
    fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    fn next_update(&self) -> UnixTime {
        self.next_update
    }

    fn evaluation_number(&self) -> u32 {
        self.evaluation_number
    }
}

impl Head for QeIdentityHead {
    fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    fn next_update(&self) -> UnixTime {
        self.next_update
    }

    fn evaluation_number(&self) -> u32 {
        self.evaluation_number
    }
}

/// Which document it is.
#[derive(Deserialize)]
struct RawKind {
    id: Option<String>,
    version: u32,
}

/// Whether it is a document of that name in one of these versions. Those about SGX have the same form and lie beside
/// those about TDX, in versions of their own that we cannot read.
pub(super) fn is_kind(text: &str, id: &str, versions: &[u32]) -> Option<bool> {
    let raw: RawKind = serde_json::from_str(text).ok()?;
    Some(raw.id.as_deref() == Some(id) && versions.contains(&raw.version))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTcbInfo {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    fmspc: String,
    pce_id: String,
    tcb_evaluation_data_number: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawQeIdentity {
    id: String,
    version: u32,
    issue_date: String,
    next_update: String,
    tcb_evaluation_data_number: u32,
    miscselect: String,
    miscselect_mask: String,
    attributes: String,
    attributes_mask: String,
    mrsigner: String,
    isvprodid: u16,
}

impl TcbInfoHead {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let raw: RawTcbInfo = serde_json::from_str(text).ok()?;
        Some(Self {
            id: raw.id,
            version: raw.version,
            issued_at: date(&raw.issue_date)?,
            next_update: date(&raw.next_update)?,
            fmspc: fixed(&raw.fmspc)?,
            pce_id: fixed(&raw.pce_id)?,
            evaluation_number: raw.tcb_evaluation_data_number,
        })
    }
}

impl QeIdentityHead {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let raw: RawQeIdentity = serde_json::from_str(text).ok()?;
        Some(Self {
            id: raw.id,
            version: raw.version,
            issued_at: date(&raw.issue_date)?,
            next_update: date(&raw.next_update)?,
            evaluation_number: raw.tcb_evaluation_data_number,
            misc_select: fixed(&raw.miscselect)?,
            misc_select_mask: fixed(&raw.miscselect_mask)?,
            attributes: fixed(&raw.attributes)?,
            attributes_mask: fixed(&raw.attributes_mask)?,
            mr_signer: fixed(&raw.mrsigner)?,
            isv_prod_id: raw.isvprodid,
        })
    }
}

/// An RFC 3339 date.
pub(in crate::tdx) fn date(text: &str) -> Option<UnixTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(|date| UnixTime(date.unix_timestamp()))
}

fn fixed<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

/// The same JSON without blanks outside texts, as Intel signs it: tools that store a document inside another one may
/// have set it with blanks.
pub(super) fn compact(text: &str) -> String {
    let mut compact = String::with_capacity(text.len());
    let (mut inside, mut escaped) = (false, false);
    for c in text.chars() {
        let ends = inside && !escaped && c == '"';
        escaped = inside && !escaped && c == '\\';
        match (inside, c) {
            (false, ' ' | '\t' | '\r' | '\n') => continue,
            (false, '"') => inside = true,
            _ if ends => inside = false,
            _ => {}
        }
        compact.push(c);
    }
    compact
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_outside_texts_alone_are_taken_away() {
        assert_eq!(compact("{ \"a b\" :\n[1, \"\\\" c\\\\\" ] }"), r#"{"a b":[1,"\" c\\"]}"#);
        assert_eq!(compact(r#"{"a":1}"#), r#"{"a":1}"#);
    }

    #[test]
    fn dates_are_rfc_3339() {
        assert_eq!(date("2025-06-19T10:32:27Z"), Some(UnixTime(1_750_329_147)));
        assert_eq!(date("2025-06-19"), None);
    }
}
