//! The thread that owns the chip, its queue, and the watchdog that ends the program when the chip no longer answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::identity::Machine;
use super::{Access, TpmFault};
use crate::state::StateDir;

/// How long a chip may think about a command before it is taken for stalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The slowest private operation in the field takes half a second.
    pub command: Duration,
    /// For commands that make a key: RSA on the slowest chips takes 8 s, with retries a minute.
    pub create: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { command: Duration::from_secs(90), create: Duration::from_secs(300) }
    }
}

/// Requests that may wait. Each connection and renewal has one at a time.
const QUEUE: usize = 64;
/// How often the watchdog looks.
const WATCH: Duration = Duration::from_secs(1);

/// A command that took longer than any working chip takes. libtss2 cannot give up on it: the program must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("TPM has not answered {command} for {seconds} s: it is stalled")]
pub struct Stall {
    /// The command.
    pub command: &'static str,
    /// How long it has been waiting.
    pub seconds: u64,
}

impl Stall {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "agent.tpm.stalled"
    }
}

type Job = Box<dyn FnOnce(&mut Machine) + Send>;

/// A handle on the thread that owns the chip. Clones share the thread; it ends, and frees the chip, with the last one.
#[derive(Clone)]
pub struct Tpm {
    queue: SyncSender<Job>,
    pulse: Arc<Pulse>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Tpm {
    /// Starts the thread. The chip is opened with the first request. `on_stall` is called on a thread of its own when a
    /// command takes too long; it is expected to end the program, since nothing else helps.
    ///
    /// # Errors
    /// [`TpmFault::Gone`] where the system gives no thread.
    pub fn start(
        access: Access,
        state: StateDir,
        patience: Patience,
        on_stall: impl Fn(Stall) + Send + 'static,
    ) -> Result<Self, TpmFault> {
        let (queue, jobs) = mpsc::sync_channel(QUEUE);
        let pulse = Arc::new(Pulse::default());
        let machine = Machine::new(access, state, Arc::clone(&pulse));
        let thread = spawn("tpm", move || serve(machine, &jobs))?;
        let watched = Arc::downgrade(&pulse);
        spawn("tpm-watchdog", move || {
            while let Some(pulse) = watched.upgrade() {
                if let Some(stall) = pulse.stalled(patience) {
                    on_stall(stall);
                }
                drop(pulse);
                std::thread::sleep(WATCH);
            }
        })?;
        Ok(Self { queue, pulse, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Commands sent since the start.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.pulse.sent.load(Ordering::Relaxed)
    }

    /// Runs `job` on the thread and waits for its answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Machine) -> Result<T, TpmFault> + Send + 'static,
    ) -> Result<T, TpmFault> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |machine| {
            // Nobody waits any more: then nobody misses the answer.
            let _ = answer.send(job(machine));
        }))?;
        answered.await.unwrap_or(Err(TpmFault::Gone))
    }

    /// As [`Self::ask`], for callers that are not asynchronous. Blocks the calling thread.
    pub(super) fn ask_blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Machine) -> Result<T, TpmFault> + Send + 'static,
    ) -> Result<T, TpmFault> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.send(Box::new(move |machine| {
            let _ = answer.send(job(machine));
        }))?;
        answered.recv().unwrap_or(Err(TpmFault::Gone))
    }

    fn send(&self, job: Job) -> Result<(), TpmFault> {
        self.queue.try_send(job).map_err(|refused| match refused {
            TrySendError::Full(_) => TpmFault::Busy { limit: QUEUE },
            TrySendError::Disconnected(_) => TpmFault::Gone,
        })
    }

    /// Lets go of the chip and waits until the thread has freed what it held there. Other clones get
    /// [`TpmFault::Gone`] from then on.
    pub async fn close(self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = self
            .ask(|machine| {
                machine.close();
                Ok(())
            })
            .await;
        drop(self.queue);
        if let Some(thread) = thread {
            // Ends at once: the machine is closed, and the loop leaves with it.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, TpmFault> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|_| TpmFault::Gone)
}

fn serve(mut machine: Machine, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(&mut machine);
        if machine.is_closed() {
            return;
        }
    }
    machine.close();
}

/// What the chip is doing, and how much it has done: written by its thread, read by the watchdog and the metrics.
#[derive(Default)]
pub(super) struct Pulse {
    running: Mutex<Option<(Instant, &'static str)>>,
    sent: AtomicU64,
}

impl Pulse {
    /// Runs one TPM command: counted, timed and watched.
    pub(super) fn command<T>(&self, name: &'static str, run: impl FnOnce() -> T) -> T {
        self.sent.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("holdfast_agent_tpm_commands_total", "command" => name).increment(1);
        let started = Instant::now();
        let result = self.during(name, run);
        metrics::histogram!("holdfast_agent_tpm_command_seconds", "command" => name)
            .record(started.elapsed().as_secs_f64());
        result
    }

    /// Runs something that may block on the chip but is no command: watched.
    pub(super) fn during<T>(&self, name: &'static str, run: impl FnOnce() -> T) -> T {
        self.set(Some((Instant::now(), name)));
        let result = run();
        self.set(None);
        result
    }

    fn set(&self, running: Option<(Instant, &'static str)>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }

    fn stalled(&self, patience: Patience) -> Option<Stall> {
        let (since, command) = (*self.running.lock().unwrap_or_else(PoisonError::into_inner))?;
        let waited = since.elapsed();
        let most = if command.starts_with("Create") { patience.create } else { patience.command };
        (waited >= most).then_some(Stall { command, seconds: waited.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_stalled_after_90_seconds_and_a_key_being_made_after_300() {
        let pulse = Pulse::default();
        let stalled = || pulse.stalled(Patience::default());
        assert_eq!(stalled(), None);
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        pulse.set(Some((ago(89), "Quote")));
        assert_eq!(stalled(), None);
        pulse.set(Some((ago(91), "Quote")));
        assert_eq!(stalled(), Some(Stall { command: "Quote", seconds: 91 }));
        for (seconds, command) in [(91, "CreatePrimary"), (299, "CreatePrimary")] {
            pulse.set(Some((ago(seconds), command)));
            assert_eq!(stalled(), None);
        }
        pulse.set(Some((ago(301), "CreatePrimary")));
        assert_eq!(stalled(), Some(Stall { command: "CreatePrimary", seconds: 301 }));
    }
}
