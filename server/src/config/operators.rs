//! What the configuration says of operators: their roles, and what a change of policy needs.

use std::path::PathBuf;

use super::reader::Reader;
use crate::admin::{Role, Roles};
use crate::rollout::{Approval, PolicyKey, RolloutSettings};

/// Bytes of a public key's file.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Groups by role; without the table, whoever may open the socket has every role.
pub(super) fn roles(reader: &mut Reader) -> Roles {
    let groups: Vec<(Role, Option<Vec<String>>)> =
        Role::ALL.into_iter().map(|role| (role, reader.list(role.key()))).collect();
    if groups.iter().all(|(_, groups)| groups.is_none()) {
        return Roles::everybody();
    }
    Roles::of_groups(groups.into_iter().map(|(role, groups)| (role, groups.unwrap_or_default())))
}

/// What a change of policy needs.
pub(super) fn rollout(reader: &mut Reader) -> Option<RolloutSettings> {
    let two_person = reader.flag("policy.two_person");
    let lifetime = reader.seconds("policy.proposal_lifetime", 60..=30 * 86_400);
    let share = reader.parsed("policy.max_refused_share", per_mille);
    let files = reader.list("policy.signing_keys").unwrap_or_default();
    let keys = files.into_iter().map(|file| {
        let key = read_key(&PathBuf::from(&file));
        key.map_err(|problem| reader.problem("policy.signing_keys", format!("{file}: {problem}"))).ok()
    });
    let signing_keys = keys.collect::<Option<Vec<_>>>();
    Some(RolloutSettings {
        approval: if two_person? { Approval::TwoPersons } else { Approval::OnePerson },
        proposal_lifetime: lifetime?,
        lost_max_per_mille: share?,
        signing_keys: signing_keys?,
    })
}

fn read_key(file: &std::path::Path) -> Result<PolicyKey, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > KEY_BYTES_MAX {
        return Err(format!("{length} bytes, limit {KEY_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    PolicyKey::from_pem(&text).map_err(|problem| problem.to_string())
}

/// `5%` or `0.5%`.
fn per_mille(text: &str) -> Result<u64, String> {
    let expected = || format!("expected a share such as \"5%\" or \"0.5%\", to one decimal, found {text:?}");
    let number = text.strip_suffix('%').ok_or_else(expected)?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || whole.len() > 3 || tenths.len() != 1 || !digits(tenths) {
        return Err(expected());
    }
    let share = whole.parse::<u64>().ok().zip(tenths.parse::<u64>().ok()).map(|(whole, tenths)| whole * 10 + tenths);
    share.filter(|share| *share <= 1000).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_to_one_decimal() {
        for (text, expected) in [("5%", 50), ("0.5%", 5), ("100%", 1000), ("0%", 0)] {
            assert_eq!(per_mille(text), Ok(expected));
        }
        for text in ["5", "5.55%", "101%", "-1%", "+1%", "%", ".5%", "1.%"] {
            assert!(per_mille(text).is_err(), "{text}");
        }
    }
}
