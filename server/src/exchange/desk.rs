//! One exchange from its form to its token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use holdfast_svid::Leeway;
use holdfast_svid::audience::Audience;
use holdfast_svid::foreign::{Claims, Unverified};
use holdfast_svid::jws::BadToken;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use tracing::{info, warn};

use super::form::Form;
use super::issuers::{IssuerSettings, KnownIssuer};
use super::refused::Refused;
use super::rule::{Differs, Rule};
use super::seen::{Seen, Window};
use crate::authority::{AuthorityFault, IssuedToken, TokenAuthority};
use crate::budget::{Buckets, Gate, Rate, Source};
use crate::store::{ExchangeIssuance, NotExchanged, Sha256, Store};
use crate::web::Asker;

/// Seconds in the future in which the token of another issuer may end: those of CI systems live minutes.
pub const TOKEN_LIFETIME_MAX: i64 = 86_400;
/// Exchanges that are judged at one time.
const AT_ONCE: u32 = 64;
/// Exchanges that wait for a place.
const WAITING: usize = 256;
/// How long one waits.
const WAITED_FOR: Duration = Duration::from_secs(5);
/// Sources that are counted apart.
const SOURCES_MAX: usize = 65_536;
/// Characters of a subject or ID that the record and logs hold.
const TEXT_CHARACTERS_MAX: usize = 512;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeSettings {
    /// Issuers of other tokens.
    pub issuers: Vec<IssuerSettings>,
    /// Rules, the first that fits counts.
    pub rules: Vec<Rule>,
    /// How far their clocks may differ from ours.
    pub leeway: u8,
    /// Requests of one source.
    pub per_source: Rate,
}

/// Exchanges tokens.
pub struct Exchange {
    store: Arc<dyn Store>,
    authority: Arc<TokenAuthority>,
    issuers: HashMap<String, Arc<KnownIssuer>>,
    rules: Vec<Rule>,
    leeway: Leeway,
    buckets: Buckets<Option<Source>>,
    gate: Gate,
    seen: Window,
}

/// What was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) token: IssuedToken,
}

