//! How endorsements look: one line for each, whatever kinds it serves, with its age and its end.

use holdfast_protocol::admin;
use serde::Serialize;

use super::show;

#[derive(Serialize)]
pub(super) struct Listed {
    pub(super) endorsements: Vec<Endorsement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) new: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Endorsement {
    sha256: String,
    role: String,
    serves: Vec<String>,
    class: String,
    name: String,
    subject: String,
    about: String,
    source: String,
    fetched_at: i64,
    age_seconds: i64,
    /// End of validity; of CRLs and collateral, the next update.
    not_after: i64,
    /// Of CRLs and collateral.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_update: Option<i64>,
    expires_in_seconds: i64,
    imported_at: i64,
    imported_by: String,
}

impl Listed {
    /// The endorsements as of `now`; those of several kinds become one.
    pub(super) fn new(held: Vec<admin::Endorsement>, new: Option<u64>, now: i64) -> Self {
        let mut endorsements: Vec<Endorsement> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for held in held {
            let place = *places.entry(held.sha256.clone()).or_insert(endorsements.len());
            match endorsements.get_mut(place) {
                Some(known) => known.serves.push(held.serves),
                None => endorsements.push(Endorsement::new(held, now)),
            }
        }
        endorsements.sort_by(|a, b| (rank(&a.role), &a.class, &a.name).cmp(&(rank(&b.role), &b.class, &b.name)));
        Self { endorsements, new }
    }

    pub(super) fn text(&self) -> String {
        let mut table = show::table(&["role", "for", "class", "what", "source", "age", "until", "sha256"]);
        for held in &self.endorsements {
            let what = if held.about.is_empty() { &held.subject } else { &held.about };
            table.add_row([
                &held.role,
                &held.serves.join(","),
                &held.class,
                &shortened(&show::text(what)),
                &held.source,
                &span(held.age_seconds),
                &until(held),
                &held.sha256,
            ]);
        }
        show::rows(&table, "nothing is held: no evidence can be believed")
    }
}

impl Endorsement {
    fn new(held: admin::Endorsement, now: i64) -> Self {
        let updates = matches!(held.role.as_str(), "crl" | "collateral");
        Self {
            sha256: hex::encode(held.sha256),
            serves: vec![held.serves],
            class: held.class,
            name: held.name,
            subject: held.subject,
            about: held.about,
            source: held.source,
            fetched_at: held.fetched_at,
            age_seconds: now.saturating_sub(held.fetched_at),
            not_after: held.not_after,
            next_update: updates.then_some(held.not_after),
            expires_in_seconds: held.not_after.saturating_sub(now),
            imported_at: held.imported_at,
            imported_by: held.imported_by,
            role: held.role,
        }
    }
}

fn rank(role: &str) -> usize {
    ["root", "intermediate", "crl", "vek", "collateral"].iter().position(|known| *known == role).unwrap_or_default()
}

fn until(held: &Endorsement) -> String {
    let day = show::moment(held.not_after);
    match held.expires_in_seconds {
        _ if held.not_after == 0 => "no end given".to_owned(),
        ..=0 => format!("{day} (ended)"),
        left if left < 14 * 86_400 => format!("{day} (in {})", span(left)),
        _ => day,
    }
}

/// With the long numbers of chips cut: JSON has them whole.
fn shortened(what: &str) -> String {
    let cut = |part: &str| match part.get(..CHIP_SHOWN) {
        Some(start) if part.len() > 2 * CHIP_SHOWN && part.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{start}…")
        }
        _ => part.to_owned(),
    };
    what.split('/').map(cut).collect::<Vec<_>>().join("/")
}

/// Digits of a chip's number that are shown.
const CHIP_SHOWN: usize = 16;

/// Seconds in the largest unit that leaves two digits.
pub(super) fn span(seconds: i64) -> String {
    match seconds {
        ..=119 => format!("{} s", seconds.max(0)),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_serves_two_kinds_is_one_line() {
        let held = |serves: &str| admin::Endorsement {
            sha256: vec![1; 32],
            role: "root".to_owned(),
            serves: serves.to_owned(),
            ..admin::Endorsement::default()
        };
        let listed = Listed::new(vec![held("azure"), held("snp")], None, 0);
        assert_eq!(listed.endorsements.len(), 1);
        assert_eq!(listed.endorsements[0].serves, ["azure", "snp"]);
    }

    #[test]
    fn chips_are_shortened_and_nothing_else() {
        let about = format!("vcek/Milan/{}/bl=4,tee=0", "ab".repeat(64));
        assert_eq!(shortened(&about), "vcek/Milan/abababababababab…/bl=4,tee=0");
        for whole in ["CN=ARK-Milan", "tdx/90c06f000000/platform/any", "vcek/Turin/59790fb1c39f35c1/fmc=1"] {
            assert_eq!(shortened(whole), whole);
        }
    }

    #[test]
    fn spans_are_short() {
        let spans = [5, 119, 120, 7200, 172_800, -3].map(span);
        assert_eq!(spans, ["5 s", "119 s", "2 min", "2 h", "2 d", "0 s"]);
    }
}
