//! The hooks of `deploy/launch-hooks`, run as an operator runs them: against a real server, with programs on PATH that
//! stand in for QEMU, virsh and cloud-localds and write down what they were asked. Needs `cargo build --workspace --bins`
//! first; reads `shared/vectors`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a panic is how they fail"
)]

#[path = "launch_hooks/user_data.rs"]
mod user_data;
#[path = "../../crates/evidence/tests/vectors/mod.rs"]
mod vectors;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_evidence::{SnpLaunch, TdxLaunch};
use holdfast_tests::{Output, Programs, Server, WorkDir};

/// A server, and a folder with the programs that stand in.
struct Host {
    work: WorkDir,
    programs: Programs,
    server: Server,
}

fn hooks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/launch-hooks")
}

/// Firmware whose metadata has a page for the kernel's hashes.
fn ovmf(name: &str) -> Option<String> {
    let path = vectors::folder()?.join("cvm/snp-measure").join(format!("ovmf_{name}_suffix.bin"));
    Some(path.canonicalize().unwrap().display().to_string())
}

impl Host {
    fn new() -> Self {
        let programs = Programs::beside_this_one().unwrap();
        let work = WorkDir::new().unwrap();
        let server = Server::init(&programs, &work, "hooks.test").unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        let host = Self { work, programs, server };
        host.program(
            "qemu-system-x86_64",
            "printf '%s\\n' \"$@\" >\"$ASKED\"\n$HOLDFAST_SERVER launch list --output json >\"$ASKED.launches\"",
        );
        host.program("cloud-localds", "cp \"$2\" \"$ASKED.user-data\"; : >\"$1\"");
        host.program("virsh", "case $1 in dumpxml) cat \"$DOMAIN\" ;; create) cat >\"$ASKED.xml\" ;; esac");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    fn program(&self, name: &str, body: &str) {
        let folder = self.path("bin");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/usr/bin/env bash\nset -eu\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A hook with its environment; nothing of the machine's own configuration is read.
    fn hook(&self, name: &str) -> Command {
        let mut command = Command::new(hooks().join(name));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        let server = self.programs.path("holdfast-server").display().to_string();
        let config = self.server.folder().join("server.toml").display().to_string();
        command.env("PATH", path);
        command.env("HOLDFAST_LAUNCH_CONF", "/nonexistent");
        command.env("HOLDFAST_SERVER", format!("{server} --config {config}"));
        command.env("HOLDFAST_POLICY", self.programs.path("holdfast-policy"));
        command.env("HOLDFAST_LAUNCHES", self.path("launches"));
        command.env("ASKED", self.path("asked"));
        command.env("DOMAIN", self.path("domain.xml"));
        command.stdin(Stdio::null());
        command
    }

    /// What QEMU was asked, one word each; `None` if it was not started.
    fn asked(&self) -> Option<Vec<String>> {
        let asked = std::fs::read_to_string(self.path("asked")).ok()?;
        Some(asked.lines().map(str::to_owned).collect())
    }

    fn launches(&self) -> Vec<(String, String)> {
        let listed = self.server.json(&["launch", "list"]).unwrap();
        let text = |launch: &serde_json::Value, key: &str| launch[key].as_str().unwrap().to_owned();
        listed["launches"].as_array().unwrap().iter().map(|l| (text(l, "launch"), text(l, "label"))).collect()
    }

    /// The launch digest that the offline tool computes.
    fn measurement(&self, flags: &[&str]) -> [u8; 48] {
        let output = Output::of(self.programs.command("holdfast-policy").args(["measure", "snp"]).args(flags)).unwrap();
        let output = output.success().unwrap().stdout;
        let line = output.lines().find_map(|line| line.strip_prefix("snp.measurement = ")).unwrap();
        hex::decode(line).unwrap().try_into().unwrap()
    }
}

/// The value of `key=` in QEMU's words, from base64.
fn given(words: &[String], key: &str) -> Vec<u8> {
    let words = words.join(" ");
    let value = words.split(key).nth(1).unwrap_or_else(|| panic!("no {key} in {words}"));
    let end = value.find([',', '"', ' ', '<']).unwrap_or(value.len());
    unbase64(&value[..end])
}

fn unbase64(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} in base64"),
    };
    let mut bytes = Vec::new();
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = four.iter().fold(0_u32, |bits, c| bits << 6 | u32::from(value(*c))) << (6 * (4 - four.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    bytes
}

fn domain(uuid: &str, host_data: &str) -> String {
    let ovmf = ovmf("AmdSev").unwrap();
    format!(
        "<domain type='kvm' id='3'>\n  <name>web</name>\n  <uuid>{uuid}</uuid>\n  <vcpu placement='static' current='2'>4</vcpu>\n  \
         <os>\n    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>\n    <loader type='rom'>{ovmf}</loader>\n    \
         <kernel>/dev/null</kernel>\n    <cmdline>root=&quot;a&amp;b&quot; quiet</cmdline>\n  </os>\n  \
         <cpu mode='custom' match='exact'>\n    <model fallback='forbid'>EPYC-v4</model>\n  </cpu>\n  \
         <launchSecurity type='sev-snp' kernelHashes='yes'>\n    <policy>0x00030000</policy>\n{host_data}  </launchSecurity>\n\
         </domain>\n"
    )
}

fn run_with_input(mut command: Command, input: &str) -> Output {
    use std::io::Write as _;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_guest_is_announced_before_qemu_runs_and_no_longer_than_it_runs() {
    let Some(ovmf) = ovmf("AmdSev") else { return };
    let host = Host::new();
    let image = ["--ovmf", &ovmf, "--kernel", "/dev/null", "--append", "console=ttyS0 x='a b'", "--vcpus", "2"];
    let image = [&image[..], &["--vcpu-type", "EPYC-v4"]].concat();
    let mut uniques = Vec::new();
    for _ in 0..2 {
        let mut hook = host.hook("qemu/holdfast-qemu");
        let output =
            Output::of(hook.args(["--kind", "snp", "--label", "web-1"]).args(&image).args(["--", "-nographic"]));
        output.unwrap().success().unwrap();
        let words = host.asked().unwrap();
        assert!(
            words.contains(&"console=ttyS0 x='a b'".to_owned()) && words.last().unwrap() == "-nographic",
            "{words:?}"
        );
        let host_data: [u8; 32] = given(&words, "host-data=").try_into().unwrap();
        let launch = SnpLaunch { measurement: host.measurement(&image), host_data, id_key_digest: [0; 48] };
        let while_it_ran = std::fs::read_to_string(host.path("asked.launches")).unwrap();
        assert!(while_it_ran.contains(&hex::encode(launch.digest())), "{while_it_ran}");
        assert_eq!(host.launches(), [], "the guest has ended");
        uniques.push(host_data);
    }
    assert_ne!(uniques[0], uniques[1], "each launch is a guest of its own");
}

#[test]
fn a_td_is_announced_by_its_configuration_id() {
    if !Path::new("/usr/share/ovmf/OVMF.fd").exists() {
        println!("skipped: Debian's package ovmf is not installed");
        return;
    }
    let host = Host::new();
    let mut hook = host.hook("qemu/holdfast-qemu");
    hook.args(["--kind", "tdx", "--label", "td", "--ovmf", "/usr/share/ovmf/OVMF.fd", "--"]);
    let said = Output::of(&mut hook).unwrap().success().unwrap().stderr;
    let mrtd = said.split("measures to ").nth(1).unwrap().trim();
    let words = host.asked().unwrap();
    let launch = TdxLaunch {
        mrtd: hex::decode(mrtd).unwrap().try_into().unwrap(),
        mrconfigid: given(&words, "\"mrconfigid\":\"").try_into().unwrap(),
        mrowner: [0; 48],
        mrownerconfig: [0; 48],
    };
    let while_it_ran = std::fs::read_to_string(host.path("asked.launches")).unwrap();
    assert!(while_it_ran.contains(&hex::encode(launch.digest())), "{while_it_ran}");
}

#[test]
fn a_guest_that_cannot_be_announced_is_not_started() {
    let (Some(with_hashes), Some(without)) = (ovmf("AmdSev"), ovmf("OvmfX64")) else { return };
    let host = Host::new();
    let run = |hook: &mut Command, ovmf: &str, more: &[&str]| {
        hook.args([
            "--kind",
            "snp",
            "--label",
            "web-1",
            "--ovmf",
            ovmf,
            "--kernel",
            "/dev/null",
            "--vcpu-type",
            "EPYC-v4",
        ]);
        let output = Output::of(hook.args(more)).unwrap();
        assert_ne!(output.code, 0, "{output:?}");
        assert_eq!(host.asked(), None, "QEMU was started");
        output.stderr
    };
    let said = run(&mut host.hook("qemu/holdfast-qemu"), &without, &[]);
    assert!(said.contains("would not be measured") && said.contains("cannot be measured"), "{said}");
    let said = run(host.hook("qemu/holdfast-qemu").env("HOLDFAST_SERVER", "false"), &with_hashes, &[]);
    assert!(said.contains("not registered"), "{said}");
    let said = run(&mut host.hook("qemu/holdfast-qemu"), &with_hashes, &["--unique", &"00".repeat(32)]);
    assert!(said.contains("HOST_DATA is zero"), "{said}");
    assert_eq!(host.launches(), []);
    // announced already: somebody else has this value
    let measurement =
        host.measurement(&["--ovmf", &with_hashes, "--kernel", "/dev/null", "--vcpus", "1", "--vcpu-type", "EPYC-v4"]);
    let unique = "77".repeat(32);
    let flags = ["launch", "register", "--kind", "snp", "--label", "other", "--host-data", &unique, "--measurement"];
    host.server.operator(&[&flags[..], &[&hex::encode(measurement)]].concat()).unwrap();
    let said = run(&mut host.hook("qemu/holdfast-qemu"), &with_hashes, &["--unique", &unique]);
    assert!(said.contains("announced already"), "{said}");
}

#[test]
fn libvirt_starts_only_guests_that_are_announced_and_their_own() {
    let Some(ovmf) = ovmf("AmdSev") else { return };
    let host = Host::new();
    let hook = |operation: &str, domain: &str| {
        let mut hook = host.hook("libvirt/holdfast-hook");
        hook.args(["web", operation, "begin", "-"]);
        run_with_input(hook, domain)
    };
    let uuid = "0a7e0a2f-58ee-4d3c-9a3c-2f3b2a1d0c11";
    let none = domain(uuid, "");
    let said = hook("prepare", &none);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("holdfast-start"), "{}", said.stderr);
    // what holdfast-start hands to libvirt, twice
    let mut guests = Vec::new();
    std::fs::write(host.path("domain.xml"), domain(uuid, "    <hostData>b2xk</hostData>\n")).unwrap();
    for _ in 0..2 {
        Output::of(host.hook("libvirt/holdfast-start").arg("web")).unwrap().success().unwrap();
        guests.push(std::fs::read_to_string(host.path("asked.xml")).unwrap());
    }
    assert!(!guests[0].contains("b2xk") && guests[0] != guests[1], "{guests:?}");
    let host_data: [u8; 32] = given(&guests[..1], "<hostData>").try_into().unwrap();
    // a kernel that QEMU boots without its hashes is not in the measurement
    for hashes in ["", " kernelHashes='no'"] {
        let said = hook("prepare", &guests[0].replace(" kernelHashes='yes'", hashes));
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.stderr.contains("/dev/null unmeasured: set kernelHashes='yes'"), "{}", said.stderr);
        assert_eq!(host.launches(), []);
    }
    hook("prepare", &guests[0]).success().unwrap();
    let line = "root=\"a&b\" quiet";
    let flags = ["--ovmf", &ovmf, "--kernel", "/dev/null", "--append", line, "--vcpus", "2", "--vcpu-type", "EPYC-v4"];
    let launch = SnpLaunch { measurement: host.measurement(&flags), host_data, id_key_digest: [0; 48] };
    assert_eq!(host.launches(), [(hex::encode(launch.digest()), "web".to_owned())]);
    // a second guest with the value of the first
    let copy = guests[0].replace(uuid, "11111111-58ee-4d3c-9a3c-2f3b2a1d0c11");
    let said = hook("prepare", &copy);
    assert_ne!(said.code, 0, "{said:?}");
    hook("started", &guests[0]).success().unwrap();
    assert_eq!(host.launches().len(), 1);
    hook("release", &guests[0]).success().unwrap();
    assert_eq!(host.launches(), []);
    let plain = "<domain type='kvm'>\n  <name>db</name>\n</domain>\n";
    hook("prepare", plain).success().unwrap();
    assert_eq!(host.launches(), [], "a guest without launch security is nobody's concern");
}

#[test]
fn the_scripts_and_units_are_without_findings() {
    let files = [
        "launch.sh",
        "qemu/holdfast-qemu",
        "libvirt/holdfast-hook",
        "libvirt/holdfast-start",
        "cloud-init/holdfast-cloud-guest",
        "guest/holdfast-user-data",
    ];
    match Command::new("shellcheck").arg("-x").args(files).current_dir(hooks()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => println!("skipped: shellcheck is not installed"),
    }
    let units = ["guest/holdfast-attest.service", "guest/holdfast-attested.target", "guest/holdfast-user-data.service"];
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).current_dir(hooks()).output() {
        Ok(output) => {
            // the programs are where packages put them, not here
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let findings: Vec<&str> = said
                .lines()
                .filter(|line| line.contains("holdfast-") && !line.contains("is not executable: No such file"))
                .collect();
            assert!(findings.is_empty(), "{findings:?}");
        }
        Err(_) => println!("skipped: systemd-analyze is not installed"),
    }
}