impl Exchange {
    /// Exchanges under these rules.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, authority: Arc<TokenAuthority>, settings: ExchangeSettings) -> Self {
        let issuers = settings.issuers.into_iter().map(KnownIssuer::new);
        Self {
            store,
            authority,
            issuers: issuers.map(|issuer| (issuer.issuer().to_owned(), Arc::new(issuer))).collect(),
            rules: settings.rules,
            leeway: Leeway::seconds(settings.leeway),
            buckets: Buckets::new(settings.per_source, SOURCES_MAX),
            gate: Gate::new(AT_ONCE, WAITING, WAITED_FOR),
            seen: Window::default(),
        }
    }

    /// The last exchanges of genuine tokens, newest first.
    #[must_use]
    pub fn seen(&self, limit: usize) -> Vec<Seen> {
        self.seen.newest(limit)
    }

    #[cfg(test)]
    pub(super) fn insert_issuer(&mut self, issuer: KnownIssuer) {
        self.issuers.insert(issuer.issuer().to_owned(), Arc::new(issuer));
    }

    /// Takes one request out of the source's budget.
    pub(super) fn pay(&self, from: Asker) -> Result<(), Refused> {
        let source = match from {
            Asker::Address(address) => Some(Source::of(address)),
            Asker::Proxied => None,
        };
        self.buckets.take(source, Instant::now()).map_err(Refused::Budget)
    }

    /// Exchanges the token of `form`, and tells operators what came of it.
    pub(super) async fn exchange(
        &self,
        id: &str,
        form: Result<Form, Refused>,
        from: Asker,
        now: UnixTime,
    ) -> Result<Given, Refused> {
        let done = match form {
            Ok(form) => self.judge(id, &form, from, now).await,
            Err(refused) => Err(refused),
        };
        self.tell(id, &done, from, now);
        done.map(|(token, _)| Given { token })
    }

    async fn judge(&self, id: &str, form: &Form, from: Asker, now: UnixTime) -> Result<(IssuedToken, Seen), Refused> {
        let bad = |issuer: &str| {
            let issuer = issuer.to_owned();
            move |problem: BadToken| Refused::Token { issuer, problem }
        };
        let began = Instant::now();
        let token = Unverified::parse(&form.subject_token).map_err(bad("an unknown issuer"))?;
        let claimed = token.claimed_issuer().map_err(bad("an unknown issuer"))?;
        let issuer = self.issuers.get(claimed).ok_or_else(|| Refused::Issuer { claimed: cut(claimed) })?;
        let key_id = token.claimed_key_id().map_err(bad(issuer.name()))?.map(str::to_owned);
        let keys = issuer.keys(key_id.as_deref()).await;
        let keys = keys.map_err(|problem| Refused::Keys { issuer: issuer.name().to_owned(), problem })?;
        // Only now: who waits for the keys of one issuer keeps nobody of another's from a place.
        let _place = self.gate.enter(1).await.map_err(Refused::Budget)?;
        if !is_of_a_known_type(token.claimed_type()) {
            return Err(bad(issuer.name())(BadToken::Type));
        }
        // It took its time to fetch them.
        let now = now.plus(i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX));
        let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.issuer == issuer.name()).collect();
        let audiences: Vec<&str> = rules.iter().map(|rule| rule.audience.as_str()).collect();
        let claims = token.verify(&keys, &audiences, now, self.leeway).map_err(bad(issuer.name()))?;
        let seconds = claims.expires().since(now);
        if seconds > TOKEN_LIFETIME_MAX {
            let (issuer, limit) = (issuer.name().to_owned(), TOKEN_LIFETIME_MAX);
            return Err(Refused::Lifetime { issuer, seconds, limit });
        }
        let rule = fitting(&rules, &claims, issuer.name())?;
        let audience = target(rule, &form.audiences)?;
        self.issue(id, rule, audience, &claims, from, now).await
    }

    async fn issue(
        &self,
        id: &str,
        rule: &Rule,
        audience: Audience,
        claims: &Claims,
        from: Asker,
        now: UnixTime,
    ) -> Result<(IssuedToken, Seen), Refused> {
        let text = |name: &str| claims.members().get(name).and_then(Value::as_str);
        let issuer = text("iss").unwrap_or_default().to_owned();
        let subject = text("sub").unwrap_or_default();
        let key = self.authority.signing().ok_or(AuthorityFault::NoTokenKey)?;
        let draft = key.draft_exchanged(rule.spiffe_id.clone(), audience, rule.ttl, now)?;
        let issuance = ExchangeIssuance {
            exchange: id.to_owned(),
            spiffe_id: draft.spiffe_id().clone(),
            audience: draft.audience().names().to_vec(),
            expires: draft.expires(),
            rule: rule.name.clone(),
            issuer: issuer.clone(),
            subject: cut(subject),
            token_id: text("jti").map(cut).unwrap_or_default(),
            token: one_token(&issuer, text("jti"), claims),
            token_expires: claims.expires().plus(i64::from(holdfast_svid::LEEWAY_SECONDS_MAX)),
            uses: rule.uses,
            source: source(from),
        };
        let recorded = self.store.record_exchange(key.authority_id().to_owned(), issuance, now).await?;
        let recorded = recorded.map_err(|not| match not {
            NotExchanged::Replayed { uses } => Refused::Replayed { rule: rule.name.clone(), uses },
            // Another key signs by now: whoever asked asks again.
            NotExchanged::AuthorityGone => AuthorityFault::NoTokenKey.into(),
        })?;
        let token = key.sign_exchanged(&draft, recorded)?;
        metrics::counter!("holdfast_svids_issued_total", "kind" => "exchange").increment(1);
        let seen = Seen {
            id: id.to_owned(),
            at: now,
            source: source(from),
            code: "",
            problem: String::new(),
            issuer,
            subject: cut(subject),
            rule: rule.name.clone(),
            differs: Vec::new(),
            spiffe_id: rule.spiffe_id.to_string(),
        };
        Ok((token, seen))
    }

    fn tell(&self, id: &str, done: &Result<(IssuedToken, Seen), Refused>, from: Asker, now: UnixTime) {
        match done {
            Ok((_, seen)) => {
                info!(exchange = id, rule = seen.rule, subject = ?seen.subject, "token exchanged");
                metrics::counter!("holdfast_exchanges_total", "code" => "").increment(1);
                self.seen.push(seen.clone());
            }
            Err(refused) => {
                let code = refused.code();
                warn!(exchange = id, source = source(from), code, %refused, "token not exchanged");
                metrics::counter!("holdfast_exchanges_total", "code" => code).increment(1);
                if refused.is_of_genuine_token() {
                    self.seen.push(of_refusal(id, refused, from, now));
                }
            }
        }
    }
}

