//! The machines seen together: what TCB each rests on, what a floor or another policy would refuse, and the report of a
//! period. Reads and compares; decides about nobody.

mod floor;
mod lists;
mod question;
mod scope;
mod tcb;
mod what_if;

pub use floor::{BadFloor, Floor, NotMet};
pub use question::{Cause, Effect, Question, Side, Word};
pub use scope::{NotFixed, fixed_selectors, scope_selector};
pub use tcb::TcbFacts;
pub(crate) use tcb::of_decision;
pub use what_if::{Answer, Group, Heard, WhatIf, what_if};
