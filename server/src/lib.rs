//! The attestation server: appraises nodes, keeps the record, signs SVIDs.

pub mod authority;
pub mod listen;
