//! Webhooks that fail, restart, answer slowly, refuse, redirect and end.

use super::receiver::{Answer, Receiver};
use super::*;

#[tokio::test]
async fn events_arrive_signed_and_in_order_and_the_cursor_follows() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(25, "node").await;
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 10)).await;
    running.until("all sent", |sink| sink.next == 25).await;
    assert_eq!(indices(&receiver.taken()), (0..25).collect::<Vec<_>>());
    let deliveries = receiver.deliveries();
    assert_eq!(deliveries.len(), 3);
    assert!(deliveries.iter().all(|(_, media)| media == cloudevents::BATCH));
    let event = &receiver.taken()[3];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "spiffe://td");
    assert_eq!(event["type"], "dev.holdfast.act.test.act.v1");
    assert_eq!(event["subject"], "node");
    assert_eq!(event["id"], running.outbox.source().id(event::Place::Entry(3)));
    assert_eq!(event["data"]["act"]["detail"]["number"], 3);
    // What comes later is sent as it comes.
    world.act(1, "later").await;
    running.until("the later one", |sink| sink.next == 26).await;
    assert_eq!(receiver.deliveries().last().unwrap().1, cloudevents::ONE);
    running.end().await;
}

#[tokio::test]
async fn what_fails_is_sent_again_under_the_same_id_and_nothing_overtakes_it() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(6, "node").await;
    receiver.answers([500, 429, 503, 404, 302].map(Answer::Status));
    receiver.answers([Answer::Redirect(format!("http://{}/elsewhere", receiver.address))]);
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 2)).await;
    running.until("all sent", |sink| sink.next == 6).await;
    assert_eq!(indices(&receiver.taken()), (0..6).collect::<Vec<_>>());
    let ids: Vec<String> = receiver.deliveries().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 9);
    assert!(ids[..7].iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(running.sink().failures, 0);
    assert!(running.sink().last_error.contains("307"), "{}", running.sink().last_error);
    running.end().await;
}

#[tokio::test]
async fn whoever_says_more_than_anybody_reads_or_never_ends_it_has_taken_it_all_the_same() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(4, "node").await;
    receiver.answers([Answer::Long(65 << 10), Answer::Endless, Answer::Long(8 << 20)]);
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    let sink = running.until("all sent", |sink| sink.next == 4).await;
    assert_eq!((sink.failures, sink.last_error.as_str()), (0, ""));
    assert_eq!(indices(&receiver.taken()), (0..4).collect::<Vec<_>>(), "each once");
    running.end().await;
}

#[tokio::test]
async fn where_a_webhook_is_says_nothing_of_the_secrets_in_its_url() {
    for (url, place) in [
        ("https://user:pass@hooks.example.org/T00/B00/token?key=secret", "https://hooks.example.org"),
        ("https://hooks.example.org:8443/token", "https://hooks.example.org:8443"),
        ("http://[::1]:80/token#secret", "http://[::1]:80"),
    ] {
        let settings = webhook(World::new().await.directory.path(), url, 1);
        assert_eq!(settings.to.place(), place);
    }
}

#[tokio::test]
async fn a_receiver_that_was_away_gets_all_that_it_missed() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    world.act(2, "before").await;
    running.until("the first", |sink| sink.next == 2).await;
    receiver.answers((0..1000).map(|_| Answer::Hang));
    world.act(3, "meanwhile").await;
    until("a delivery that hangs", || (receiver.deliveries().len() == 3).then_some(())).await;
    let receiver = receiver.restarted().await;
    // Those that hung are forgotten by who restarted.
    receiver.judges(|_| Some(Answer::Status(204)));
    running.until("the rest", |sink| sink.next == 5).await;
    assert_eq!(indices(&receiver.taken()), (0..5).collect::<Vec<_>>());
    running.end().await;
}

