//! The TPM as software under test reaches it: a data port and, one above, a control port, on loopback. Any number of
//! clients may be connected; their commands reach the TPM one at a time, as with a kernel driver. Counts commands and
//! applies faults. The ports stay the same over reboots; the connections do not.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::SimError;
use crate::fault::{Effect, Fault};
use crate::tpm::CommandCode;
use crate::tpm::process::{Swtpm, read_message};
use crate::tpm::wire::Exchange;

/// How many pairs of ports are tried before giving up.
const PORT_TRIES: u32 = 200;
/// Most connections at a time; more are closed at once.
const CLIENTS_MAX: usize = 256;
/// Pause after a connection that could not be accepted.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(10);
const CONTROL_SET_LOCALITY: u32 = 5;
const CONTROL_BAD_ORDINAL: u32 = 0x0a;
const CONTROL_BAD_LOCALITY: u32 = 0x3d;

/// What stands between software and the TPM, where a provider has put something there.
pub(crate) trait Front: Send + Sync + std::fmt::Debug {
    /// Answers a command: passes it on, changed or not, or knows better.
    ///
    /// # Errors
    /// [`SimError`] if the TPM is gone; the connection is cut then.
    fn carry(&self, tpm: &mut Swtpm, command: &[u8]) -> Result<Vec<u8>, SimError>;
}

