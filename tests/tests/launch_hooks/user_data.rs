//! `holdfast-user-data` in the guest, with the real agent before devices that a socket stands in for: whatever the host
//! says, only what the processor says counts.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::Output;

use super::{Host, given, ovmf};

/// Answers frames (four bytes of length, then that many) with what `answer` makes of them. Returns `sim:` and the path.
fn serve(socket: &Path, mut answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> String {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                let answer = answer(&request);
                stream.write_all(&[&(answer.len() as u32).to_be_bytes(), answer.as_slice()].concat()).unwrap();
            }
        }
    });
    format!("sim:{}", socket.display())
}

/// configfs-tsm with this provider, whose outblob is `outblob` once the level that the guest runs at was asked for.
fn tsm(socket: &Path, provider: &'static str, floor: Option<u8>, outblob: Vec<u8>) -> String {
    let mut entries: HashMap<Vec<u8>, (u64, Option<u8>)> = HashMap::new();
    serve(socket, move |request| {
        let entry = request[2..2 + usize::from(request[1])].to_vec();
        let rest = &request[2 + entry.len()..];
        let (attribute, data) = rest[1..].split_at(rest[0].into());
        let (generation, level) = entries.entry(entry).or_default();
        let answer = match (request[0], attribute) {
            (2, b"inblob") => {
                *generation += 1;
                Ok(Vec::new())
            }
            (2, b"privlevel") => {
                *generation += 1;
                *level = Some(data[0] - b'0');
                Ok(Vec::new())
            }
            (3, b"provider") => Ok(format!("{provider}\n").into_bytes()),
            (3, b"generation") => Ok(format!("{generation}\n").into_bytes()),
            (3, b"privlevel_floor") => floor.map(|floor| format!("{floor}\n").into_bytes()).ok_or(2),
            // EINVAL: the firmware makes no report for a level above the guest's own
            (3, b"outblob") if floor.is_some_and(|floor| level.unwrap_or(0) < floor) => Err(22),
            (3, b"outblob") => Ok(outblob.clone()),
            (3, _) => Err(2_u32),
            _ => Ok(Vec::new()),
        };
        match answer {
            Ok(data) => [vec![0; 4], data].concat(),
            Err(errno) => errno.to_be_bytes().to_vec(),
        }
    })
}

/// An SNP report with this HOST_DATA.
fn snp_report(host_data: &[u8]) -> Vec<u8> {
    let mut report = vec![0; 1184];
    report[0xc0..0xe0].copy_from_slice(host_data);
    report
}

/// A TDREPORT with this MRCONFIGID.
fn td_report(mrconfigid: &[u8]) -> Vec<u8> {
    let mut report = vec![0; 1024];
    report[0] = 0x81;
    report[576..624].copy_from_slice(mrconfigid);
    report
}

/// A version 4 quote, as the host's quoting service may make one up, with this MRCONFIGID.
fn quote(mrconfigid: &[u8]) -> Vec<u8> {
    let mut quote = vec![0; 5000];
    quote[..2].copy_from_slice(&[4, 0]);
    quote[232..280].copy_from_slice(mrconfigid);
    quote
}

fn digest(algorithm: &'static ring::digest::Algorithm, text: &str) -> Vec<u8> {
    ring::digest::digest(algorithm, text.as_bytes()).as_ref().to_vec()
}

/// A guest, its devices and the seed of its host.
struct Guest {
    host: Host,
    seed: PathBuf,
    /// What cloud-init would read.
    own: PathBuf,
}

impl Guest {
    fn new(host: Host, user_data: &str) -> Self {
        let (seed, own) = (host.path("seed"), host.path("own"));
        std::fs::create_dir_all(&seed).unwrap();
        std::fs::write(seed.join("user-data"), user_data).unwrap();
        std::fs::write(seed.join("meta-data"), "public-keys: [ssh-ed25519 of the host]\n").unwrap();
        host.program("modprobe", "printf '%s\\n' \"$*\" >>\"$ASKED.modules\"");
        Self { host, seed, own }
    }

