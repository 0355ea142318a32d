//! Answers of a moment ago, by what they are about: those who ask for the same at the same moment share one answer, and
//! one who asks without end asks once a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old an answer may be that is given again: many streams are looked at within the same moment.
const FRESH: Duration = Duration::from_secs(1);
/// Lines beside which nobody looks for old ones.
const FEW: usize = 64;

/// The answers, and those who wait for one.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Lines<T>>);

type Line<T> = Arc<tokio::sync::Mutex<Option<(Instant, T)>>>;

#[derive(Debug)]
struct Lines<T> {
    lines: HashMap<String, Line<T>>,
    /// How many there may be before old ones are looked for.
    sweep_at: usize,
}

impl<T: Clone> Recent<T> {
    /// Nothing was asked.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Lines { lines: HashMap::new(), sweep_at: FEW }))
    }

    /// The answer about `what`: a fresh one that `stands`, the one that somebody else is waiting for, or what `ask` gives.
    /// A failure is the asker's alone.
    pub(super) async fn get<E>(
        &self,
        what: &str,
        stands: impl Fn(&T) -> bool,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let line = self.line(what);
        let mut last = line.lock().await;
        if let Some(answer) = fresh(&last).filter(stands) {
            return Ok(answer);
        }
        let asked = Instant::now();
        let answer = ask.await?;
        *last = Some((asked, answer.clone()));
        Ok(answer)
    }

    fn line(&self, what: &str) -> Line<T> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lines { lines, sweep_at } = &mut *guard;
        if lines.len() >= *sweep_at {
            // Whoever asks or waits holds the line too.
            lines.retain(|_, line| {
                Arc::strong_count(line) > 1 || line.try_lock().is_ok_and(|last| fresh(&last).is_some())
            });
            *sweep_at = (lines.len() * 2).max(FEW);
        }
        if let Some(line) = lines.get(what) {
            return Arc::clone(line);
        }
        let line = Line::default();
        lines.insert(what.to_owned(), Arc::clone(&line));
        line
    }
}

fn fresh<T: Clone>(last: &Option<(Instant, T)>) -> Option<T> {
    last.as_ref().filter(|(asked, _)| asked.elapsed() < FRESH).map(|(_, answer)| answer.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_given_again_for_a_moment_and_a_failure_never() {
        let recent = Recent::new();
        let failed: Result<u32, &str> = recent.get("a", |_| true, async { Err("no") }).await;
        assert_eq!(failed, Err("no"));
        for (number, expected) in [(1, 1), (2, 1)] {
            assert_eq!(recent.get("a", |_| true, async { Ok::<_, ()>(number) }).await, Ok(expected));
        }
        assert_eq!(recent.get("b", |_| true, async { Ok::<_, ()>(3) }).await, Ok(3), "about something else");
        tokio::time::sleep(FRESH).await;
        assert_eq!(recent.get("a", |_| true, async { Ok::<_, ()>(4) }).await, Ok(4));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_stand_any_more_is_not_given_again() {
        let recent = Recent::new();
        for (number, expected) in [(1, 1), (2, 2), (3, 2)] {
            let given = recent.get("a", |last| *last != 1, async { Ok::<_, ()>(number) }).await;
            assert_eq!(given, Ok(expected));
        }
    }

    #[tokio::test]
    async fn what_was_asked_about_long_ago_is_forgotten() {
        let recent = Recent::new();
        for n in 0..FEW {
            recent.get(&n.to_string(), |_| true, async { Ok::<_, ()>(0) }).await.unwrap();
        }
        tokio::time::sleep(FRESH).await;
        recent.get("last", |_| true, async { Ok::<_, ()>(0) }).await.unwrap();
        assert_eq!(recent.0.lock().unwrap().lines.len(), 1);
    }
}
