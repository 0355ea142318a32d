//! Made-up TDX guests, as the tests of the verifier have them.

#[path = "../tdx/intel.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub(crate) mod intel;
#[path = "../tdx/td.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub(crate) mod td;
