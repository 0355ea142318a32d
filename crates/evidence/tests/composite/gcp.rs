//! Made-up instances of Google Cloud, as the tests of the verifier have them.

#[path = "../gcp/instance.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub(crate) mod instance;
