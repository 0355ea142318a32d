//! A small HTTP service on loopback, for what vendors and providers serve over HTTP: one request a connection, and faults
//! on demand. Knows nothing of what it serves.

mod fault;

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::SimError;

pub use fault::{ServiceEffect, ServiceFault};

use fault::Faults;

/// Bytes of a request's body that are read.
const BODY_MAX: u64 = 1 << 20;
/// Bytes of a line of a request.
const LINE_MAX: u64 = 16 << 10;
/// How long a client may take to ask.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a body that never ends, before it does.
const ENDLESS: usize = 64 << 20;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// What answers.
pub type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// A running service; dropping it ends it.
pub struct Service {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Handler,
    faults: Mutex<Faults>,
    asked: Mutex<Vec<String>>,
    control: Option<Control>,
    closing: AtomicBool,
}

/// Files by which a service in another process is told what goes wrong, and says what it was asked.
struct Control {
    faults: PathBuf,
    asked: PathBuf,
    known: Mutex<String>,
}

/// The file in a lab's directory that says what goes wrong: one fault a line.
#[must_use]
pub fn faults_file(lab: &Path) -> PathBuf {
    lab.join("service-faults")
}

/// The file in a lab's directory with what the service was asked: one request a line.
#[must_use]
pub fn asked_file(lab: &Path) -> PathBuf {
    lab.join("service-requests")
}

impl Request {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A field of the query, as it stands there.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A header; its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Answer {
    /// A status and nothing more.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// These bytes.
    #[must_use]
    pub fn body(kind: &str, body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("Content-Type", kind.to_owned())], body }
    }

    /// This document.
    #[must_use]
    pub fn json(document: &serde_json::Value) -> Self {
        Self::body("application/json", document.to_string().into_bytes())
    }

    /// The same with a header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Service {
    /// Starts on a free port of loopback.
    ///
    /// # Errors
    /// [`SimError::File`] if there is none.
    pub fn start(handler: Handler) -> Result<Self, SimError> {
        Self::start_with(0, handler, None)
    }

    /// Starts on this port of loopback (0 for one that is free), controlled by the files in the directory of `lab`: see
    /// [`faults_file`] and [`asked_file`].
    ///
    /// # Errors
    /// [`SimError::Guest`] if it is taken.
    pub fn start_in(lab: &Path, port: u16, handler: Handler) -> Result<Self, SimError> {
        let control = Control { faults: faults_file(lab), asked: asked_file(lab), known: Mutex::default() };
        Self::start_with(port, handler, Some(control))
    }

    fn start_with(port: u16, handler: Handler, control: Option<Control>) -> Result<Self, SimError> {
        let failed = |error: std::io::Error| SimError::Guest { what: "service", problem: error.to_string() };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let shared = Arc::new(Shared {
            handler,
            faults: Mutex::default(),
            asked: Mutex::default(),
            control,
            closing: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.closing.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || {
                        if let Err(error) = shared.serve(stream) {
                            tracing::debug!(%error, "request ended");
                        }
                    });
                }
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// From now on these go wrong, and no others.
    pub fn faults(&self, faults: Vec<ServiceFault>) {
        *lock(&self.shared.faults) = Faults::new(faults);
    }

    /// What was asked so far: method and target.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.shared.asked).clone()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // wakes the accepting thread
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(ASK_WITHIN))?;
        let Some(request) = read(&stream)? else { return Ok(()) };
        let asked = format!("{} {}", request.method, request.target);
        if let Some(control) = &self.control {
            control.note(&asked)?;
            if let Some(faults) = control.told() {
                *lock(&self.faults) = Faults::new(faults);
            }
        }
        lock(&self.asked).push(asked);
        let effect = lock(&self.faults).effect(&request.target);
        if let Some(ServiceEffect::Delay(time)) = effect {
            std::thread::sleep(time);
        }
        let mut answer = match effect {
            Some(ServiceEffect::Disconnect) => return Ok(()),
            Some(ServiceEffect::Error(status)) => Answer::status(status),
            Some(ServiceEffect::Limit(time)) => {
                Answer::status(429).with("Retry-After", time.as_secs().max(1).to_string())
            }
            Some(ServiceEffect::Garbage) => Answer::body("text/html", b"<html>down for maintenance</html>".to_vec()),
            Some(ServiceEffect::Redirect) => {
                Answer::status(302).with("Location", "http://127.0.0.1:1/elsewhere".to_owned())
            }
            Some(ServiceEffect::Endless) => Answer::body("application/octet-stream", vec![b'0'; ENDLESS]),
            Some(ServiceEffect::Delay(_) | ServiceEffect::Lie | ServiceEffect::Stall) | None => {
                (self.handler)(&request)
            }
        };
        if effect == Some(ServiceEffect::Lie) {
            let middle = answer.body.len() / 2;
            if let Some(byte) = answer.body.get_mut(middle) {
                *byte ^= 1;
            }
        }
        let mut head = format!("HTTP/1.1 {} {}\r\nConnection: close\r\n", answer.status, reason(answer.status));
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
        answer.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if effect == Some(ServiceEffect::Stall) {
            stream.write_all(answer.body.get(..answer.body.len() / 2).unwrap_or_default())?;
            std::thread::sleep(ASK_WITHIN);
            return Ok(());
        }
        stream.write_all(&answer.body)
    }
}

