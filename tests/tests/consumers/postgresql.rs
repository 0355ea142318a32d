//! The real PostgreSQL 15: TLS on both sides, the role by the certificate's name, a rotation without a dropped session.
//!
//! Its server refuses to run as root: where the test does, it runs as `postgres`.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::workload::{self, Agent};
use crate::{enter, kept, restarted};

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// A program of PostgreSQL, as a user that it accepts.
fn postgresql(name: &str) -> Command {
    let program = Path::new(PROGRAMS).join(name);
    let mut command = if workload::uid() == 0 {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null()).kill_on_drop(true).current_dir("/tmp");
    command
}

async fn done(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn psql(socket: u16, files: &Path, role: &str) -> Command {
    let mut command = Command::new(Path::new(PROGRAMS).join("psql"));
    let at = |name: &str| files.join(name).display().to_string();
    let target = format!(
        "host=localhost hostaddr=127.0.0.1 port={socket} dbname=postgres user={role} sslmode=verify-full \
         sslrootcert={} sslcert={} sslkey={} connect_timeout=20",
        at("svid_bundle.pem"),
        at("svid.pem"),
        at("svid_key.pem"),
    );
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).arg(target);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

async fn asked(port: u16, files: &Path, role: &str, query: &str) -> Result<String, String> {
    let output = psql(port, files, role).args(["-c", query]).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_postgresql_roles_are_certificates_and_a_rotation_drops_no_session() {
    if !Path::new(PROGRAMS).join("postgres").exists() {
        eprintln!("SKIPPED: no PostgreSQL 15 in {PROGRAMS}");
        return;
    }
    let mut agent = Agent::started().await;
    enter(&agent, "db", "localhost");
    enter(&agent, "app", "app");
    enter(&agent, "other", "other");

    let work = tempfile::Builder::new().prefix("holdfast-pg").tempdir_in("/tmp").unwrap();
    let data = work.path().join("data");
    if workload::uid() == 0 {
        done(Command::new("chown").arg("postgres").arg(work.path())).await;
        std::fs::set_permissions(agent.work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    done(postgresql("initdb").args(["--no-sync", "-A", "reject", "-U", "postgres", "-D"]).arg(&data)).await;
    let notice = format!("renew_signal = \"SIGHUP\"\npid_file_name = {:?}\n", data.join("postmaster.pid"));
    let (server, _server_helper) = kept(&agent, "db", "postgres", &notice).await;
    let (client, _client_helper) = kept(&agent, "app", "root", "").await;
    let (other, _other_helper) = kept(&agent, "other", "root", "").await;

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let at = |name: &str| server.join(name).display().to_string();
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nfsync = off\nssl = on\n\
         ssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\n",
        work.path().display(),
        at("svid.pem"),
        at("svid_key.pem"),
        at("svid_bundle.pem"),
    );
    std::fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
    std::fs::write(data.join("pg_hba.conf"), "local all postgres trust\nhostssl all all 127.0.0.1/32 cert\n").unwrap();
    let log = std::fs::File::create(work.path().join("log")).unwrap();
    let _postgres = postgresql("postgres").arg("-D").arg(&data).stderr(log).spawn().unwrap();
    let local = format!("host={} port={port} dbname=postgres user=postgres", work.path().display());
    let begun = Instant::now();
    loop {
        let made = postgresql("psql").args(["-X", "-q", "-c", "create role app login", &local]).output().await.unwrap();
        if made.status.success() {
            break;
        }
        let log = || std::fs::read_to_string(work.path().join("log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    let serial = "select client_serial from pg_stat_ssl where pid = pg_backend_pid()";
    let first = asked(port, &client, "app", serial).await.unwrap();
    let refused = asked(port, &other, "app", serial).await.unwrap_err();
    assert!(refused.contains("certificate authentication failed"), "{refused}");

    let mut session = psql(port, &client, "app").spawn().unwrap();
    let (mut to, mut from) = (session.stdin.take().unwrap(), BufReader::new(session.stdout.take().unwrap()).lines());
    let mut say = async |text: &str| {
        to.write_all(text.as_bytes()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(30), from.next_line()).await.unwrap().unwrap().unwrap()
    };
    assert_eq!(say("select 'before';\n").await, "before");
    enter(&agent, "db", "localhost");
    enter(&agent, "app", "app");
    let begun = Instant::now();
    while asked(port, &client, "app", serial).await.unwrap() == first {
        assert!(begun.elapsed() < Duration::from_secs(30), "the client's new certificate is not used");
    }
    assert_eq!(say("select 'after';\n").await, "after");

    let before = asked(port, &client, "app", serial).await.unwrap();
    let next = restarted(&mut agent).await;
    for (name, dns) in [("db", "localhost"), ("app", "app"), ("other", "other")] {
        enter(&next, name, dns);
    }
    next.registry.start();
    let begun = Instant::now();
    // Until both sides have the new authority, neither knows the other.
    while !asked(port, &client, "app", serial).await.is_ok_and(|shown| shown != before) {
        assert!(begun.elapsed() < crate::PATIENCE, "nobody knows the other under the new authority");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(say("select 'still';\n").await, "still");
    assert!(asked(port, &other, "app", serial).await.is_err());
}
