//! The `systemd` attestor: the unit that a process belongs to, by systemd's word over the system bus, with selectors
//! spelled as SPIRE spells them, and the slice on top.
//!
//! Control groups below a unit may belong to others; systemd answers with the unit, whatever they are called.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use zbus::{Connection, OwnedObjectPath, OwnedVariant};

use super::gate::Gate;
use super::selection::Selection;
use super::{AttestFault, Attestor, Peer};

const KIND: &str = "systemd";
const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The bus itself.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// Processes of one user that systemd is asked about at once: who asks without end waits for himself alone.
const QUESTIONS_PER_USER_MAX: usize = 8;
/// systemd's name for "this process is in no unit".
const NO_UNIT: &str = "org.freedesktop.systemd1.NoUnitForPID";
/// How long the bus or systemd may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Kinds of units that have processes, by the end of their names, with the interface that knows their slice.
const WITH_SLICE: &[(&str, &str)] = &[
    (".service", "org.freedesktop.systemd1.Service"),
    (".scope", "org.freedesktop.systemd1.Scope"),
    (".socket", "org.freedesktop.systemd1.Socket"),
    (".mount", "org.freedesktop.systemd1.Mount"),
    (".swap", "org.freedesktop.systemd1.Swap"),
];

/// Why systemd did not tell a process's unit.
#[derive(Debug, thiserror::Error)]
pub enum SystemdFault {
    /// There is no bus, or it refuses the agent.
    #[error("system bus cannot be reached at {}", bus.display())]
    Bus {
        /// Its socket.
        bus: PathBuf,
        /// Why.
        #[source]
        source: Box<zbus::Error>,
    },
    /// systemd did not answer what was asked.
    #[error("systemd did not answer {method}")]
    Call {
        /// What was asked.
        method: &'static str,
        /// Why.
        #[source]
        source: Box<zbus::Error>,
    },
    /// The bus is not in the agent's PID namespace: process numbers mean others to systemd.
    #[error(
        "system bus knows the agent as process {found}, which is {own} here: run the agent in the host's PID namespace"
    )]
    Namespace {
        /// The agent, as the bus sees it.
        found: String,
        /// The agent, as it sees itself.
        own: u32,
    },
    /// It took too long.
    #[error("systemd took longer than {} s", limit.as_secs())]
    TimedOut {
        /// What it may take.
        limit: Duration,
    },
}

impl SystemdFault {
    /// Whether the bus and systemd are well, and said no.
    fn is_an_answer(&self) -> bool {
        matches!(self, Self::Call { source, .. } if matches!(**source, zbus::Error::MethodError(..)))
    }

    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bus { .. } => "attest.systemd.bus",
            Self::Call { .. } => "attest.systemd.call",
            Self::Namespace { .. } => "attest.systemd.namespace",
            Self::TimedOut { .. } => "attest.systemd.timed_out",
        }
    }
}

/// Gives `systemd:id:UNIT`, `systemd:fragment_path:FILE` and `systemd:slice:SLICE`.
#[derive(Debug)]
pub struct Systemd {
    bus: PathBuf,
    connection: Mutex<Option<Connection>>,
    gate: Gate<u32>,
}

/// What systemd says of a unit.
struct Unit {
    id: String,
    fragment_path: String,
    slice: Option<String>,
}

impl Systemd {
    /// Asks over the bus at this socket.
    #[must_use]
    pub fn at(bus: PathBuf) -> Self {
        Self { bus, connection: Mutex::default(), gate: Gate::new(QUESTIONS_PER_USER_MAX) }
    }

