//! The push stream: to each standing node the entries whose parent it is, and every change of them.
//!
//! What is pushed allows nothing: each signing request is judged by the entries of that moment.

mod foreign;
mod lists;
mod message;
mod stream;
mod subscribers;
#[cfg(test)]
mod tests;
mod withdrawn;

pub use stream::{Shown, SyncStream, follow};
pub use subscribers::{Interest, Push, Subscriber, Subscribers};
