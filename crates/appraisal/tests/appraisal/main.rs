//! The policy language and the decision, from the outside: text and facts in, findings and decisions out.

mod boots;
mod decision;
mod grants;
mod language;
mod machine;
mod never_panics;
mod sets;
