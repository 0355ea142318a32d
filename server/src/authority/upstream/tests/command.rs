//! A program of the operator's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use super::*;
use crate::authority::bundle::pem;

struct Program {
    place: tempfile::TempDir,
    settings: UpstreamSettings,
}

fn program(script: &str) -> Program {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("sign");
    fs::write(&path, format!("#!/bin/sh\ncd {}\n{script}\n", place.path().display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let command = vec![path.display().to_string(), "$(touch shell)".to_owned()];
    let settings = UpstreamSettings::Command { command, timeout: Duration::from_secs(60) };
    Program { place, settings }
}

async fn ask(settings: &UpstreamSettings) -> Result<Answer, UpstreamFault> {
    settings.authority().sign(request().1).await
}

#[tokio::test]
async fn a_program_gets_the_request_and_prints_the_chain_with_its_root() {
    let program = program("cat root.pem chain.pem; cat > request.pem; echo \"$@ $(env)\" > said");
    let (root, (key, request)) = (Root::new(ca("root")), request());
    let chain = root.sign(&ca("intermediate"), &key.spki());
    fs::write(program.place.path().join("root.pem"), pem("CERTIFICATE", &root.der)).unwrap();
    fs::write(program.place.path().join("chain.pem"), pem("CERTIFICATE", &chain)).unwrap();
    let csr = pem("CERTIFICATE REQUEST", &request.csr);
    let minted = mint(program.settings.authority().as_ref(), request, &key.spki(), &[]).await.unwrap();
    assert_eq!((minted.chain, minted.roots), (vec![chain], vec![root.der]));
    assert_eq!(fs::read_to_string(program.place.path().join("request.pem")).unwrap(), csr);
    let said = fs::read_to_string(program.place.path().join("said")).unwrap();
    assert!(said.starts_with("$(touch shell)"), "{said}");
    assert!(said.contains("HOLDFAST_TRUST_DOMAIN=example.org") && said.contains("HOLDFAST_TTL_SECONDS=600"), "{said}");
    assert!(!said.contains("CARGO"), "nothing of this process's environment: {said}");
    assert!(!program.place.path().join("shell").exists());
}

#[tokio::test]
async fn a_program_that_says_no_is_quoted_without_control_characters() {
    let program = program("printf 'no \\033[31mquota' >&2; head -c 200000 /dev/zero >&2; exit 3");
    let fault = ask(&program.settings).await.unwrap_err();
    assert_eq!(fault.code(), "authority.upstream.refused");
    assert!(fault.to_string().contains("no \\u{1b}[31mquota"), "{fault}");
}

#[tokio::test]
async fn a_program_that_prints_no_certificates_or_too_much_is_refused() {
    for script in ["true", "echo hello", "head -c 300000 /dev/zero", "echo '-----BEGIN CERTIFICATE-----'; echo '!!'"] {
        let fault = ask(&program(script).settings).await.unwrap_err();
        assert_eq!(fault.code(), "authority.upstream.answer", "{script}: {fault}");
    }
    let missing =
        UpstreamSettings::Command { command: vec!["/nonexistent".to_owned()], timeout: Duration::from_secs(1) };
    assert_eq!(ask(&missing).await.unwrap_err().code(), "authority.upstream.not_run");
}

#[tokio::test]
async fn a_program_that_does_not_end_is_ended_with_everything_that_it_started() {
    let started = Instant::now();
    let mut program = program("sleep 300 & echo $! > child; wait");
    if let UpstreamSettings::Command { timeout, .. } = &mut program.settings {
        *timeout = Duration::from_secs(2);
    }
    let fault = ask(&program.settings).await.unwrap_err();
    assert_eq!(fault.code(), "authority.upstream.timeout");
    assert!(started.elapsed() < Duration::from_secs(200));
    let child = fs::read_to_string(program.place.path().join("child")).unwrap();
    let status = format!("/proc/{}/stat", child.trim());
    // Its end is not awaited by anybody: it may stand there as a zombie where no init reaps it.
    let is_gone = || fs::read_to_string(&status).map_or(true, |stat| stat.contains(") Z "));
    while !is_gone() {
        assert!(started.elapsed() < Duration::from_secs(200), "the child lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