/// The open ports of a running machine.
#[derive(Debug)]
pub(crate) struct Ports {
    port: u16,
    socket: Arc<Socket>,
    threads: Vec<JoinHandle<()>>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Socket {
    /// `None` once the machine is being taken down.
    tpm: Mutex<Option<Swtpm>>,
    front: Option<Arc<dyn Front>>,
    /// As [`Swtpm::power_cycle`], readable without waiting for the TPM.
    power_cycle: AtomicU64,
    counts: Mutex<BTreeMap<CommandCode, u64>>,
    faults: Mutex<Vec<Fault>>,
    clients: Mutex<HashMap<u64, TcpStream>>,
    next_client: AtomicU64,
    closing: AtomicBool,
}

impl Ports {
    /// Opens a free pair of ports in front of `tpm`, with `front` in between.
    pub(crate) fn open(tpm: Swtpm, front: Option<Arc<dyn Front>>) -> Result<Self, SimError> {
        let (data, control, port) = pair()?;
        let socket = Arc::new(Socket {
            power_cycle: AtomicU64::new(tpm.power_cycle),
            tpm: Mutex::new(Some(tpm)),
            front,
            counts: Mutex::default(),
            faults: Mutex::default(),
            clients: Mutex::default(),
            next_client: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let accept = |listener: TcpListener, serve: fn(&Socket, &mut TcpStream)| {
            let socket = Arc::clone(&socket);
            std::thread::spawn(move || accept_all(&listener, &socket, serve))
        };
        let threads = vec![accept(data, serve_commands), accept(control, serve_control)];
        Ok(Self { port, socket, threads })
    }

    /// The data port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Commands seen since the last [`Ports::forget_counts`].
    pub(crate) fn counts(&self) -> BTreeMap<CommandCode, u64> {
        lock(&self.socket.counts).clone()
    }

    pub(crate) fn forget_counts(&self) {
        lock(&self.socket.counts).clear();
    }

    pub(crate) fn inject(&self, fault: Fault) {
        lock(&self.socket.faults).push(fault);
    }

    pub(crate) fn heal(&self) {
        lock(&self.socket.faults).clear();
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        lock(&self.socket.faults).clone()
    }

    /// Uses the TPM between the commands of clients.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Swtpm) -> Result<T, SimError>) -> Result<T, SimError> {
        let mut tpm = lock(&self.socket.tpm);
        match tpm.as_mut() {
            Some(tpm) => work(tpm),
            None => Err(gone()),
        }
    }

    /// Uses the TPM while nobody is connected: every connection is cut first, and commands that arrive meanwhile wait.
    pub(crate) fn alone<T>(&self, work: impl FnOnce(&mut Swtpm) -> Result<T, SimError>) -> Result<T, SimError> {
        let mut tpm = lock(&self.socket.tpm);
        self.socket.cut();
        let Some(tpm) = tpm.as_mut() else { return Err(gone()) };
        let result = work(tpm);
        self.socket.power_cycle.store(tpm.power_cycle, Ordering::SeqCst);
        self.socket.cut(); // who connected meanwhile and sent a command believes in the earlier power cycle
        result
    }

    /// Closes the ports and all connections, and hands the TPM back.
    pub(crate) fn close(&mut self) -> Option<Swtpm> {
        self.socket.closing.store(true, Ordering::SeqCst);
        let tpm = lock(&self.socket.tpm).take();
        for port in [self.port, self.port + 1] {
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port)); // wakes the accepting thread
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.socket.cut();
        tpm
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl Socket {
    /// Cuts every connection.
    fn cut(&self) {
        for stream in lock(&self.clients).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The effect of the first fault that fits this command, counted off.
    fn fault(&self, command: CommandCode) -> Option<Effect> {
        let mut faults = lock(&self.faults);
        let at = faults.iter().position(|fault| fault.command.is_none_or(|only| only == command))?;
        let fault = faults.get_mut(at)?;
        let effect = fault.effect.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                faults.remove(at);
            }
        }
        Some(effect)
    }
}

fn accept_all(listener: &TcpListener, socket: &Arc<Socket>, serve: fn(&Socket, &mut TcpStream)) {
    loop {
        let accepted = listener.accept();
        if socket.closing.load(Ordering::SeqCst) {
            return;
        }
        let Ok((mut stream, _)) = accepted else {
            std::thread::sleep(ACCEPT_AGAIN_AFTER); // out of descriptors, most likely
            continue;
        };
        if lock(&socket.clients).len() >= CLIENTS_MAX {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let Ok(copy) = stream.try_clone() else { continue };
        let id = socket.next_client.fetch_add(1, Ordering::Relaxed);
        lock(&socket.clients).insert(id, copy);
        let socket = Arc::clone(socket);
        std::thread::spawn(move || {
            serve(&socket, &mut stream);
            let _ = stream.shutdown(Shutdown::Both);
            lock(&socket.clients).remove(&id);
        });
    }
}

/// Carries one client's commands to the TPM.
fn serve_commands(socket: &Socket, stream: &mut TcpStream) {
    while let Ok(Some(command)) = read_message(stream) {
        let power_cycle = socket.power_cycle.load(Ordering::SeqCst);
        let code = command.get(6..10).and_then(|field| field.first_chunk()).map_or(0, |code| u32::from_be_bytes(*code));
        let code = CommandCode(code);
        *lock(&socket.counts).entry(code).or_default() += 1;
        let effect = socket.fault(code);
        match effect {
            Some(Effect::Disconnect) => return,
            Some(Effect::Refuse(code)) => {
                let mut response = vec![0x80, 0x01, 0, 0, 0, 10];
                response.extend_from_slice(&code.to_be_bytes());
                if stream.write_all(&response).is_err() {
                    return;
                }
                continue;
            }
            None | Some(Effect::Drop | Effect::Delay(_)) => {}
        }
        let response = match lock(&socket.tpm).as_mut() {
            Some(tpm) if tpm.power_cycle == power_cycle => match &socket.front {
                Some(front) => front.carry(tpm, &command),
                None => tpm.exchange(&command),
            },
            Some(_) | None => return,
        };
        let Ok(response) = response else { return };
        match effect {
            Some(Effect::Drop) => continue,
            Some(Effect::Delay(time)) => std::thread::sleep(time),
            _ => {}
        }
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

/// Answers the control channel as the platform would: software may stay in locality 0, and has no hand on the power.
fn serve_control(_: &Socket, stream: &mut TcpStream) {
    let mut code = [0u8; 4];
    while stream.read_exact(&mut code).is_ok() {
        let answer = match u32::from_be_bytes(code) {
            CONTROL_SET_LOCALITY => {
                let mut locality = [0u8; 1];
                match stream.read_exact(&mut locality) {
                    Ok(()) if locality == [0] => 0,
                    _ => CONTROL_BAD_LOCALITY,
                }
            }
            _ => CONTROL_BAD_ORDINAL,
        };
        if stream.write_all(&answer.to_be_bytes()).is_err() || answer == CONTROL_BAD_ORDINAL {
            return;
        }
    }
}

/// Two neighbouring free ports, bound.
fn pair() -> Result<(TcpListener, TcpListener, u16), SimError> {
    for _ in 0..PORT_TRIES {
        let Ok(data) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) else { continue };
        let Ok(address) = data.local_addr() else { continue };
        let Some(next) = address.port().checked_add(1) else { continue };
        if let Ok(control) = TcpListener::bind((Ipv4Addr::LOCALHOST, next)) {
            return Ok((data, control, address.port()));
        }
    }
    Err(SimError::NoPorts { tries: PORT_TRIES })
}

fn gone() -> SimError {
    SimError::Swtpm { what: "a command: the machine is down", log: crate::tpm::process::LOG.into(), source: None }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
