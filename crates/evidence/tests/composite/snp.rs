//! Made-up SNP guests, as the tests of the verifier have them.

#[path = "../snp/guest.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub(crate) mod guest;
#[path = "../snp/pki.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub(crate) mod pki;