impl Control {
    fn note(&self, asked: &str) -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.asked)?;
        writeln!(file, "{asked}")
    }

    /// Faults, if the file has others than before.
    fn told(&self) -> Option<Vec<ServiceFault>> {
        let text = std::fs::read_to_string(&self.faults).unwrap_or_default();
        let mut known = lock(&self.known);
        if *known == text {
            return None;
        }
        known.clone_from(&text);
        Some(text.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }
}

/// Reads a request; `None` where nobody asks anything.
fn read(stream: &TcpStream) -> std::io::Result<Option<Request>> {
    let mut reader = BufReader::new(stream);
    let mut line = || -> std::io::Result<String> {
        let mut line = String::new();
        (&mut reader).take(LINE_MAX).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request { method: method.to_owned(), target: target.to_owned(), ..Request::default() };
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        request.headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(BODY_MAX.min(length)).read_to_end(&mut request.body)?;
    Ok(Some(request))
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        404 => "Not Found",
        429 => "Too Many Requests",
        _ => "Error",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service::start(Arc::new(|request: &Request| {
            Answer::body("text/plain", format!("{} {:?}", request.path(), request.query("a")).into_bytes())
        }))
        .unwrap()
    }

    fn ask(service: &Service, target: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", service.port)).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn requests_are_answered_and_remembered() {
        let service = service();
        assert!(ask(&service, "/x?a=1").ends_with("/x Some(\"1\")"));
        assert_eq!(service.asked(), ["GET /x?a=1"]);
    }

    #[test]
    fn faults_befall_their_paths_as_often_as_they_are_told_to() {
        let service = service();
        service.faults(vec!["error:503@/a*1".parse().unwrap(), "limit:60s@/b".parse().unwrap()]);
        assert!(ask(&service, "/a").starts_with("HTTP/1.1 503"));
        assert!(ask(&service, "/a").starts_with("HTTP/1.1 200"));
        assert!(ask(&service, "/b").starts_with("HTTP/1.1 200"));
        let limited = ask(&service, "/b");
        assert!(limited.starts_with("HTTP/1.1 429") && limited.contains("Retry-After: 60"), "{limited}");
        service.faults(vec!["disconnect".parse().unwrap()]);
        assert_eq!(ask(&service, "/c"), "");
        service.faults(vec!["lie".parse().unwrap()]);
        assert!(!ask(&service, "/x").ends_with("/x None"));
    }
}
