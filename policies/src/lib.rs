//! `holdfast-policy`: reads, checks and tries policies, and inspects evidence, offline.
//!
//! Talks to no server and holds no state. The policies that ship with Holdfast stand in `shipped/`, their cases in
//! `shipped/cases/`.

#![forbid(unsafe_code)]

pub mod cli;
mod diff;
mod ear;
pub mod exit;
mod explain;
pub mod files;
mod inspect;
mod junit;
mod learn;
mod lint;
mod measure;
pub mod moment;
pub mod output;
mod proof;
mod reference;
mod schema;
mod sign;
pub mod test;
mod toml_text;
