//! Sinks that the configuration names no more: they are shown, and forgotten when an operator says so.

use std::sync::Arc;

use holdfast_protocol::admin;
use holdfast_protocol::admin::act_on_sink_request::Act;

use super::Admin;
use super::harness::operated;
use crate::admin_clients::events_client::EventsClient;
use crate::config::Simulated;
use crate::outbox::{Destination, FileSettings, OnReject, Outbox, OutboxFault, Pace, SinkSettings, TypeFilter};
use crate::record::Leaf;
use crate::store::{Actor, SinkStart};

#[tokio::test]
async fn a_sink_that_is_configured_no_more_is_forgotten_and_begins_anew() {
    let operated = operated(Simulated::Refused).await;
    operated.store.open_sink("soar".to_owned(), SinkStart::First).await.unwrap();
    let mut events = EventsClient::new(operated.channel.clone());
    let listed = events.list(admin::ListSinksRequest {}).await.unwrap().into_inner().sinks;
    assert_eq!((listed.len(), listed[0].name.as_str(), listed[0].kind.as_str()), (1, "soar", ""));
    let forget =
        |name: &str| admin::ActOnSinkRequest { name: name.to_owned(), act: Some(Act::Forget(admin::ForgetSink {})) };
    let head = operated.store.head().await.unwrap().size;
    let gone = events.act(forget("soar")).await.unwrap().into_inner();
    assert_eq!((gone.name.as_str(), gone.next), ("soar", 0));
    let entry = operated.store.ledger_entries(head, 1).await.unwrap().remove(0);
    let Leaf::Act(act) = Leaf::parse(&entry.leaf).unwrap() else { panic!("no act") };
    assert_eq!((&act["action"], &act["subject"]), (&"events.forget".into(), &"soar".into()));
    assert_eq!((&act["detail"]["next"], &act["detail"]["parked"]), (&0.into(), &"".into()));
    assert_eq!(operated.store.sinks().await.unwrap(), []);
    // It is forgotten once, and nobody else's with it.
    let head = operated.store.head().await.unwrap();
    for name in ["soar", "", "another"] {
        assert_eq!(events.act(forget(name)).await.unwrap_err().code(), tonic::Code::NotFound);
    }
    assert_eq!(operated.store.head().await.unwrap(), head);
    let anew = operated.store.open_sink("soar".to_owned(), SinkStart::Head).await.unwrap();
    assert_eq!(anew.next, head.size);
}

#[tokio::test]
async fn a_sink_that_is_configured_is_not_forgotten() -> Result<(), OutboxFault> {
    let operated = operated(Simulated::Refused).await;
    let path = std::env::temp_dir().join("holdfast-nothing-is-written-here");
    let settings = SinkSettings {
        name: "soar".to_owned(),
        types: TypeFilter::default(),
        start: SinkStart::Head,
        on_reject: OnReject::default(),
        batch: 1,
        to: Destination::File(FileSettings { path, rotate_bytes: 0, keep: 0 }),
    };
    let (store, trust_domain) = (operated.store.clone(), "td".parse().unwrap());
    let (outbox, _couriers) = Outbox::open(&[settings], store, trust_domain, Pace::default()).await?;
    let admin = Admin { outbox: Arc::new(outbox), ..operated.admin.clone() };
    let refused = admin.forget("soar".to_owned(), Actor::Server).await.unwrap_err();
    assert_eq!(refused.code(), "events.sink_configured");
    assert_eq!(operated.store.sinks().await.unwrap().len(), 1);
    Ok(())
}
