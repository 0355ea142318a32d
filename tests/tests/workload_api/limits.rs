//! What one caller may do to the agent, and what it may not do to others.

use std::time::{Duration, Instant};

use holdfast_agent::workload_api::{Allowance, Limits};
use holdfast_protocol::workload::{X509svidRequest, X509svidResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::Code;

use crate::workload::{Agent, soon, with_header};

fn limits(process: Allowance) -> Limits {
    Limits { process, ..Limits::default() }
}

async fn with_me(limits: Limits) -> Agent {
    let agent = Agent::with(limits).await;
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.start();
    agent.enter("/me", "", "me");
    agent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_may_hold_so_many_streams_and_no_more() {
    let process = Allowance { streams: 3, ..Limits::default().process };
    let agent = with_me(limits(process)).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = agent.stream().await.unwrap();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }
    let refused = agent.fetch().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("too many"), "{refused}");
    // Those that are open go on, and one that is closed makes room.
    agent.enter("/me", "", "me");
    for stream in &mut streams {
        soon(stream.message()).await.unwrap().unwrap();
    }
    streams.pop();
    let begun = Instant::now();
    while agent.fetch().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_need_no_identity_are_counted_too() {
    let process = Allowance { streams: 3, ..Limits::default().process };
    let agent = with_me(limits(process)).await;
    let watch = async || {
        let mut health = tonic_health::pb::health_client::HealthClient::new(agent.channel().await);
        let mut stream = health.watch(tonic_health::pb::HealthCheckRequest::default()).await?.into_inner();
        stream.message().await.map(|_| stream)
    };
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(watch().await.unwrap());
    }
    assert_eq!(watch().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(agent.fetch().await.unwrap_err().code(), Code::Unavailable);
    held.pop();
    let begun = Instant::now();
    while agent.fetch().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_come_whole_are_counted_too() {
    let process = Allowance { streams: 3, ..Limits::default().process };
    let agent = with_me(limits(process)).await;
    let client = tonic::client::Grpc::new(agent.channel().await);
    let held: Vec<_> = (0..3)
        .map(|_| {
            let (mut client, never) = (client.clone(), futures_util::stream::pending::<X509svidRequest>());
            let path = "/SpiffeWorkloadAPI/FetchX509SVID".parse().unwrap();
            tokio::spawn(async move {
                client.ready().await.unwrap();
                let codec = tonic_prost::ProstCodec::<_, X509svidResponse>::default();
                client.streaming(with_header(never), path, codec).await.map(drop)
            })
        })
        .collect();
    let begun = Instant::now();
    while agent.fetch().await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "an endless number of requests is under way");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(held.iter().all(|request| !request.is_finished()));
    held.iter().for_each(tokio::task::JoinHandle::abort);
    let begun = Instant::now();
    while agent.fetch().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_asks_too_often_is_told_to_wait() {
    let process = Allowance { requests_per_second: 1, requests_at_once: 5, ..Limits::default().process };
    let agent = with_me(limits(process)).await;
    // One is earned a second, so that also on a slow machine some of these are too many.
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(agent.fetch().await.map_err(|refused| refused.code()));
    }
    assert!(answers[..5].iter().all(Result::is_ok), "{answers:?}");
    assert!(answers[5..].contains(&Err(Code::Unavailable)), "{answers:?}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    agent.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let process = Allowance { connections: 2, ..Limits::default().process };
    let agent = with_me(limits(process)).await;
    let held = [UnixStream::connect(agent.socket()).await.unwrap(), UnixStream::connect(agent.socket()).await.unwrap()];
    let mut third = UnixStream::connect(agent.socket()).await.unwrap();
    assert_eq!(soon(third.read(&mut [0; 64])).await.unwrap_or(0), 0);
    drop(held);
    let begun = Instant::now();
    loop {
        let mut next = UnixStream::connect(agent.socket()).await.unwrap();
        let open = tokio::time::timeout(Duration::from_millis(50), next.read(&mut [0; 64])).await;
        if !matches!(open, Ok(Ok(0) | Err(_))) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_speaks_is_cut_off() {
    let agent = Agent::with_me().await;
    let mut silent = UnixStream::connect(agent.socket()).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r").await.unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(15), silent.read_to_end(&mut rest)).await.expect("still open");
    assert!(begun.elapsed() > Duration::from_secs(8), "cut off after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_connection_and_nothing_else() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    stream.message().await.unwrap().unwrap();
    for n in 0..200u32 {
        let mut garbage = if n % 2 == 0 { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec() } else { Vec::new() };
        let mut state = n.wrapping_mul(2_654_435_761) | 1;
        garbage.extend((0..400).map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[1]
        }));
        let mut hostile = UnixStream::connect(agent.socket()).await.unwrap();
        let _ = hostile.write_all(&garbage).await;
    }
    agent.enter("/me", "", "me");
    soon(stream.message()).await.unwrap().unwrap();
    agent.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_nobody_up() {
    let agent = Agent::with_me().await;
    // A stream whose window is never opened again: its messages wait, the others' do not.
    let mut stuck = agent.stream().await.unwrap();
    stuck.message().await.unwrap().unwrap();
    let mut reading = agent.stream().await.unwrap();
    reading.message().await.unwrap().unwrap();
    for _ in 0..200 {
        agent.enter("/me", "", "me");
        let begun = Instant::now();
        soon(reading.message()).await.unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_request_is_refused() {
    let agent = Agent::with_me().await;
    let request =
        holdfast_protocol::workload::ValidateJwtsvidRequest { audience: "a".to_owned(), svid: "x".repeat(100 << 10) };
    let refused = agent.client().await.validate_jwtsvid(with_header(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    let mut request = with_header(Default::default());
    request.metadata_mut().insert("x", "y".repeat(64 << 10).parse().unwrap());
    assert!(agent.client().await.fetch_x509svid(request).await.is_err());
    agent.fetch().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_of_one_process_all_hear_of_a_change() {
    let agent = Agent::with_me().await;
    let mut streams = Vec::new();
    for _ in 0..1000 {
        let mut stream = agent.stream().await.unwrap();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }
    agent.enter("/me", "", "me");
    let begun = Instant::now();
    for stream in &mut streams {
        soon(stream.message()).await.unwrap().unwrap();
    }
    println!("1,000 streams after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_did_not_change_is_not_sent_again() {
    let agent = Agent::with_me().await;
    let mut stream = agent.stream().await.unwrap();
    soon(stream.message()).await.unwrap().unwrap();
    // The same again, and an entry for somebody else.
    agent.registry.trust(agent.authority.name(), agent.authority.bundle());
    agent.registry.enter(&["unix:uid:4000000000".to_owned()], agent.authority.issue("/x", "", "x"));
    assert!(tokio::time::timeout(Duration::from_millis(200), stream.message()).await.is_err());
}
