//! Two trust domains, each with its own profile: their workloads meet, and go on meeting while both change their roots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_tests::{WorkDir, until};
use serde_json::Value;

use crate::domain::{Domain, PATIENCE, Workloads, machines};
use crate::stranger::Issuer;

/// Changes the root of `domain` in two steps, the second once `partner` and its workloads know of the first.
fn change_root(domain: &Domain, own: &Workloads, partner: &Domain, theirs: &Workloads) {
    let before = own.signers();
    let sequence = |found: &Value| found["bundle"]["sequence"].as_u64().unwrap();
    let known = sequence(&partner.federation(domain.name));
    let prepared = domain.prepare_below_another_root();
    partner.until_federation(domain.name, "the partner knows both roots", |found| {
        found["bundle"]["x509_authorities"] == 2 && sequence(found) > known
    });
    theirs.until_foreign(domain.name, 2);
    domain.activate(&prepared);
    let signed = until("an SVID under the new root", PATIENCE, || {
        let now = own.signers();
        (!now.is_empty() && now != before).then_some(())
    });
    signed.unwrap_or_else(|why| panic!("{why}\n{}", domain.log()));
    // The endpoint shows an SVID under the new root now, where it shows one: it must still be the right one.
    let failed = partner.federation(domain.name)["last_success"].as_i64().unwrap();
    partner.until_federation(domain.name, "a fetch from under the new root", |found| {
        found["last_success"].as_i64().unwrap() > failed && found["failures"] == 0
    });
}

#[test]
fn two_domains_federate_by_both_profiles_and_their_workloads_meet_while_both_change_roots() {
    let web = Issuer::new(&[]);
    let work = WorkDir::new().unwrap();
    let machines = machines(2, &work);
    let (east, west) = (Domain::with_certificate("east.test", &web), Domain::with_svid("west.test", &web));
    east.federate_by_svid("west.test", &west.url(), &west.server_id(), &west.bundle_file()).success().unwrap();
    west.federate_by_host("east.test", &east.url()).success().unwrap();
    for (of, other) in [(&east, "west.test"), (&west, "east.test")] {
        of.until_federation(other, "the other's bundle", |found| found["last_success"].as_i64().unwrap() > 0);
    }
    let (easts, wests) = (east.enrol(&machines, 0), west.enrol(&machines, 1));
    let entry = easts.enter(&east, "web", &["west.test"]);
    wests.enter(&west, "client", &["east.test"]);
    easts.until_foreign("west.test", 1);
    wests.until_foreign("east.test", 1);

    let (web_id, client_id) = (easts.id("web"), wests.id("client"));
    let (server, at) = easts.serve(&client_id, &east.work.path().join("web.log"));
    wests.call(&at, &web_id).success().unwrap_or_else(|why| panic!("{why}\n{}", server.log()));
    let refused = wests.call(&at, "spiffe://east.test/other");
    assert_ne!(refused.code, 0, "the wrong one is refused: {}", refused.stdout);

    // They meet all the time while both domains change their roots.
    let (stop, met, missed) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        let (caller, at, web_id) = (&wests, at.as_str(), web_id.as_str());
        let (stopped, count, lost) = (stop.clone(), met.clone(), missed.clone());
        scope.spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let answer = caller.call(at, web_id);
                if answer.code == 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    eprintln!("missed: {}{}", answer.stdout, answer.stderr);
                    lost.fetch_add(1, Ordering::Relaxed);
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        });
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            change_root(&east, &easts, &west, &wests);
            change_root(&west, &wests, &east, &easts);
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(why) = changed {
            std::panic::resume_unwind(why);
        }
    });
    assert_eq!(missed.load(Ordering::Relaxed), 0, "of {}", met.load(Ordering::Relaxed));
    assert!(met.load(Ordering::Relaxed) > 3);

    // What an entry does not name any more, its workloads forget; so they do what the operator forgets.
    let kept = east.server.cli(&["federation", "delete", "--trust-domain", "west.test"]).unwrap();
    assert_eq!((kept.code, kept.stderr.contains("federation.named_by_entries")), (1, true), "{}", kept.stderr);
    let gone = ["federation", "delete", "--trust-domain", "west.test", "--mode", "dissociate"];
    east.server.operator(&gone).unwrap();
    easts.until_foreign("west.test", 0);
    let shown = east.server.json(&["entry", "show", &entry]).unwrap();
    assert!(shown.get("federates_with").is_none(), "{shown}");
    let refused =
        until("the foreign workload is refused", PATIENCE, || (wests.call(&at, &web_id).code != 0).then_some(()));
    refused.unwrap();
    drop(server);
}
