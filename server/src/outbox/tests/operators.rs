//! What operators have done at sinks.

use super::receiver::{Answer, Receiver};
use super::*;

#[tokio::test]
async fn replays_skips_and_tests_are_done_and_recorded() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(4, "node").await;
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    running.until("all sent", |sink| sink.next == 4).await;
    running.outbox.order("one", Order::Replay { from: 2 }, operator()).await.unwrap();
    running.until("sent again", |sink| sink.next == 5).await;
    assert_eq!(indices(&receiver.taken()), [0, 1, 2, 3, 2, 3, 4]);
    running.outbox.order("one", Order::Test, operator()).await.unwrap();
    let test =
        until("the test", || receiver.taken().into_iter().find(|event| event["type"] == "dev.holdfast.test.v1")).await;
    assert_eq!(test["data"]["test"]["sink"], "one");
    assert!(test["id"].as_str().unwrap().contains("-test-"));
    let refused = |order, name: &'static str| {
        let outbox = &running.outbox;
        async move { outbox.order(name, order, operator()).await.unwrap_err().code() }
    };
    assert_eq!(refused(Order::Replay { from: 100 }, "one").await, "events.beyond_head");
    assert_eq!(refused(Order::Test, "two").await, "events.sink_unknown");
    running.until("all", |sink| sink.next == 6).await;
    assert_eq!(refused(Order::Skip, "one").await, "events.nothing_to_skip");
    receiver.judges(|_| Some(Answer::Status(500)));
    assert_eq!(refused(Order::Test, "one").await, "events.test_failed");
    assert_eq!(world.actions().await[4..], ["act.events.replay", "act.events.test", "act.events.test"]);
    running.end().await;
}

#[tokio::test]
async fn an_entry_that_blocks_is_skipped_by_an_operator_even_while_it_is_under_way() {
    let (world, receiver) = (World::new().await, Receiver::start().await);
    world.act(3, "node").await;
    receiver.judges(|events| (events[0]["data"]["index"] == 1).then_some(Answer::Hang));
    let running = world.start(webhook(world.directory.path(), &receiver.url(), 1)).await;
    until("a delivery that hangs", || (receiver.deliveries().len() == 2).then_some(())).await;
    let status = running.outbox.order("one", Order::Skip, operator()).await.unwrap();
    assert_eq!((status.sink.next, status.sink.skipped), (2, 1));
    running.until("the rest", |sink| sink.next == 4).await;
    assert_eq!(indices(&receiver.taken()), [0, 2, 3]);
    assert_eq!(receiver.taken()[2]["data"]["act"]["by"], "ada (uid 7)");
    running.end().await;
}