    async fn gather(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestFault> {
        let _place = self.gate.pass(peer.uid()).await;
        let unit = tokio::time::timeout(PATIENCE, self.unit(peer.pid().unsigned_abs()));
        let unit = unit.await.unwrap_or(Err(SystemdFault::TimedOut { limit: PATIENCE }));
        if unit.as_ref().is_err_and(|fault| !fault.is_an_answer()) {
            // A bus that was restarted is another one.
            *self.connection.lock().await = None;
        }
        let unit = unit?;
        // It lived after the answer, so its number was its own when systemd looked.
        if peer.has_exited() {
            return Err(AttestFault::Exited { pid: peer.pid() });
        }
        let mut selection = Selection::of(KIND);
        if let Some(unit) = unit {
            selection.add("id", unit.id);
            selection.add("fragment_path", unit.fragment_path);
            selection.add_some("slice", unit.slice);
        }
        selection.finish()
    }

    /// The unit of process `pid`; `None` if it belongs to none.
    async fn unit(&self, pid: u32) -> Result<Option<Unit>, SystemdFault> {
        let connection = self.connection().await?;
        let method = "GetUnitByPID";
        let called = connection.call_method(Some(SERVICE), MANAGER_PATH, Some(MANAGER), method, &(pid,)).await;
        let path: OwnedObjectPath = match called {
            Ok(reply) => reply.body().deserialize().map_err(fault(method))?,
            Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_UNIT => return Ok(None),
            Err(error) => return Err(fault(method)(error)),
        };
        let id = property(&connection, &path, UNIT, "Id").await?;
        let fragment_path = property(&connection, &path, UNIT, "FragmentPath").await?;
        let slice = match WITH_SLICE.iter().find(|(end, _)| id.ends_with(end)) {
            Some((_, interface)) => Some(property(&connection, &path, interface, "Slice").await?),
            None => None,
        };
        Ok(Some(Unit { id, fragment_path, slice }))
    }

    /// The connection to the bus; a new one where there is none, or none any more.
    async fn connection(&self) -> Result<Connection, SystemdFault> {
        let mut held = self.connection.lock().await;
        if let Some(open) = held.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let fault = |source| SystemdFault::Bus { bus: self.bus.clone(), source: Box::new(source) };
        // The socket is named by its path: the library's own look-up would ask the environment. A bus that accepts
        // nobody must hold up no thread.
        let stream = UnixStream::connect(&self.bus).await.and_then(UnixStream::into_std);
        let stream = stream.map_err(|error| fault(error.into()))?;
        let connection = zbus::connection::Builder::unix_stream(stream).build().await.map_err(fault)?;
        in_our_namespace(&connection).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }
}

/// A process's number is asked about by number, so the other side must count as we do. The bus says how it counts by the
/// number that it has for the agent.
async fn in_our_namespace(connection: &Connection) -> Result<(), SystemdFault> {
    let method = "GetConnectionUnixProcessID";
    let (name, own) = (connection.unique_name().map(ToString::to_string).unwrap_or_default(), std::process::id());
    let found = match connection.call_method(Some(BUS), BUS_PATH, Some(BUS), method, &(name,)).await {
        Ok(reply) => reply.body().deserialize::<u32>().map_err(fault(method))?,
        // It does not see the agent at all.
        Err(zbus::Error::MethodError(..)) => {
            return Err(SystemdFault::Namespace { found: "unknown".to_owned(), own });
        }
        Err(error) => return Err(fault(method)(error)),
    };
    if found == own { Ok(()) } else { Err(SystemdFault::Namespace { found: found.to_string(), own }) }
}

async fn property(
    connection: &Connection,
    unit: &OwnedObjectPath,
    interface: &str,
    name: &'static str,
) -> Result<String, SystemdFault> {
    let called =
        connection.call_method(Some(SERVICE), unit.as_str(), Some(PROPERTIES), "Get", &(interface, name)).await;
    let reply = called.map_err(fault(name))?;
    let value: OwnedVariant = reply.body().deserialize().map_err(fault(name))?;
    String::try_from(value).map_err(|error| fault(name)(error))
}

fn fault(method: &'static str) -> impl FnOnce(zbus::Error) -> SystemdFault {
    move |source| SystemdFault::Call { method, source: Box::new(source) }
}

impl Attestor for Systemd {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(self.gather(peer))
    }
}