    /// The unit's program, where nothing is found but what `tsm` and `tdx` are.
    fn program(&self, tsm: &str, tdx: &str) -> Command {
        let mut program = self.host.hook("guest/holdfast-user-data");
        program.env("HOLDFAST_AGENT", self.host.programs.path("holdfast-agent"));
        program.env("HOLDFAST_AGENT_TSM_PATH", tsm).env("HOLDFAST_AGENT_TDX_GUEST", tdx);
        program.env("HOLDFAST_AGENT_SNP_DEVICE", "/nowhere/sev-guest").env("WAIT_SECONDS", "0");
        program.env("HOST_SEED", &self.seed).env("SEED", &self.own);
        program
    }

    /// Takes the seed, which must succeed; what cloud-init would read.
    fn takes(&self, program: &mut Command) -> String {
        Output::of(program).unwrap().success().unwrap();
        std::fs::read_to_string(self.own.join("user-data")).unwrap()
    }

    /// Refuses the seed and leaves nothing to cloud-init; what it says.
    fn refuses(&self, program: &mut Command) -> String {
        let output = Output::of(program).unwrap();
        assert_ne!(output.code, 0, "{output:?}");
        for left in [self.own.clone(), self.own.with_extension("unchecked")] {
            assert!(!left.exists(), "nothing is left for cloud-init");
        }
        output.stderr
    }
}

