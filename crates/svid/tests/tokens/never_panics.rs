//! Whatever comes, it is read or refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_svid::{foreign, jwk, jwt};
use proptest::prelude::*;

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,300}") {
        let _ = (jwt::Unverified::parse(&text), foreign::Unverified::parse(&text));
    }

    #[test]
    fn any_parts_are_read_or_refused(header in prop::collection::vec(any::<u8>(), 0..100), claims in ".{0,100}") {
        let token = format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let _ = (jwt::Unverified::parse(&token), foreign::Unverified::parse(&token));
    }

    #[test]
    fn any_set_of_keys_is_read_or_refused(text in "\\{\"keys\":\\[(\\{(\"(kty|kid|use|x|n)\":\"(EC|RSA|AA)\",?){0,4}\\},?){0,3}\\]\\}") {
        let _ = (jwk::read_set(text.as_bytes()), foreign::IssuerKeys::read("i", text.as_bytes()));
    }
}
