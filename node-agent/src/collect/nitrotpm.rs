//! Evidence of kind `nitrotpm`: the attestation document of an EC2 instance's NitroTPM, by its vendor command or by
//! AWS's `nitro-tpm-attest` where an operator says so. Never run on hardware by us.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::nitro::DOCUMENT_BYTES_MAX;
use holdfast_evidence::nitrotpm::NitroTpmItem;
use tokio::process::Command;

use super::{CollectFault, Collector, Extras, Part, Prepared, Signed, blocking, nsm};
use crate::tpm::Access;
use crate::vtpm::Vtpm;

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Gathers it.
#[derive(Clone)]
pub(super) struct NitroTpmCollector {
    access: Access,
    program: Option<PathBuf>,
}

impl NitroTpmCollector {
    pub(super) const fn new(access: Access, program: Option<PathBuf>) -> Self {
        Self { access, program }
    }
}

impl Collector for NitroTpmCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::NitroTpm
    }

    fn prepare<'a>(&'a self, _: &'a [u8], _: Extras) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Prepared>) })
    }
}

impl Prepared for NitroTpmCollector {
    fn part(&self) -> Part {
        Part::default()
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if let Some(program) = &self.program {
                let document = run(program, &signed).await?;
                return Ok(NitroTpmItem { document: &document }.encode());
            }
            blocking(move || {
                let request = nsm::attestation_request(&signed.binding, &signed.nonce);
                let answer = Vtpm::open(&self.access)?.nsm(&request)?;
                Ok(NitroTpmItem { document: &nsm::document(&answer)? }.encode())
            })
            .await
        })
    }
}

/// Runs AWS's program, which takes both fields from files and writes the document to standard output.
async fn run(program: &PathBuf, signed: &Signed) -> Result<Vec<u8>, CollectFault> {
    let fault = |reason: String| CollectFault::Program { program: program.display().to_string(), reason };
    let system = |error: std::io::Error| fault(error.to_string());
    // An anonymous file has a name for whoever holds it: nothing is left behind, and nobody else gets in between.
    let field = |bytes: &[u8]| {
        let name = rustix::fs::memfd_create("holdfast", rustix::fs::MemfdFlags::empty())?;
        let mut file = std::fs::File::from(name);
        file.write_all(bytes)?;
        Ok::<_, std::io::Error>(file)
    };
    let (user_data, nonce) = (field(&signed.binding).map_err(system)?, field(&signed.nonce).map_err(system)?);
    let path = |file: &std::fs::File| format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
    let running = Command::new(program)
        .args(["--user-data", &path(&user_data), "--nonce", &path(&nonce)])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(PATIENCE, running).await {
        Ok(output) => output.map_err(system)?,
        Err(_) => return Err(fault(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200);
        return Err(fault(format!("{}: {}", output.status, said.collect::<String>())));
    }
    if output.stdout.is_empty() || output.stdout.len() > DOCUMENT_BYTES_MAX {
        return Err(fault(format!("answered with {} bytes", output.stdout.len())));
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    async fn document(script: &str) -> Result<Vec<u8>, CollectFault> {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("nitro-tpm-attest");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        run(&program, &Signed { binding: [b'b'; 32], nonce: [b'n'; 32] }).await
    }

    #[tokio::test]
    async fn awss_program_is_given_both_fields_as_files() {
        let made = document(r#"[ "$1 $3" = "--user-data --nonce" ] && cat "$2" "$4""#).await.unwrap();
        assert_eq!(made, [[b'b'; 32], [b'n'; 32]].concat());
    }

    #[tokio::test]
    async fn a_program_that_fails_is_a_fault_with_its_words() {
        let fault = document("echo 'TPM error response' >&2; exit 3").await.unwrap_err();
        assert_eq!(fault.code(), "agent.collect.program");
        assert!(fault.to_string().contains("TPM error response"), "{fault}");
        assert_eq!(document("true").await.unwrap_err().code(), "agent.collect.program");
        let fault = run(&"/no/such".into(), &Signed { binding: [0; 32], nonce: [0; 32] }).await.unwrap_err();
        assert_eq!(fault.code(), "agent.collect.program");
    }
}