#[test]
fn a_guest_takes_only_the_user_data_that_its_launch_commits_to() {
    let Some(ovmf) = ovmf("AmdSev") else { return };
    let host = Host::new();
    std::fs::write(host.path("bundle.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    let bundle = host.path("bundle.pem").display().to_string();
    let mut hook = host.hook("cloud-init/holdfast-cloud-guest");
    hook.args(["--kind", "snp", "--server", "attest.example.org:8441", "--trust-domain", "example.org"]);
    hook.args(["--bundle", &bundle, "--label", "web-1", "--ovmf", &ovmf, "--kernel", "/dev/null", "--append", "quiet"]);
    Output::of(hook.args(["--vcpu-type", "EPYC-v4", "--", "-nographic"])).unwrap().success().unwrap();
    let user_data = std::fs::read_to_string(host.path("asked.user-data")).unwrap();
    assert!(user_data.starts_with("#cloud-config\n") && !user_data.contains('@'), "{user_data}");
    let host_data = given(&host.asked().unwrap(), "host-data=");

    let guest = Guest::new(host, &user_data);
    let device =
        |name: &str, host_data: &[u8]| tsm(&guest.host.path(name), "sev_guest", Some(0), snp_report(host_data));
    let (ours, another) = (device("ours", &host_data), device("another", &[0; 32]));
    assert_eq!(guest.takes(&mut guest.program(&ours, "/nowhere/tdx_guest")), user_data);
    let meta_data = std::fs::read_to_string(guest.own.join("meta-data")).unwrap();
    assert!(meta_data.starts_with("instance-id: ") && !meta_data.contains("ssh"), "{meta_data}");
    guest.refuses(&mut guest.program(&another, "/nowhere/tdx_guest"));
    std::fs::write(guest.seed.join("user-data"), format!("{user_data}  - [sh, -c, evil]\n")).unwrap();
    let said = guest.refuses(&mut guest.program(&ours, "/nowhere/tdx_guest"));
    assert!(said.contains("not what this guest was launched with"), "{said}");
}

/// The host answers this one request for a quote with bytes of its own, and later ones genuinely.
#[test]
fn a_forged_quote_is_not_believed() {
    let guest = Guest::new(Host::new(), "#cloud-config of the host\n");
    let forged = digest(&ring::digest::SHA384, "#cloud-config of the host\n");
    let tsm = tsm(&guest.host.path("tsm"), "tdx_guest", None, quote(&forged));
    let device = |name: &str, report: Vec<u8>| serve(&guest.host.path(name), move |_| report.clone());
    let tdx = device("tdx", td_report(&digest(&ring::digest::SHA384, "#cloud-config of ours\n")));
    let said = guest.refuses(&mut guest.program(&tsm, &tdx));
    assert!(said.contains("not what this guest was launched with"), "{said}");
    // nor where the device that says the truth is away, or the device says something that is no report of a TD
    for tdx in ["/nowhere/tdx_guest".to_owned(), device("quoting", quote(&forged))] {
        let said = guest.refuses(&mut guest.program(&tsm, &tdx));
        assert!(said.contains("does not say what this guest was launched with"), "{said}");
        assert!(said.contains("TDREPORT"), "{said}");
    }
    std::fs::write(guest.seed.join("user-data"), "#cloud-config of ours\n").unwrap();
    assert_eq!(guest.takes(&mut guest.program(&tsm, &tdx)), "#cloud-config of ours\n");
    // a kernel before Linux 6.7 has the device alone
    assert_eq!(guest.takes(&mut guest.program("/nowhere/tsm", &tdx)), "#cloud-config of ours\n");
    let said = guest.refuses(&mut guest.program("/nowhere/tsm", "/nowhere/tdx_guest"));
    assert!(said.contains("neither an SEV-SNP nor a TDX guest"), "{said}");
}

/// Under an SVSM a guest may ask for reports of its own level and those below alone.
#[test]
fn a_guest_below_an_svsm_asks_at_its_own_level() {
    let guest = Guest::new(Host::new(), "#cloud-config\n");
    let report = snp_report(&digest(&ring::digest::SHA256, "#cloud-config\n"));
    let tsm = tsm(&guest.host.path("tsm"), "sev_guest", Some(2), report);
    assert_eq!(guest.takes(&mut guest.program(&tsm, "/nowhere/tdx_guest")), "#cloud-config\n");
}

#[test]
fn drivers_and_disks_that_come_up_late_are_waited_for() {
    let guest = Guest::new(Host::new(), "#cloud-config\n");
    let socket = guest.host.path("tsm");
    let (late, report) = (socket.clone(), snp_report(&digest(&ring::digest::SHA256, "#cloud-config\n")));
    // the disk turns up behind the driver, at the fourth look
    guest.host.program("blkid", "echo >>\"$ASKED.looks\"; [ \"$(wc -l <\"$ASKED.looks\")\" -ge 4 ] && echo /dev/vdz");
    guest.host.program("mount", "[ \"$3\" = /dev/vdz ] && cp \"$HOST_DISK\"/* \"$4\"");
    guest.host.program("umount", "rm -r \"$1\"");
    let program = || {
        let mut program = guest.program(&format!("sim:{}", socket.display()), "/nowhere/tdx_guest");
        program.env_remove("HOST_SEED").env("HOST_DISK", &guest.seed).env("RUNTIME_DIRECTORY", guest.host.path(""));
        program
    };
    let said = guest.refuses(&mut program());
    assert!(said.contains("does not say what this guest was launched with"), "{said}");
    let waited = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(500));
        tsm(&late, "sev_guest", None, report)
    });
    assert_eq!(guest.takes(program().env("WAIT_SECONDS", "60")), "#cloud-config\n");
    waited.join().unwrap();
    let asked = |name: &str| std::fs::read_to_string(guest.host.path(name)).unwrap();
    assert_eq!(asked("asked.looks").lines().count(), 4);
    assert!(asked("asked.modules").contains("sev-guest") && asked("asked.modules").contains("tdx-guest"));
    // but not for ever
    guest.host.program("blkid", "exit 2");
    let said = guest.refuses(&mut program());
    assert!(said.contains("the host gave no seed"), "{said}");
}

/// Nothing orders a unit behind drivers and disks if it does not ask for it, and this one powers the guest off.
#[test]
fn the_unit_is_ordered_behind_modules_and_udev() {
    let unit = std::fs::read_to_string(super::hooks().join("guest/holdfast-user-data.service")).unwrap();
    let words = |key: &str| -> Vec<&str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)).flat_map(str::split_whitespace).collect()
    };
    for needed in ["sys-kernel-config.mount", "systemd-modules-load.service", "systemd-udev-trigger.service"] {
        assert!(words("After=").contains(&needed) && words("Wants=").contains(&needed), "{needed}");
    }
    assert!(words("Before=").contains(&"cloud-init-local.service"));
}
