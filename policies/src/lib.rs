//! `holdfast-policy`: reads, checks and tries policies, and inspects evidence, offline.
//!
//! Talks to no server and holds no state. The policies that ship with Holdfast stand in `shipped/`, their cases in
//! `shipped/cases/`.

#![forbid(unsafe_code)]

pub mod cli;
mod diff;
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
mod reference;
mod schema;
pub mod test;
mod toml_text;
