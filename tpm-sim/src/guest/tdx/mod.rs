//! A simulated Intel: root, CAs of platforms, PCK certificates with the SGX extension, what Intel says about platforms,
//! and quotes of TDs whose runtime registers follow from a boot profile. Written from Intel's documents: the DCAP Quote
//! Generation Library's appendix A, the PCK Certificate and CRL Profile, the API of the Provisioning Certification Service.

mod boot;
mod collateral;
mod extension;
mod pki;
pub(in crate::guest) mod quote;
mod spec;

pub use boot::Measured;
pub use collateral::Documents;
pub use pki::Intel;
pub use spec::{CollateralSpec, PlatformSpec, TdxLie, TdxSpec};
