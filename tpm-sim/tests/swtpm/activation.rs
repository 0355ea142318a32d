//! The house's credentials, activated by a real TPM; and its checks of a quote, on quotes that a real TPM signed.
//! tpm2-tools play the agent.

use std::path::Path;

use holdfast_evidence::tpm::event_log::EventLog;
use holdfast_evidence::tpm::{
    AkParent, Attest, AttestationKey, Bank, Credential, PcrSelection, PcrSet, Public, Signature, Statement,
    check_endorsement_key, checks, make_credential,
};
use holdfast_tpm_sim::Powered;
use ring::rand::SystemRandom;

use crate::{booted, judge};

const AK_ATTRIBUTES: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda";

/// tpm2-tools in one directory on one machine. Without a resource manager every command must make room after itself.
struct Tools<'a> {
    directory: &'a Path,
    tcti: String,
}

impl<'a> Tools<'a> {
    fn on(machine: &Powered, directory: &'a Path) -> Self {
        Self { directory, tcti: format!("swtpm:{}", machine.tcti()) }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).unwrap()
    }

    /// Runs `tpm2_<command>`; words that start with `@` name files of the directory. `None` where the tool is absent.
    fn run(&self, command: &str) -> Option<String> {
        let mut words = command.split(' ');
        let program = format!("tpm2_{}", words.next().unwrap());
        let words: Vec<String> = words
            .map(|word| match word.split_once('@') {
                Some((before, name)) => format!("{before}{}", self.path(name)),
                None => word.to_owned(),
            })
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let environment = [("TPM2TOOLS_TCTI", self.tcti.as_str())];
        let output = judge(&program, &words, &environment)?;
        judge("tpm2_flushcontext", &["--transient-object"], &environment)?;
        Some(output)
    }

    /// Makes an endorsement key, and an attestation key as our agent does; returns their public areas.
    fn keys(&self, algorithm: &str) -> Option<(Public, Public)> {
        self.run(&format!("createek -G {algorithm} -c @ek.ctx -u @ek.pub"))?;
        self.run(&format!("createprimary -C e -G ecc256:ecdsa-sha256:null -g sha256 -a {AK_ATTRIBUTES} -c @ak.ctx"))?;
        self.run("readpublic -c @ak.ctx -o @ak.pub")?;
        let read = |name| Public::parse_sized(&self.read(name)).unwrap();
        Some((read("ek.pub"), read("ak.pub")))
    }

    /// `TPM2_ActivateCredential`.
    fn activate(&self, credential: &Credential) -> Option<Vec<u8>> {
        let header = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
        let file = [&header[..], &credential.id_object, &credential.encrypted_secret].concat();
        std::fs::write(self.directory.join("credential"), file).unwrap();
        self.run("startauthsession --policy-session -S @session.ctx")?;
        self.run("policysecret -S @session.ctx -c e")?;
        self.run("activatecredential -c @ak.ctx -C @ek.ctx -i @credential -o @secret -P session:@session.ctx")?;
        self.run("flushcontext @session.ctx")?;
        Some(self.read("secret"))
    }
}

#[test]
fn a_real_tpm_activates_our_credentials_for_rsa_and_ecc_keys() {
    let (directory, machine) = booted(0, "shim-grub");
    let tools = Tools::on(&machine, directory.path());
    for (algorithm, secret) in [("rsa", [7; 32]), ("ecc", [9; 32])] {
        let Some((ek, ak)) = tools.keys(algorithm) else { return };
        check_endorsement_key(&ek).unwrap();
        let name = *AttestationKey::check(&ak).unwrap().name();
        // The x coordinate of a point or of what is shared begins with a zero byte once in 256: try some.
        for _ in 0..4 {
            let credential = make_credential(&ek, &name, &secret, &SystemRandom::new()).unwrap();
            assert_eq!(tools.activate(&credential).unwrap(), secret, "{algorithm}");
        }
    }
}

#[test]
fn a_real_quote_passes_every_check_and_the_log_explains_its_registers() {
    let (directory, machine) = booted(0, "shim-grub");
    let tools = Tools::on(&machine, directory.path());
    let Some((ek, ak)) = tools.keys("ecc") else { return };
    let Some(_) = tools.run("createak -C @ek.ctx -c @child.ctx -G rsa -g sha256 -s rsapss -u @child.pub") else {
        return;
    };
    let child = Public::parse_sized(&tools.read("child.pub")).unwrap();
    let log = std::fs::read(machine.firmware_log_path()).unwrap();
    let replay = EventLog::parse(&log).unwrap().replay(Bank::Sha256).unwrap();
    let asked = PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE };
    let nonce = [5_u8; 32];
    for (key, public, parent, other) in [
        ("ak.ctx --scheme ecdsa", &ak, AkParent::Endorsement, AkParent::Ek(&ek)),
        ("child.ctx --scheme rsapss", &child, AkParent::Ek(&ek), AkParent::Endorsement),
    ] {
        let nonce = hex::encode(nonce);
        let files = "-m @quote -s @signature -g sha256";
        tools.run(&format!("quote -c @{key} -l sha256:0,1,2,3,4,5,6,7 -q {nonce} {files}")).unwrap();
        let (quote, signature) = (tools.read("quote"), tools.read("signature"));
        let (attest, signature) = (Attest::parse(&quote).unwrap(), Signature::parse(&signature).unwrap());
        let ak = AttestationKey::check(public).unwrap();
        let statement = Statement::Quote;
        checks::magic(statement, &attest).unwrap();
        checks::kind(statement, &attest).unwrap();
        checks::scheme(statement, &ak, &signature).unwrap();
        checks::signature(statement, &ak, &attest, &signature).unwrap();
        checks::nonce(statement, &attest, &[5; 32]).unwrap();
        checks::nonce(statement, &attest, &[6; 32]).unwrap_err();
        checks::signer(statement, &attest, &ak, parent).unwrap();
        checks::signer(statement, &attest, &ak, other).unwrap_err();
        let info = checks::quote_info(&attest).unwrap();
        checks::selection(info, &asked).unwrap();
        let proven = checks::pcr_values(info, &asked, ak.hash(), Some(&replay), &[]).unwrap();
        assert_eq!(proven.replayed, PcrSet::FIRMWARE);
    }
}
