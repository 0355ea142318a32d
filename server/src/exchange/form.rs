//! What a request for exchange says (RFC 8693, section 2.1), read from its form: each field once, none that would mean
//! something else here.

use super::refused::Refused;

/// Bytes of a request's body: tokens of CI systems have three or four thousand.
pub(super) const FORM_BYTES_MAX: usize = 32 << 10;
/// Fields of a request.
const FIELDS_MAX: usize = 64;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// A JWT, whatever it is for.
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// A request, as far as its form goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// The token of the other issuer.
    pub subject_token: String,
    /// For whom the JWT-SVID is to be.
    pub audiences: Vec<String>,
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refused`], of those about the request itself.
    pub fn parse(body: &[u8]) -> Result<Self, Refused> {
        if body.len() > FORM_BYTES_MAX {
            return Err(Refused::Form("longer than a request may be"));
        }
        let text = std::str::from_utf8(body).map_err(|_| Refused::Form("not UTF-8"))?;
        let (mut grant, mut token, mut token_type, mut wanted) = (None, None, None, None);
        let mut audiences = Vec::new();
        for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            if count >= FIELDS_MAX {
                return Err(Refused::Form("more fields than a request may have"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            let once = match name.as_str() {
                "grant_type" => &mut grant,
                "subject_token" => &mut token,
                "subject_token_type" => &mut token_type,
                "requested_token_type" => &mut wanted,
                "audience" => {
                    audiences.push(value);
                    continue;
                }
                // Acting for somebody else, or with less than all, is nothing that a rule could say.
                "actor_token" | "actor_token_type" | "resource" | "scope" if !value.is_empty() => {
                    return Err(Refused::Unsupported);
                }
                // A field that nobody knows is passed over (RFC 6749, section 3.2).
                _ => continue,
            };
            if once.replace(value).is_some() {
                return Err(Refused::Form("a field is there twice"));
            }
        }
        if grant.as_deref() != Some(GRANT) {
            return Err(Refused::GrantType);
        }
        if !matches!(token_type.as_deref(), Some(JWT | ID_TOKEN)) || !matches!(wanted.as_deref(), None | Some(JWT)) {
            return Err(Refused::TokenType);
        }
        let subject_token = token.filter(|token| !token.is_empty()).ok_or(Refused::Form("no subject_token"))?;
        Ok(Self { subject_token, audiences })
    }
}

/// Undoes the encoding of forms: `+` is a blank, `%41` a byte.
fn decoded(text: &str) -> Result<String, Refused> {
    let broken = Refused::Form("not the encoding of forms");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(broken) };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=a.b.c\
                        &subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=sts.amazonaws.com";

    fn code(body: &str) -> &'static str {
        Form::parse(body.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn a_request_is_read_with_its_encoding_undone() {
        let form = Form::parse(format!("{GOOD}&audience=a%20b+c&unknown=%C3%A9").as_bytes()).unwrap();
        assert_eq!(
            (form.subject_token.as_str(), form.audiences),
            ("a.b.c", vec!["sts.amazonaws.com".into(), "a b c".into()])
        );
        let id = GOOD.replace("type:jwt", "type:id_token");
        assert!(Form::parse(format!("{id}&requested_token_type={JWT}").as_bytes()).is_ok());
    }

    #[test]
    fn what_is_missing_there_twice_or_means_something_else_is_refused() {
        assert_eq!(code(""), "exchange.grant_type");
        assert_eq!(code(&GOOD.replace("token-exchange", "jwt-bearer")), "exchange.grant_type");
        assert_eq!(code(&GOOD.replace("type:jwt", "type:access_token")), "exchange.token_type");
        assert_eq!(
            code(&format!("{GOOD}&requested_token_type=urn:ietf:params:oauth:token-type:access_token")),
            "exchange.token_type"
        );
        assert_eq!(code(&GOOD.replace("a.b.c", "")), "exchange.form");
        assert_eq!(code(&format!("{GOOD}&subject_token=x.y.z")), "exchange.form");
        for field in ["actor_token=x", "resource=https://a", "scope=admin"] {
            assert_eq!(code(&format!("{GOOD}&{field}")), "exchange.unsupported", "{field}");
        }
        for broken in ["a=%", "a=%4", "a=%zz", "a=%ff"] {
            assert_eq!(code(&format!("{GOOD}&{broken}")), "exchange.form", "{broken}");
        }
        assert_eq!(code(&format!("{GOOD}&{}", "x=y&".repeat(64))), "exchange.form");
        assert_eq!(Form::parse(&vec![b'a'; FORM_BYTES_MAX + 1]).unwrap_err().code(), "exchange.form");
        assert_eq!(Form::parse(b"\xff").unwrap_err().code(), "exchange.form");
    }
}
