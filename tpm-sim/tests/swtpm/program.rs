//! The program, as CI and demonstrations use it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_holdfast-tpm-sim");

/// A `run` that is up; stopped when dropped.
struct Running {
    child: Child,
    ready: Value,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--output", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    fn machine(&self, index: usize) -> &Value {
        &self.ready["machines"][index]
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// The swtpm processes of this run.
    fn swtpms(&self) -> Vec<PathBuf> {
        let parent = format!("PPid:\t{}", self.child.id());
        let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        processes
            .filter(|path| std::fs::read_to_string(path.join("status")).is_ok_and(|text| text.contains(&parent)))
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).args(["--output", "json"]).output().unwrap()
}

fn told(arguments: &[&str]) -> Value {
    let output = tell(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Waits until the condition holds.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn one_line_gives_machines_and_a_signal_takes_them_away_without_a_trace() {
    for signal in ["-INT", "-TERM", "-HUP"] {
        let mut run = Running::start(&["--machines", "2"]);
        let directory = PathBuf::from(text(&run.ready["directory"]));
        let swtpms = run.swtpms();
        assert_eq!(swtpms.len(), 2);
        assert!(Path::new(text(&run.machine(1)["firmware_log"])).is_file());
        assert!(std::fs::read_to_string(text(&run.ready["vendor_root"])).unwrap().contains("BEGIN CERTIFICATE"));
        assert_eq!(run.signal(signal), Some(0));
        assert!(!directory.exists());
        assert!(swtpms.iter().all(|process| !process.exists()));
    }
}

#[test]
fn even_a_killed_run_leaves_no_process() {
    let lab = tempfile::tempdir().unwrap();
    let mut run = Running::start(&["--dir", lab.path().to_str().unwrap()]);
    let swtpms = run.swtpms();
    assert_eq!(swtpms.len(), 1);
    run.signal("-KILL");
    eventually("swtpm ends", || swtpms.iter().all(|process| !process.exists()));
    let again = Running::start(&["--dir", lab.path().to_str().unwrap()]);
    assert_eq!(again.machine(0)["endorsements"], run.machine(0)["endorsements"]);
}

#[test]
fn a_kept_directory_keeps_the_machines_and_their_counters() {
    let lab = tempfile::tempdir().unwrap();
    let start = |more: &[&str]| Running::start(&[&["--dir", lab.path().to_str().unwrap()], more].concat());
    let count = |run: &Running| run.machine(0)["running"]["reset_count"].as_u64().unwrap();
    let mut first = start(&[]);
    first.signal("-TERM");
    let mut second = start(&[]);
    assert_eq!(second.machine(0)["endorsements"], first.machine(0)["endorsements"]);
    assert_eq!(count(&second), count(&first) + 1);
    second.signal("-TERM");
    let fresh = start(&["--fresh"]);
    assert_eq!(count(&fresh), count(&first));
}

#[test]
fn a_running_machine_is_told_from_another_shell() {
    // Deep enough that a socket's path would not fit into an address.
    let lab = tempfile::tempdir().unwrap();
    let deep = lab.path().join("d".repeat(60)).join("e".repeat(60));
    std::fs::create_dir_all(&deep).unwrap();
    let run = Running::start(&["--dir", deep.to_str().unwrap()]);
    let machine = text(&run.machine(0)["directory"]);
    let state = |value: &Value, key: &str| value["running"][key].clone();

    let before = told(&["status", "--machine", machine]);
    let after = told(&["reboot", "--machine", machine, "--profile", "changed-kernel"]);
    assert_eq!(state(&after, "profile"), "changed-kernel");
    assert_eq!(state(&after, "reset_count"), state(&before, "reset_count").as_u64().unwrap() + 1);
    assert_eq!(state(&after, "port"), state(&before, "port"));

    let snapshot = lab.path().join("snapshot");
    let snapshot = snapshot.to_str().unwrap();
    assert!(tell(&["snapshot", "--machine", machine, "--to", snapshot]).status.success());
    told(&["reboot", "--machine", machine]);
    told(&["reboot", "--machine", machine, "--pull-the-plug"]);
    let back = told(&["rollback", "--machine", machine, "--from", snapshot]);
    assert_eq!(state(&back, "reset_count"), state(&after, "reset_count").as_u64().unwrap() + 1);
    assert_eq!(state(&told(&["suspend", "--machine", machine]), "restart_count"), 1);
    assert_eq!(state(&told(&["clear", "--machine", machine]), "reset_count"), 0);

    let tampered = told(&["tamper", "--machine", machine, "cmdline", "init=/bin/sh"]);
    assert!(text(&state(&tampered, "description")).contains("init=/bin/sh"));
    told(&["tamper", "--machine", machine, "log-digest", "12"]);
    told(&["tamper", "--machine", machine, "log-truth"]);
    assert_eq!(tell(&["tamper", "--machine", machine, "log-digest", "1200"]).status.code(), Some(2));

    let faulty = told(&["fault", "--machine", machine, "delay:5ms@Quote", "drop*1"]);
    assert_eq!(state(&faulty, "faults"), serde_json::json!(["delay:5ms@Quote", "drop*1"]));
    assert_eq!(state(&told(&["fault", "--machine", machine]), "faults"), serde_json::json!([]));
    assert_eq!(told(&["commands", "--machine", machine, "--forget"]), serde_json::json!({}));
}

#[test]
fn a_machine_runs_once_at_a_time_and_its_clone_beside_it() {
    let lab = tempfile::tempdir().unwrap();
    let run = Running::start(&["--dir", lab.path().to_str().unwrap()]);
    let machine = text(&run.machine(0)["directory"]);
    let twin = lab.path().join("twin");
    assert_eq!(tell(&["boot", "--machine", machine]).status.code(), Some(2));
    told(&["clone", "--machine", machine, "--to", twin.to_str().unwrap()]);
    assert_eq!(told(&["ek", "--machine", twin.to_str().unwrap()]), run.machine(0)["endorsements"]);
    assert_eq!(tell(&["status", "--machine", twin.to_str().unwrap()]).status.code(), Some(2));
}

#[test]
fn a_command_finds_the_machines_in_its_environment_and_gives_the_exit_code() {
    let script =
        "test -s \"$HOLDFAST_SIM_LOG_1\" && test -s \"$HOLDFAST_SIM_ROOT\" && echo $HOLDFAST_SIM_TCTI_1; exit 7";
    let output = Command::new(PROGRAM).args(["run", "--machines", "2", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("host=127.0.0.1,port=")));
}

#[test]
fn what_it_cannot_do_it_says_with_a_code_and_exits_with_2() {
    let cases: [(&[&str], &str); 9] = [
        (&["run", "--machnies", "2"], "--machnies"),
        (&["reference-values", "--profile", "/nonexistent.toml"], "sim.profile"),
        (&["ca", "--dir", "/nonexistent"], "sim.file"),
        (&[], "Usage"),
        (&["run", "--profile", "no-such-profile"], "sim.profile"),
        (&["reboot", "--machine", "/tmp"], "not running"),
        (&["ek", "--machine", "/tmp"], "sim.not_ours"),
        (&["run", "--machines", "0"], "machines"),
        (&["fault", "--machine", "/tmp", "explode"], "explode"),
    ];
    for (arguments, expected) in cases {
        let output = tell(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn help_completion_and_manual_are_no_errors() {
    for arguments in [&["--help"][..], &["run", "--help"], &["tamper", "--help"], &["completion", "bash"], &["man"]] {
        let output = Command::new(PROGRAM).args(arguments).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_machine_without_swtpm_says_what_to_install() {
    let output = Command::new(PROGRAM).arg("run").env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("apt-get install swtpm"), "{errors}");
}
