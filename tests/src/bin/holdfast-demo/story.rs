//! How the demo tells what it does: numbered steps, what was seen, and a summary.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::bail;

/// Set by a signal; the next step or wait ends the demo, and everything it started is dropped and so stopped.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The steps so far.
pub(crate) struct Story {
    from: Instant,
    told: Vec<(String, f64)>,
    now: Option<(String, Instant)>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { from: Instant::now(), told: Vec::new(), now: None }
    }

    /// The step before held; this one begins.
    pub(crate) fn step(&mut self, what: &str) -> anyhow::Result<()> {
        self.held();
        if INTERRUPTED.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        println!("\n{}. {what}", self.told.len() + 1);
        self.now = Some((what.to_owned(), Instant::now()));
        Ok(())
    }

    /// Something the reader should see, line by line.
    #[expect(clippy::unused_self, reason = "told by the story")]
    pub(crate) fn show(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("      {line}");
        }
    }

    fn held(&mut self) {
        if let Some((what, from)) = self.now.take() {
            println!("   ok");
            self.told.push((what, from.elapsed().as_secs_f64()));
        }
    }

    /// The step that was under way when something failed.
    pub(crate) fn broken_step(&self) -> &str {
        self.now.as_ref().map_or("start", |(what, _)| what)
    }

    /// All steps held.
    pub(crate) fn end(&mut self) {
        self.held();
        println!("\nSummary");
        for (index, (what, seconds)) in self.told.iter().enumerate() {
            println!("  ok {:>2}. {what} ({seconds:.1} s)", index + 1);
        }
        println!("\nAll {} steps held in {:.1} s.", self.told.len(), self.from.elapsed().as_secs_f64());
    }
}
