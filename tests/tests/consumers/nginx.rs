//! The real nginx: a server certificate from the helper, clients by their certificates, a rotation at a signal.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::workload::Agent;
use crate::{enter, kept, restarted, until};

/// Where the program is.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders.into_iter().map(|folder| folder.join("nginx")).find(|program| program.exists())
}

/// Who the server says that the client is, and the server's leaf; the files are the client's.
async fn asked(socket: &Path, files: &Path) -> (String, Vec<u8>) {
    let text = answer(socket, files).await;
    let leaf = pem::parse_many(&text).unwrap_or_default().first().map(|block| block.contents().to_vec());
    let said = text.rsplit("\r\n\r\n").next().unwrap_or_default().lines().next().unwrap_or_default();
    (said.to_owned(), leaf.unwrap_or_default())
}

/// The number with which the server answers.
async fn status(socket: &Path, files: &Path) -> String {
    let text = answer(socket, files).await;
    let line = text.lines().find_map(|line| line.strip_prefix("HTTP/1.1 "));
    line.and_then(|line| line.split(' ').next()).unwrap_or_default().to_owned()
}

/// Everything that a client says of one request.
async fn answer(socket: &Path, files: &Path) -> String {
    let at = |name: &str| files.join(name);
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-showcerts", "-verify_return_error", "-unix"])
        .arg(socket)
        .arg("-cert")
        .arg(at("svid.pem"))
        .arg("-cert_chain")
        .arg(at("svid.pem"))
        .arg("-key")
        .arg(at("svid_key.pem"))
        .arg("-CAfile")
        .arg(at("svid_bundle.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // Kept open: the end of its input would end the client.
    let mut to = client.stdin.take().unwrap();
    // It may have ended already: not every handshake works out.
    let _ = to.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
    let output = tokio::time::timeout(Duration::from_secs(30), client.wait_with_output()).await.unwrap().unwrap();
    drop(to);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_nginx_clients_are_known_by_their_certificates_and_a_rotation_is_served_after_a_signal() {
    let Some(program) = program() else {
        eprintln!("SKIPPED: no nginx");
        return;
    };
    let mut agent = Agent::started().await;
    let first = enter(&agent, "web", "localhost");
    enter(&agent, "app", "app.example.org");
    enter(&agent, "other", "other.example.org");
    let work = agent.work.path().join("nginx");
    std::fs::create_dir(&work).unwrap();
    let notice = format!("renew_signal = \"SIGHUP\"\npid_file_name = {:?}\n", work.join("pid"));
    let (server, _server_helper) = kept(&agent, "web", "root", &notice).await;
    let (client, _client_helper) = kept(&agent, "app", "root", "").await;
    let (other, _other_helper) = kept(&agent, "other", "root", "").await;
    let (w, s) = (work.display(), server.display());
    let configuration = format!(
        "daemon off; pid {w}/pid; error_log {w}/log;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {w}/1; proxy_temp_path {w}/2; fastcgi_temp_path {w}/3; uwsgi_temp_path {w}/4;\n\
         scgi_temp_path {w}/5;\nserver {{ listen unix:{w}/sock ssl;\n\
         ssl_certificate {s}/svid.pem; ssl_certificate_key {s}/svid_key.pem;\n\
         ssl_client_certificate {s}/svid_bundle.pem; ssl_verify_client on; ssl_verify_depth 3;\n\
         location / {{ if ($ssl_client_s_dn != \"CN=app.example.org\") {{ return 403 \"$ssl_client_s_dn\\n\"; }}\n\
         return 200 \"$ssl_client_s_dn\\n\"; }} }} }}\n"
    );
    std::fs::write(work.join("conf"), configuration).unwrap();
    let mut nginx = Command::new(program);
    nginx.arg("-p").arg(&work).arg("-c").arg(work.join("conf")).stdin(Stdio::null()).kill_on_drop(true);
    let mut nginx = nginx.spawn().unwrap();
    until("nginx", || work.join("sock").exists() && work.join("pid").exists()).await;

    assert_eq!(asked(&work.join("sock"), &client).await, ("CN=app.example.org".to_owned(), first.clone()));
    assert_eq!(status(&work.join("sock"), &client).await, "200");
    assert_eq!(status(&work.join("sock"), &other).await, "403", "a client whom nginx does not know");
    let until_shown = async |leaf: &[u8]| {
        let begun = Instant::now();
        while asked(&work.join("sock"), &client).await.1 != leaf {
            assert!(begun.elapsed() < crate::PATIENCE, "nginx shows its old certificate");
        }
    };
    let second = enter(&agent, "web", "localhost");
    until_shown(&second).await;
    let next = restarted(&mut agent).await;
    let third = enter(&next, "web", "localhost");
    enter(&next, "app", "app.example.org");
    enter(&next, "other", "other.example.org");
    next.registry.start();
    until_shown(&third).await;
    let begun = Instant::now();
    while status(&work.join("sock"), &client).await != "200" {
        assert!(begun.elapsed() < crate::PATIENCE, "nginx does not know its client any more");
    }
    // Its workers end with it when it is told to, not when it is killed.
    assert!(Command::new("kill").arg(nginx.id().unwrap().to_string()).status().await.unwrap().success());
    nginx.wait().await.unwrap();
}
