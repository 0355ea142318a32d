//! Workloads on one agent that do each other no harm: one that does not read, one that asks without end, and many that
//! just hold their streams open.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload::X509svidResponse;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::world::{PATIENCE, World, id, own_uid};

/// Open streams beside the one that is not read, over so many connections.
const STREAMS: usize = 200;
const CONNECTIONS: usize = 20;
/// More than an agent's default for one process.
const TOO_MANY_STREAMS: usize = 1100;

async fn client(socket: PathBuf) -> SpiffeWorkloadApiClient<Channel> {
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await.unwrap();
    SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(64 << 20)
}

async fn stream(client: &mut SpiffeWorkloadApiClient<Channel>) -> Result<Streaming<X509svidResponse>, Status> {
    let mut request = Request::new(Default::default());
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    Ok(client.fetch_x509svid(request).await?.into_inner())
}

/// Reads until a message holds these identities and no other.
async fn until_holds(stream: &mut Streaming<X509svidResponse>, expected: &BTreeSet<String>) {
    let reading = async {
        loop {
            let answer = stream.message().await.unwrap().unwrap();
            let ids: BTreeSet<String> = answer.svids.into_iter().map(|svid| svid.spiffe_id).collect();
            if ids == *expected {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(PATIENCE), reading).await.expect("no such message");
}

/// Asks for SVIDs over HTTP/2 by hand, and reads nothing, ever.
async fn ask_and_read_nothing(socket: PathBuf) -> UnixStream {
    let frame = |kind: u8, flags: u8, of: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, of], payload].concat()
    };
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let named = |name: &str, value: &str| [vec![0], text(name), text(value)].concat();
    // POST and http by their places in the static table, then a path and an authority.
    let mut headers = vec![0x83, 0x86, 0x04];
    headers.extend(text("/SpiffeWorkloadAPI/FetchX509SVID"));
    headers.push(0x01);
    headers.extend(text("localhost"));
    let more = [("content-type", "application/grpc"), ("te", "trailers"), ("workload.spiffe.io", "true")];
    headers.extend(more.iter().flat_map(|(name, value)| named(name, value)));
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers),
        frame(0, 1, 1, &[0; 5]),
    ];
    stream.write_all(&hello.concat()).await.unwrap();
    stream
}

/// An entry for this user whose certificate is large: 32 long names. Its ID in the server.
fn enter_large(world: &World, node: &str, path: &str) -> String {
    let (id, user) = (id(path), own_uid());
    let names: Vec<String> =
        (0..32).map(|n| format!("{}.{}.{path}{n}.example.org", "a".repeat(60), "b".repeat(60))).collect();
    let mut words = vec!["entry", "create", "--spiffe-id", &id, "--parent-id", node, "--selector", &user];
    words.extend(names.iter().flat_map(|name| ["--dns", name.as_str()]));
    crate::world::entry_id(&world.server.json(&words).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_stuck_among_200_streams_holds_nobody_up() {
    let world = tokio::task::block_in_place(|| World::enrolled(1));
    let (socket, node) = (world.agents[0].socket(), world.node_id(0));
    let mut expected = BTreeSet::new();
    for path in ["one", "two", "three"] {
        enter_large(&world, &node, path);
        expected.insert(id(path));
    }
    tokio::task::block_in_place(|| world.until_fetched(0));
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = client(socket.clone()).await;
        for _ in 0..STREAMS / CONNECTIONS {
            streams.push(stream(&mut client).await.unwrap());
        }
    }
    for stream in &mut streams {
        until_holds(stream, &expected).await;
    }
    let _stuck = ask_and_read_nothing(socket.clone()).await;
    // Far more than its window and its socket hold.
    for round in 0..10 {
        let path = format!("round-{round}");
        let entry = enter_large(&world, &node, &path);
        expected.insert(id(&path));
        for stream in &mut streams {
            until_holds(stream, &expected).await;
        }
        if round % 2 == 1 {
            world.server.operator(&["entry", "delete", &entry]).unwrap();
            expected.remove(&id(&path));
            for stream in &mut streams {
                until_holds(stream, &expected).await;
            }
        }
    }
    // A newcomer is served as well.
    until_holds(&mut stream(&mut client(socket).await).await.unwrap(), &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_asks_without_end_takes_nothing_from_its_neighbours() {
    let world = tokio::task::block_in_place(|| World::enrolled(1));
    let socket = world.agents[0].socket();
    world.create_entry(0, "first");
    tokio::task::block_in_place(|| world.until_fetched(0));
    let mut neighbour = tokio::task::block_in_place(|| world.watch(0, &id("first")));

    // All the streams that it may have, and more.
    let (mut held, mut refused) = (Vec::new(), 0);
    while held.len() + refused < TOO_MANY_STREAMS {
        let mut client = client(socket.clone()).await;
        for _ in 0..50 {
            match stream(&mut client).await {
                Ok(stream) => held.push(stream),
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 0 && held.len() > 1000, "{} streams, {refused} refused", held.len());
    // And calls on top of them, without a pause.
    let noise: Vec<_> = (0..8)
        .map(|_| {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut client = client(socket).await;
                loop {
                    let _ = stream(&mut client).await;
                }
            })
        })
        .collect();

    for path in ["second", "third"] {
        world.create_entry(0, path);
        tokio::task::block_in_place(|| neighbour.until_shows(&id(path)));
    }
    let fetched = tokio::task::block_in_place(|| world.fetch(0));
    assert_eq!(fetched.code, 0, "{fetched:?}");
    assert!(neighbour.is_open());
    for task in noise {
        task.abort();
    }
    // Once it lets go, it is served as anybody.
    drop(held);
    tokio::task::block_in_place(|| {
        holdfast_tests::until("it is served again", PATIENCE, || {
            tokio::runtime::Handle::current().block_on(async { stream(&mut client(socket.clone()).await).await }).ok()
        })
    })
    .unwrap();
}
