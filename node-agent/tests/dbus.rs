//! The `systemd` attestor over a real message bus. Needs `dbus-daemon`; in systemd's place stands a service that answers
//! as systemd does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use holdfast_agent::attest::{AttestFault, Attestor as _, Peer, Systemd};
use zbus::message::{Message, Type};
use zbus::{Connection, MessageStream, ObjectPath};

/// The error that systemd answers for a process of no unit.
const NO_UNIT: &str = "org.freedesktop.systemd1.NoUnitForPID";
/// The unit's object.
const UNIT: &str = "/org/freedesktop/systemd1/unit/web_2eservice";

/// A bus of its own, ended when dropped.
struct Bus {
    folder: Arc<tempfile::TempDir>,
    daemon: Child,
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

impl Bus {
    async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap())).await
    }

    async fn start_in(folder: Arc<tempfile::TempDir>) -> Self {
        Self::start_by(&["dbus-daemon"], folder).await
    }

    async fn start_by(command: &[&str], folder: Arc<tempfile::TempDir>) -> Self {
        let address = format!("--address=unix:path={}", folder.path().join("bus").display());
        let daemon = Command::new(command.first().unwrap())
            .args(command.iter().skip(1))
            .args(["--session", "--nofork", "--nopidfile", &address])
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is needed");
        let bus = Self { folder, daemon };
        while std::os::unix::net::UnixStream::connect(bus.socket()).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bus
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bus")
    }

    /// Puts a service in systemd's place, which answers each question by `answer`.
    async fn serve(&self, answer: impl Fn(&str, &Message) -> Answer + Send + 'static) -> Connection {
        let stream = std::os::unix::net::UnixStream::connect(self.socket()).unwrap();
        let connection = zbus::connection::Builder::unix_stream(stream).build().await.unwrap();
        connection.request_name("org.freedesktop.systemd1").await.unwrap();
        let (mut messages, served) = (MessageStream::from(&connection), connection.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                if message.message_type() != Type::MethodCall {
                    continue;
                }
                let header = message.header();
                let member = header.member().unwrap().as_str();
                match answer(member, &message) {
                    Answer::Unit => served.reply(&header, &ObjectPath::try_from(UNIT).unwrap()).await.unwrap(),
                    Answer::Text(text) => served.reply(&header, &zbus::Variant::from(text)).await.unwrap(),
                    Answer::Number => served.reply(&header, &zbus::Variant::from(7_u32)).await.unwrap(),
                    Answer::Error(name) => served.reply_error(&header, name, &"no").await.unwrap(),
                    Answer::Nothing => {}
                }
            }
        });
        connection
    }

    async fn attest(&self) -> Result<Vec<String>, AttestFault> {
        attest(&Systemd::at(self.socket())).await
    }
}

