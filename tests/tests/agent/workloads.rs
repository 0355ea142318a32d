//! From an entry to an SVID, and back.

use std::time::Instant;

use holdfast_agent::svids::SvidState;

use super::world::{World, files_below, millis, operator, ready, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_an_svid_on_the_open_stream_in_milliseconds() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let mut taken = Vec::new();
    for uid in 0..20 {
        let mut state = agent.watch(&format!("unix:uid:{uid}"));
        world.entry(&format!("/w{uid}"), &format!("unix:uid:{uid}")).await;
        let from = Instant::now();
        until(&mut state, 10, ready).await;
        taken.push(millis(from));
    }
    taken.sort_unstable();
    println!("entry to SVID, ms: {taken:?}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_entry_takes_its_identity_back() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    let entry = world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    until(&mut state, 10, ready).await;
    world.store().delete_entry(entry.draft.id, operator(), super::world::now()).await.unwrap().unwrap();
    until(&mut state, 5, |state| matches!(state, SvidState::Denied)).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_workload_key_is_ever_on_disk() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry("/a", "unix:uid:1").await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let state = until(&mut agent.watch("unix:uid:1"), 10, ready).await;
    let SvidState::Ready(update) = state else { panic!("not ready") };
    let key = &update.svids[0].key_pkcs8;
    // The private scalar stands at a fixed place in the PKCS#8 document.
    let scalar = &key[36..68];
    for file in files_below(&machine.machine().directory().join("agent")) {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        assert!(!bytes.windows(32).any(|window| window == scalar), "{}", file.display());
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        assert!(!text.contains(&hex::encode(scalar)), "{}", file.display());
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_svid_is_replaced_on_the_open_stream_before_half_of_its_life_is_over() {
    let world = World::new().await;
    let machine = world.machine(0);
    world.allow(&machine).await;
    world.entry_of("/a", "unix:uid:1", 10).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let mut state = agent.watch("unix:uid:1");
    let until_when = |state: &SvidState| match state {
        SvidState::Ready(update) => update.svids[0].not_after.seconds(),
        _ => 0,
    };
    let first = until_when(&until(&mut state, 10, ready).await);
    let from = Instant::now();
    let second = until_when(&until(&mut state, 20, |state| until_when(state) > first).await);
    assert!(from.elapsed().as_secs() <= 6, "{:?}", from.elapsed());
    assert!(second > first);
    agent.stop().await;
}
