//! The agent services: decodes requests, asks the desk, encodes answers. Decides nothing.

mod answer;

pub use answer::{ATTEMPT_KEY, REASON_KEY, RETRY_AFTER_KEY, Word, over_budget, refused, unavailable};
