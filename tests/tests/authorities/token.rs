//! A root key in a token of SoftHSM: imported, and never in a file that the server reads.

use std::path::Path;
use std::process::{Command, Output};

use holdfast_tests::{Programs, WorkDir};

use crate::openssl::{openssl, root};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

struct Token {
    work: WorkDir,
    programs: Programs,
}

impl Token {
    fn new() -> Self {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let tokens = work.sub("tokens").unwrap();
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(work.path().join("softhsm2.conf"), text).unwrap();
        let token = Self { work, programs };
        token.softhsm(&["--init-token", "--free", "--label", "trust-domain", "--pin", "1234", "--so-pin", "5678"]);
        let (_, key) = root(token.work.path(), "root", &["basicConstraints=critical,CA:TRUE,pathlen:1"]);
        let path = key.display().to_string();
        let words = ["--import", &path, "--token", "trust-domain", "--label", "root", "--id", "01", "--pin", "1234"];
        token.softhsm(&words);
        std::fs::remove_file(key).unwrap();
        token
    }

    fn softhsm(&self, words: &[&str]) {
        let output = self.with_token(Command::new("softhsm2-util").args(words)).expect("softhsm2 is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn with_token(&self, command: &mut Command) -> std::io::Result<Output> {
        command.env("SOFTHSM2_CONF", self.work.path().join("softhsm2.conf")).output()
    }

    /// What `init` says with this PIN and this label of a key.
    fn init(&self, pin: &str, key: &str) -> Output {
        let place = self.work.path();
        let pin_file = place.join("pin");
        std::fs::write(&pin_file, format!("{pin}\n")).unwrap();
        std::fs::set_permissions(&pin_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let config = place.join("server.toml");
        let text = format!(
            "trust_domain = \"token.test\"\ndata_dir = \"{0}/state\"\n[upstream_authority]\ntype = \"pkcs11\"\n\
             module = \"{MODULE}\"\ntoken = \"trust-domain\"\nkey = \"{key}\"\npin_file = \"{0}/pin\"\n\
             cert_file = \"{0}/root.pem\"\n",
            place.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = self.programs.command("holdfast-server");
        self.with_token(command.args(["init", "--config"]).arg(&config)).unwrap()
    }
}

#[test]
fn an_intermediate_is_signed_by_a_key_that_never_leaves_its_token() {
    let token = Token::new();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let wrong = token.init("0000", "root");
    assert!(wrong.status.code() == Some(2) && said(&wrong).contains("cannot log in"), "{}", said(&wrong));
    let missing = token.init("1234", "another");
    assert!(said(&missing).contains("0 private keys"), "{}", said(&missing));
    assert!(!Path::new(&token.work.path().join("state/authority/intermediate.pem")).exists());
    let done = token.init("1234", "root");
    assert!(done.status.success(), "{}", said(&done));
    openssl(token.work.path(), &["verify", "-CAfile", "root.pem", "state/authority/intermediate.pem"]);
}