enum Answer {
    Unit,
    Text(&'static str),
    Number,
    Error(&'static str),
    Nothing,
}

/// What systemd says of this process.
async fn attest(systemd: &Systemd) -> Result<Vec<String>, AttestFault> {
    let (near, _far) = tokio::net::UnixStream::pair().unwrap();
    let selectors = systemd.attest(&Peer::of(&near).unwrap()).await?;
    Ok(selectors.iter().map(ToString::to_string).collect())
}

/// As systemd answers for this process in `web.service`.
fn web(member: &str, message: &Message) -> Answer {
    match member {
        "GetUnitByPID" => {
            let (pid,): (u32,) = message.body().deserialize().unwrap();
            if pid == std::process::id() { Answer::Unit } else { Answer::Error(NO_UNIT) }
        }
        "Get" => {
            assert_eq!(message.header().path().unwrap().as_str(), UNIT);
            let body = message.body();
            match body.deserialize::<(&str, &str)>().unwrap() {
                ("org.freedesktop.systemd1.Unit", "Id") => Answer::Text("web.service"),
                ("org.freedesktop.systemd1.Unit", "FragmentPath") => Answer::Text("/etc/systemd/system/web.service"),
                ("org.freedesktop.systemd1.Service", "Slice") => Answer::Text("system.slice"),
                _ => Answer::Error("org.freedesktop.DBus.Error.UnknownProperty"),
            }
        }
        _ => Answer::Error("org.freedesktop.DBus.Error.UnknownMethod"),
    }
}

#[tokio::test]
async fn a_unit_has_its_id_its_file_and_its_slice() {
    let bus = Bus::start().await;
    let _systemd = bus.serve(web).await;
    let expected = [
        "systemd:fragment_path:/etc/systemd/system/web.service",
        "systemd:id:web.service",
        "systemd:slice:system.slice",
    ];
    assert_eq!(bus.attest().await.unwrap(), expected);
}

#[tokio::test]
async fn a_process_of_no_unit_has_no_selectors() {
    let bus = Bus::start().await;
    let _systemd = bus.serve(|_, _| Answer::Error(NO_UNIT)).await;
    assert!(bus.attest().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_unit_without_file_has_one_selector_less() {
    let bus = Bus::start().await;
    let _systemd = bus
        .serve(|member, message| match web(member, message) {
            Answer::Text(path) if path.starts_with('/') => Answer::Text(""),
            answer => answer,
        })
        .await;
    assert_eq!(bus.attest().await.unwrap(), ["systemd:id:web.service", "systemd:slice:system.slice"]);
}

#[tokio::test]
async fn half_an_answer_is_a_fault() {
    let bus = Bus::start().await;
    assert_eq!(bus.attest().await.unwrap_err().code(), "attest.systemd.call", "nobody is there");
    for wrong in [Answer::Number, Answer::Error("org.freedesktop.DBus.Error.AccessDenied")] {
        let bus = Bus::start().await;
        let wrong = std::sync::Mutex::new(Some(wrong));
        let _systemd = bus
            .serve(move |member, message| match member {
                "Get" => wrong.lock().unwrap().take().unwrap_or(Answer::Nothing),
                _ => web(member, message),
            })
            .await;
        assert_eq!(bus.attest().await.unwrap_err().code(), "attest.systemd.call");
    }
}

#[tokio::test]
async fn systemd_that_counts_processes_otherwise_is_not_asked() {
    // Others than root may not make a PID namespace and be known to a bus in it.
    if std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        return;
    }
    let elsewhere = ["unshare", "--pid", "--fork", "--kill-child", "dbus-daemon"];
    let bus = Bus::start_by(&elsewhere, Arc::new(tempfile::tempdir().unwrap())).await;
    let _systemd = bus.serve(|_, _| panic!("asked about a number that means another process")).await;
    assert_eq!(bus.attest().await.unwrap_err().code(), "attest.systemd.namespace");
}

#[tokio::test]
async fn a_bus_that_accepts_nobody_holds_up_no_thread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // All that may wait to be accepted; the last one waits for a place to wait.
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::UnixStream::connect(&path)).await
    {
        waiting.push(stream);
    }
    let (told, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        told.send(runtime.block_on(attest(&Systemd::at(path))).unwrap_err().code())
    });
    let code = ended.recv_timeout(Duration::from_secs(30)).expect("the thread is held up");
    assert!(["attest.systemd.bus", "attest.systemd.timed_out"].contains(&code), "{code}");
}

#[tokio::test]
async fn systemd_that_does_not_answer_is_given_up() {
    let bus = Bus::start().await;
    let _systemd = bus.serve(|_, _| Answer::Nothing).await;
    assert_eq!(bus.attest().await.unwrap_err().code(), "attest.systemd.timed_out");
}

#[tokio::test]
async fn a_bus_that_is_away_is_a_fault_until_it_is_back() {
    let bus = Bus::start().await;
    let systemd = Systemd::at(bus.socket());
    let served = bus.serve(web).await;
    assert!(attest(&systemd).await.is_ok());
    drop(served);
    let folder = Arc::clone(&bus.folder);
    drop(bus);
    let gone = attest(&systemd).await.unwrap_err().code();
    assert!(["attest.systemd.bus", "attest.systemd.call"].contains(&gone), "{gone}");
    assert_eq!(attest(&systemd).await.unwrap_err().code(), "attest.systemd.bus");
    std::fs::remove_file(folder.path().join("bus")).unwrap();
    let bus = Bus::start_in(folder).await;
    let _served = bus.serve(web).await;
    assert!(attest(&systemd).await.is_ok());
}
