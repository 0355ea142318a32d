//! The questions of operators, over the socket, about this process.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;

use super::*;
use crate::clock::ServerClock;
use crate::sync::Entry;

fn entry(id: &str, selectors: &[&str]) -> (String, Arc<Entry>) {
    let entry = Entry {
        id: id.to_owned(),
        spiffe_id: format!("spiffe://td/{id}").parse().unwrap(),
        selectors: selectors.iter().map(|selector| selector.parse().unwrap()).collect(),
        hint: String::new(),
        revision_number: 0,
        created_at: UnixTime(0),
        expires_at: None,
        federates_with: std::collections::BTreeSet::new(),
    };
    (id.to_owned(), Arc::new(entry))
}

/// An agent with entries for this process and for others, and its answers.
async fn ask(question: &str) -> Answer {
    let place = tempfile::tempdir().unwrap();
    let state = StateDir::open(place.path()).unwrap();
    let cache = Arc::new(SvidCache::new(Arc::new(ServerClock::default())));
    let uid = format!("unix:uid:{}", geteuid().as_raw());
    cache.admit();
    cache.entries(&BTreeMap::from([
        entry("far", &["unix:uid:4000000000", "unix:gid:4000000000", "docker:label:a:b"]),
        entry("near", &[&uid, "unix:path:/bin/other"]),
        entry("mine", &[&uid]),
    ]));
    let sources = Sources { attestors: Arc::new(Attestors::default()), cache };
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(bind(&state).unwrap(), sources, stop.clone()));
    let mut stream = UnixStream::connect(state.file(SOCKET)).await.unwrap();
    stream.write_all(question.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    stop.cancel();
    served.await.unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn a_process_is_shown_with_its_entries_and_the_nearest_of_the_others() {
    let Answer::Report(report) = ask(&std::process::id().to_string()).await else { panic!("no report") };
    assert_eq!(report.attestors[0].kind, "unix");
    assert!(report.attestors[0].selectors.iter().any(|selector| selector.starts_with("unix:path:/")));
    assert!(report.ready && report.entries == 3);
    let ids = |candidates: &[Candidate]| candidates.iter().map(|entry| entry.entry.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&report.matches), ["mine"]);
    assert_eq!(ids(&report.nearest), ["near", "far"]);
    let lack = &report.nearest[0].lacking;
    assert_eq!((lack.len(), lack[0].selector.as_str()), (1, "unix:path:/bin/other"));
    assert!(lack[0].instead[0].starts_with("unix:path:/"));
}

#[tokio::test]
async fn what_is_no_process_is_a_problem() {
    for (question, code) in
        [("4194305", "attest.peer.exited"), ("-1", "attest.peer.exited"), ("x", "agent.why.question")]
    {
        let Answer::Problem(problem) = ask(question).await else { panic!("{question} was answered") };
        assert_eq!(problem.code, code, "{question}");
    }
}
