//! A policy about measured files, from the kernel's list to the verdict: what is new is read, what lies is refused, and a
//! reboot begins at the first entry.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdfast_server::store::{AttemptFilter, AttemptId, AttemptRecord, NodeTarget};
use holdfast_tpm_sim::{Bank, ListLie, Powered};

use super::world::{World, profile};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "files"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
[[rule]]
name = "rack"
ownership = "inventory"
trust_classes = ["simulated"]
[rule.ima]
digests = "good.digests"
"#;

/// The digests of these contents, as sha256sum prints them.
fn digests(contents: &[&str]) -> String {
    let line = |content: &&str| format!("{}  {content}\n", hex::encode(Bank::Sha256.hash(&[content.as_bytes()])));
    contents.iter().map(line).collect()
}

/// A world whose policy admits the files "a" and "b", and a machine that has started "a".
pub(super) async fn measuring() -> (World, Powered) {
    let world = World::new().await;
    world.apply_with(POLICY, &[("good.digests", &digests(&["a", "b"]))]).await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    machine.start_measuring().unwrap();
    machine.measure("/usr/bin/a", b"a").unwrap();
    (world, machine)
}

/// Attests with a new agent, as after its restart; the first attempt that it made. What the agent before it had under way
/// may be recorded later, and is older by its name.
pub(super) async fn attempt(world: &World, machine: &Powered) -> AttemptRecord {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let is_new = |id: AttemptId| id.0.iter().take(6).fold(0, |time, byte| time << 8 | u128::from(*byte)) > begun;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let agent = world.agent(machine);
    let since = Instant::now();
    let new = loop {
        let attempts = world.store().attempts(AttemptFilter::default()).await.unwrap();
        if let Some(first) = attempts.iter().rev().find(|attempt| is_new(attempt.id)) {
            break first.id;
        }
        assert!(since.elapsed() < Duration::from_secs(30), "no attempt: {:#?}", agent.status.borrow());
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    agent.stop().await;
    world.store().attempt(new).await.unwrap().unwrap()
}

async fn entries_kept(world: &World, attempt: &AttemptRecord) -> u64 {
    let node = world.store().node(NodeTarget::Number(attempt.node.unwrap())).await.unwrap().unwrap();
    let kept = world.store().measured_files(node.number).await.unwrap().unwrap();
    let states: Vec<String> = serde_json::from_str(&kept).unwrap();
    holdfast_appraisal::ima::ImaState::parse(&states[0]).unwrap().resume.entries
}

fn assert_refused(attempt: &AttemptRecord, code: &str) {
    assert_eq!(attempt.verdict, "refused", "{}", attempt.decision);
    assert!(attempt.decision.contains(code), "{}", attempt.decision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_grows_is_judged_from_where_it_was_left() {
    let (world, machine) = measuring().await;
    let first = attempt(&world, &machine).await;
    assert_eq!(first.verdict, "admitted", "{}", first.decision);
    assert_eq!(entries_kept(&world, &first).await, 2);
    machine.measure("/usr/bin/b", b"b").unwrap();
    let second = attempt(&world, &machine).await;
    assert_eq!(second.verdict, "admitted", "{}", second.decision);
    assert_ne!(second.way, "enrol");
    assert_eq!(entries_kept(&world, &second).await, 3);
    // What was judged is not read again: a lie about it would go unnoticed, and prove nothing new.
    machine.lie_about_files(&ListLie::Byte(60)).unwrap();
    machine.measure("/usr/bin/a2", b"a").unwrap();
    let third = attempt(&world, &machine).await;
    assert_eq!(third.verdict, "admitted", "{}", third.decision);
    assert_eq!(entries_kept(&world, &third).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_set_lists_is_refused_by_its_name() {
    let (world, machine) = measuring().await;
    assert_eq!(attempt(&world, &machine).await.verdict, "admitted");
    machine.measure("/tmp/evil", b"evil").unwrap();
    let refused = attempt(&world, &machine).await;
    assert_refused(&refused, "policy.ima.not_allowed");
    assert!(refused.decision.contains("/tmp/evil"), "{}", refused.decision);
    // The next good file does not make the bad one forgotten.
    machine.measure("/usr/bin/b", b"b").unwrap();
    assert_refused(&attempt(&world, &machine).await, "policy.ima.not_allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_entry_and_a_violation_are_refused() {
    let (world, machine) = measuring().await;
    machine.measure("/tmp/evil", b"evil").unwrap();
    machine.lie_about_files(&ListLie::WithoutTheLast).unwrap();
    assert_refused(&attempt(&world, &machine).await, "tpm.ima.no_prefix");

    let (world, machine) = measuring().await;
    machine.measure_while_written("/var/log/journal").unwrap();
    assert_refused(&attempt(&world, &machine).await, "policy.ima.violation");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_measure_is_refused() {
    let (world, machine) = measuring().await;
    std::fs::remove_file(machine.measured_files_path()).unwrap();
    assert_refused(&attempt(&world, &machine).await, "policy.ima.absent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_and_another_policy_begin_at_the_first_entry() {
    let (world, mut machine) = measuring().await;
    assert_eq!(attempt(&world, &machine).await.verdict, "admitted");
    machine.reboot(&profile()).unwrap();
    machine.start_measuring().unwrap();
    // Nothing but the boot was measured: that says of no file that it is good.
    assert_refused(&attempt(&world, &machine).await, "policy.ima.no_file");
    machine.measure("/usr/bin/b", b"b").unwrap();
    let rebooted = attempt(&world, &machine).await;
    assert_eq!(rebooted.verdict, "admitted", "{}", rebooted.decision);
    assert_eq!(entries_kept(&world, &rebooted).await, 2);
    world.apply_with(POLICY, &[("good.digests", &digests(&["b"]))]).await;
    assert_eq!(attempt(&world, &machine).await.verdict, "admitted");
    world.apply_with(POLICY, &[("good.digests", &digests(&["a"]))]).await;
    assert_refused(&attempt(&world, &machine).await, "policy.ima.not_allowed");
}

/// The shipped policy's rule, on a machine whose kernel measures from its start: by the key, and nothing listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_signed_files_is_admitted_by_their_key_until_an_unsigned_one_is_started() {
    let world = World::new().await;
    let key = holdfast_tpm_sim::file_signer_pem("Holdfast Simulator IMA").unwrap();
    let policy = POLICY.replace("digests = \"good.digests\"", "keys = \"ima.pem\"");
    world.apply_with(&policy, &[("ima.pem", &key)]).await;
    let mut machine = world.machine(0);
    world.allow(&machine).await;
    machine.reboot(&holdfast_tpm_sim::Profile::load("signed-files").unwrap()).unwrap();
    let admitted = attempt(&world, &machine).await;
    assert_eq!(admitted.verdict, "admitted", "{}", admitted.decision);
    assert_eq!(entries_kept(&world, &admitted).await, 5);
    machine.measure_unsigned("/tmp/tool", b"a tool").unwrap();
    let refused = attempt(&world, &machine).await;
    assert_refused(&refused, "policy.ima.unsigned");
    assert!(refused.decision.contains("/tmp/tool"), "{}", refused.decision);
}
