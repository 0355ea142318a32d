//! The machines seen together: what TCB each rests on, by the decision on record, and what a floor would refuse. Reads
//! and compares; decides about nobody.

mod floor;
mod tcb;

pub use floor::{BadFloor, Floor, NotMet};
pub use tcb::TcbFacts;
pub(crate) use tcb::of_decision;
