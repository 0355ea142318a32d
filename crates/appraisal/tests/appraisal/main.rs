//! The policy language and the decision, from the outside: text and facts in, findings and decisions out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests read files and fail loudly"
)]

mod boots;
mod decision;
mod ear;
mod explanation;
mod grants;
mod language;
mod machine;
mod makers;
mod never_panics;
mod nitro;
mod promises;
mod sets;
mod signed_values;
mod site_conditions;
mod suggestions;
mod texts_and_events;
mod waived_denials;
mod waiver_attacks;
mod waivers;