fn of_refusal(id: &str, refused: &Refused, from: Asker, now: UnixTime) -> Seen {
    let mut seen = Seen {
        id: id.to_owned(),
        at: now,
        source: source(from),
        code: refused.code(),
        problem: refused.to_string(),
        issuer: String::new(),
        subject: String::new(),
        rule: String::new(),
        differs: Vec::new(),
        spiffe_id: String::new(),
    };
    match refused {
        Refused::NoRule { issuer, subject, nearest } => {
            (seen.issuer, seen.subject) = (issuer.clone(), subject.clone());
            if let Some((rule, differs)) = nearest {
                (seen.rule, seen.differs) = (rule.clone(), differs.clone());
            }
        }
        Refused::Target { rule, .. } | Refused::Replayed { rule, .. } => seen.rule.clone_from(rule),
        _ => {}
    }
    seen
}

/// The first rule that the token meets in all.
fn fitting<'a>(rules: &[&'a Rule], claims: &Claims, issuer: &str) -> Result<&'a Rule, Refused> {
    let mut nearest: Option<(&Rule, Vec<Differs>)> = None;
    for &rule in rules {
        let differs = rule.differs(claims.members());
        if differs.is_empty() {
            return Ok(rule);
        }
        if nearest.as_ref().is_none_or(|(_, least)| differs.len() < least.len()) {
            nearest = Some((rule, differs));
        }
    }
    let subject = claims.members().get("sub").and_then(Value::as_str).map(cut).unwrap_or_default();
    let short = |differs: Differs| Differs { found: differs.found.as_deref().map(cut), ..differs };
    let nearest = nearest.map(|(rule, differs)| (rule.name.clone(), differs.into_iter().map(short).collect()));
    Err(Refused::NoRule { issuer: issuer.to_owned(), subject, nearest })
}

/// For whom the JWT-SVID will be: whom the request names, if the rule does; the rule's only one where it names nobody.
fn target(rule: &Rule, asked: &[String]) -> Result<Audience, Refused> {
    if let Some(other) = asked.iter().find(|name| !rule.audiences.contains(name)) {
        return Err(Refused::Target { rule: rule.name.clone(), audience: cut(other) });
    }
    let audience = match (asked, rule.audiences.as_slice()) {
        ([], [only]) => Audience::new(&[only]),
        ([], _) => return Err(Refused::Target { rule: rule.name.clone(), audience: String::new() }),
        (asked, _) => Audience::new(asked),
    };
    audience.map_err(Refused::Audience)
}

/// Whether a token of this type says who somebody is: of others (`logout+jwt`, `secevent+jwt`) the same key signs as well.
fn is_of_a_known_type(claimed: Option<&str>) -> bool {
    let known = |name: &str| ["JWT", "JOSE", "at+jwt"].iter().any(|known| known.eq_ignore_ascii_case(name));
    claimed.is_none_or(|name| known(name.strip_prefix("application/").unwrap_or(name)))
}

/// What tells one token from all others: its issuer and its ID; without an ID, what was signed. Never the signature, of
/// which there may be several for one token.
fn one_token(issuer: &str, id: Option<&str>, claims: &Claims) -> Sha256 {
    let signed = hex::encode(claims.signed_sha256());
    let parts = match id.filter(|id| !id.is_empty()) {
        Some(id) => ["id", issuer, id],
        None => ["token", issuer, &signed],
    };
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    Sha256::of(&bytes)
}

fn source(from: Asker) -> String {
    match from {
        Asker::Address(address) => Source::of(address).to_string(),
        Asker::Proxied => "proxy".to_owned(),
    }
}

/// What of a text is kept.
fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARACTERS_MAX).collect()
}

/// A name that nobody guesses, for what comes of one request.
pub(super) fn draw_id() -> String {
    let mut bytes = [0; 8];
    // Without randomness all are called alike; nothing worse.
    let _ = SystemRandom::new().fill(&mut bytes);
    hex::encode(bytes)
}
