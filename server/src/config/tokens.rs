//! How JWT-SVIDs are signed: the table `jwt`.

use holdfast_evidence::crypto::KeyKind;

use super::reader::Reader;
use crate::authority::TokenSettings;
use crate::authority::life::Schedule;

/// Seconds after which readers of the bundle look again at the latest; [`crate::authority::Bundle`] says so.
const REFRESH_SECONDS: i64 = 300;
/// Looks of readers before a new key signs (SPIFFE Federation, 4.2: three to five).
const LOOKS: i64 = 5;
/// Seconds that a key stays in the bundle after the last end of what it signed: the leeway of those who verify.
const SETTLE_SECONDS: i64 = 60;
/// Bytes of the longest issuer: it stands in every token.
const ISSUER_BYTES_MAX: usize = 512;

/// Reads the table, for tokens that live `ttl` seconds.
pub(super) fn tokens(reader: &mut Reader, ttl: Option<i64>) -> Option<TokenSettings> {
    let key_type = reader.one_of("jwt.key_type", &["ec-p256", "ec-p384", "rsa-2048"]);
    let lifetime = reader.seconds("jwt.key_lifetime", 3600..=365 * 86_400);
    let issuer = reader.optional("jwt.issuer", |text| {
        let fits = (1..=ISSUER_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(text.to_owned()) } else { Err(format!("expected 1 to {ISSUER_BYTES_MAX} bytes without controls")) }
    });
    let (ttl, lifetime) = (ttl?, lifetime?);
    let lead = ttl + LOOKS * REFRESH_SECONDS;
    // Between half of a key's life and its last sixth the next one is published; in its last sixth it is old.
    let least = (3 * lead).max(6 * ttl);
    if lifetime < least {
        let problem = format!("is {lifetime} s, expected at least {least} s with lifetimes.jwt_svid of {ttl} s");
        reader.refuse("jwt.key_lifetime", problem);
        return None;
    }
    Some(TokenSettings {
        key_kind: match key_type? {
            "ec-p384" => KeyKind::EcP384,
            "rsa-2048" => KeyKind::Rsa2048,
            _ => KeyKind::EcP256,
        },
        schedule: Schedule { lifetime, lead, settle: SETTLE_SECONDS },
        ttl,
        issuer,
    })
}
