//! The rows of the SPIFFE conformance checklist, each a black-box test by the row's number.
//!
//! Rows whose subject is issued elsewhere (leaf profiles, bundles, federation) are added here with their rooms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

#[path = "workload/mod.rs"]
#[allow(dead_code, reason = "another test binary uses the rest")]
mod workload;

#[path = "spiffe_conformance/bundle.rs"]
mod bundle;
#[path = "spiffe_conformance/endpoint.rs"]
mod endpoint;
#[path = "spiffe_conformance/jwt_profile.rs"]
mod jwt_profile;
#[path = "spiffe_conformance/reflection.rs"]
mod reflection;
#[path = "spiffe_conformance/x509_profile.rs"]
mod x509_profile;
