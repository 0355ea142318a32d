//! The rows of the SPIFFE conformance checklist (`spiffe_conformance/rows.txt`), each a black-box test by the row's number, on the
//! real programs.
//! docs/spiffe-conformance.md says what became of each; `make conformance` writes it. Needs `cargo build --workspace --bins`
//! first, and swtpm.

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
#[path = "spiffe_conformance/court.rs"]
mod court;
#[path = "spiffe_conformance/endpoint.rs"]
mod endpoint;
#[path = "spiffe_conformance/forge.rs"]
mod forge;
#[path = "spiffe_conformance/issued.rs"]
mod issued;
#[path = "spiffe_conformance/jwt_api.rs"]
mod jwt_api;
#[path = "spiffe_conformance/jwt_profile.rs"]
mod jwt_profile;
#[path = "spiffe_conformance/names.rs"]
mod names;
#[path = "spiffe_conformance/peer.rs"]
mod peer;
#[path = "spiffe_conformance/place.rs"]
mod place;
#[path = "spiffe_conformance/reflection.rs"]
mod reflection;
#[path = "spiffe_conformance/stranger.rs"]
mod stranger;
#[path = "spiffe_conformance/validators.rs"]
mod validators;
#[path = "spiffe_conformance/x509_profile.rs"]
mod x509_profile;