#[tokio::test]
async fn a_slow_receiver_keeps_nobody_who_records_waiting() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    receiver.judges(|_| Some(Answer::Hang));
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    world.act(1, "first").await;
    until("a delivery that hangs", || (!receiver.deliveries().is_empty()).then_some(())).await;
    // More than any queue would hold; each returns when it is on disk.
    world.act(300, "node").await;
    until("the lag", || (running.outbox.list()[0].lag == 301).then_some(())).await;
    assert_eq!(receiver.deliveries().len(), 1);
    running.end().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_not_sent_again_after_a_restart_and_the_rest_is() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    let settings = webhook(world.directory.path(), &receiver.url(), 1);
    world.act(3, "node").await;
    let running = world.start(settings.clone()).await;
    running.until("three", |sink| sink.next == 3).await;
    running.end().await;
    world.act(2, "node").await;
    let running = world.start(settings).await;
    running.until("five", |sink| sink.next == 5).await;
    assert_eq!(indices(&receiver.taken()), [0, 1, 2, 3, 4]);
    running.end().await;
}

#[tokio::test]
async fn one_event_that_is_refused_is_found_left_out_and_recorded() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(9, "node").await;
    let is_poison = |events: &[Value]| events.iter().any(|event| event["data"]["index"] == 4);
    receiver.judges(move |events| is_poison(events).then_some(Answer::Status(422)));
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 6)).await;
    // The tenth entry is the one that says so.
    running.until("the rest", |sink| sink.next == 10).await;
    assert_eq!(indices(&receiver.taken()), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    assert_eq!(running.sink().skipped, 1);
    let act = &receiver.taken()[8];
    assert_eq!(
        (act["type"].as_str(), act["data"]["act"]["detail"]["index"].as_u64()),
        (Some("dev.holdfast.act.events.skip.v1"), Some(4))
    );
    running.end().await;
}

#[tokio::test]
async fn who_is_told_to_stop_at_a_refusal_stops_until_resumed() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(3, "node").await;
    receiver.answers([400, 400, 400].map(Answer::Status));
    let settings = webhook(world.directory.path(), &receiver.url(), 1);
    let running = world.start(SinkSettings { on_reject: OnReject::Stop, ..settings }).await;
    let parked = running.until("parked", |sink| !sink.parked.is_empty()).await;
    assert!(parked.parked.contains("entry 0 was refused: answered 400"), "{}", parked.parked);
    assert!(receiver.taken().is_empty());
    running.outbox.order("one", Order::Resume, operator()).await.unwrap();
    running.until("all sent", |sink| sink.next == 5).await;
    assert_eq!(indices(&receiver.taken()), [0, 1, 2, 3, 4]);
    assert_eq!(world.actions().await[3..], ["act.events.park", "act.events.resume"]);
    running.end().await;
}

#[tokio::test]
async fn who_is_gone_is_parked() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(1, "node").await;
    receiver.answers([Answer::Status(410)]);
    let settings = webhook(world.directory.path(), &receiver.url(), 1);
    let running = world.start(settings.clone()).await;
    running.until("parked", |sink| sink.parked.contains("410")).await;
    running.end().await;
    // And stays so after a restart.
    let running = world.start(settings).await;
    world.act(1, "node").await;
    until("the lag", || (running.outbox.list()[0].lag == 3).then_some(())).await;
    assert_eq!(receiver.deliveries().len(), 1);
    running.end().await;
}

#[tokio::test]
async fn who_takes_nothing_is_parked_before_the_record_grows_by_it() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(30, "node").await;
    receiver.judges(|_| Some(Answer::Status(400)));
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    running.until("parked", |sink| !sink.parked.is_empty()).await;
    assert_eq!(running.sink().skipped, 10);
    assert_eq!(world.actions().await.iter().filter(|action| *action == "act.events.skip").count(), 10);
    running.end().await;
}

#[tokio::test]
async fn a_sink_gets_the_types_it_asked_for_and_begins_where_it_was_told() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(2, "before").await;
    let settings = webhook(world.directory.path(), &receiver.url(), 1);
    let types = TypeFilter::read(vec!["dev.holdfast.act.other.*".to_owned()]).unwrap();
    let running = world.start(SinkSettings { types, start: SinkStart::Head, ..settings }).await;
    world.act(2, "not for it").await;
    let other = Operation { action: "other.act", subject: String::new(), detail: json!({}) };
    world.store.record_operation(other, Actor::Server, clock::now()).await.unwrap();
    running.until("all seen", |sink| sink.next == 5).await;
    assert_eq!(indices(&receiver.taken()), [4]);
    running.end().await;
}
