//! What carries over and what does not, entry by entry.

use super::super::spire_entries::parse;
use super::*;
use serde_json::{Value, json};

const NODE: &str = "spiffe://example.org/holdfast/node/tpm/1";

fn spire(id: &str, parent: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut entry = json!({
        "admin": false, "created_at": "100", "dns_names": ["web.internal"], "downstream": false, "expires_at": "0",
        "federates_with": ["spiffe://other.org"], "hint": "internal", "id": id, "jwt_svid_ttl": 120,
        "parent_id": {"path": parent, "trust_domain": "example.org"}, "revision_number": "2",
        "selectors": [{"type": "unix", "value": "uid:1000"}, {"type": "k8s", "value": "pod-label:app:web"}],
        "spiffe_id": {"path": format!("/{id}"), "trust_domain": "example.org"}, "store_svid": false,
        "x509_svid_ttl": 600,
    });
    change(&mut entry);
    entry
}

fn parents(pairs: &[&str]) -> Parents {
    Parents::new(pairs.iter().map(|pair| read_pair(pair).unwrap()).collect()).unwrap()
}

fn mapped(entries: Vec<Value>, pairs: &[&str]) -> Vec<Fate> {
    let shown = parse(&json!({ "entries": entries, "next_page_token": "" }).to_string()).unwrap();
    map(shown.entries, &parents(pairs))
}

fn carried(fate: &Fate) -> &admin::Entry {
    match fate {
        Fate::Carried(entry) => entry,
        other => panic!("{other:?}"),
    }
}

fn left(fate: &Fate) -> String {
    match fate {
        Fate::Left(remark) => remark.reasons.join("; "),
        other => panic!("{other:?}"),
    }
}

const AGENT: &str = "spiffe://example.org/spire/agent/x509pop/1=spiffe://example.org/holdfast/node/tpm/1";

#[test]
fn what_both_have_carries_over_under_the_same_id() {
    let fates = mapped(vec![spire("web", "/spire/agent/x509pop/1", |_| {})], &[AGENT]);
    let expected = admin::Entry {
        id: "web".to_owned(),
        spiffe_id: "spiffe://example.org/web".to_owned(),
        parent_id: NODE.to_owned(),
        selectors: vec!["unix:uid:1000".to_owned(), "k8s:pod-label:app:web".to_owned()],
        x509_svid_ttl: 600,
        jwt_svid_ttl: 120,
        dns_names: vec!["web.internal".to_owned()],
        federates_with: vec!["spiffe://other.org".to_owned()],
        hint: "internal".to_owned(),
        ..admin::Entry::default()
    };
    assert_eq!(carried(&fates[0]), &expected);
    let ends =
        mapped(vec![spire("web", "/spire/agent/x509pop/1", |e| e["expires_at"] = json!("1900000000"))], &[AGENT]);
    assert_eq!(carried(&ends[0]).expires_at, 1_900_000_000);
}

#[test]
fn each_field_without_a_meaning_here_is_named_and_keeps_the_entry_back() {
    for (field, value) in [
        ("admin", json!(true)),
        ("downstream", json!(true)),
        ("store_svid", json!(true)),
        ("new_in_2030", json!("on")),
        ("additional_attributes", json!({"jwt_svid_include_jti": true})),
        ("selectors", json!([{"type": "k8s", "value": "ns-label:team:a"}])),
        ("selectors", json!([{"type": "windows", "value": "user_name:a"}])),
    ] {
        let fates = mapped(vec![spire("web", "/spire/agent/x509pop/1", |entry| entry[field] = value)], &[AGENT]);
        assert!(left(&fates[0]).starts_with(field), "{}", left(&fates[0]));
    }
    let prefetch = json!({"disable_x509_svid_prefetch": true});
    let tuned = spire("web", "/spire/agent/x509pop/1", |entry| entry["additional_attributes"] = prefetch);
    carried(&mapped(vec![tuned], &[AGENT])[0]);
}

#[test]
fn a_parent_is_mapped_whole_before_by_its_beginning_and_the_longer_beginning_first() {
    let pairs = [
        "spiffe://example.org/spire/agent/*=tpm:class:discrete",
        "spiffe://example.org/spire/agent/k8s_psat/*=gcp:project_id:shop",
        "spiffe://example.org/spire/agent/k8s_psat/*=tpm:secure_boot:true",
        "spiffe://example.org/spire/agent/k8s_psat/a/1=spiffe://example.org/holdfast/node/tpm/1",
    ];
    let at = |parent: &str| carried(&mapped(vec![spire("web", parent, |_| {})], &pairs)[0]).clone();
    assert_eq!(at("/spire/agent/k8s_psat/a/1").parent_id, NODE);
    assert_eq!(at("/spire/agent/k8s_psat/a/2").node_selectors, ["gcp:project_id:shop", "tpm:secure_boot:true"]);
    assert_eq!(at("/spire/agent/x509pop/1").node_selectors, ["tpm:class:discrete"]);
    assert_eq!(at("/holdfast/node/tpm/1").parent_id, NODE, "one of ours needs no map");
    assert!(Parents::new(vec![read_pair(AGENT).unwrap(), read_pair(AGENT).unwrap()]).is_err());
    for wrong in ["a", "a=b", "spiffe://td/a=b", "tpm:a:b=spiffe://td/a"] {
        assert!(read_pair(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_unmapped_parent_says_what_it_was_and_how_to_map_it() {
    let alias = |entry: &mut Value| entry["selectors"] = json!([{"type": "k8s_psat", "value": "cluster:shop"}]);
    let entries = vec![
        spire("agent", "/spire/agent/x509pop/1", |_| {}),
        spire("cluster", "/spire/server", alias),
        spire("of-cluster", "/cluster", |_| {}),
        spire("of-workload", "/agent", |_| {}),
        spire("of-nobody", "/nobody", |_| {}),
    ];
    let fates = mapped(entries.clone(), &[]);
    let expect = |at: usize, words: &[&str]| {
        let found = left(&fates[at]);
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    };
    expect(0, &["an agent of SPIRE's", "--parent-map spiffe://example.org/spire/agent/x509pop/1=NODE"]);
    expect(1, &["stands for nodes with k8s_psat:cluster:shop", "--parent-map spiffe://example.org/cluster="]);
    expect(2, &["entry cluster", "--parent-map spiffe://example.org/cluster="]);
    expect(3, &["a workload's (entry agent)"]);
    expect(4, &["nothing that the other entries explain"]);
    let fates = mapped(entries, &[AGENT, "spiffe://example.org/cluster=gcp:project_id:shop"]);
    assert!(matches!(&fates[1], Fate::Covered(_)), "the name of nodes itself is no entry");
    assert_eq!(carried(&fates[2]).node_selectors, ["gcp:project_id:shop"]);
}

#[test]
fn two_entries_that_become_one_are_one_and_two_that_differ_are_refused() {
    let pairs = ["spiffe://example.org/spire/agent/*=tpm:class:discrete"];
    let same = |entry: &mut Value| entry["spiffe_id"]["path"] = json!("/web");
    let other = |entry: &mut Value| {
        entry["spiffe_id"]["path"] = json!("/web");
        entry["hint"] = json!("external");
        entry["selectors"].as_array_mut().unwrap().reverse();
    };
    let entries = vec![
        spire("web", "/spire/agent/x509pop/1", |_| {}),
        spire("web2", "/spire/agent/x509pop/2", same),
        spire("web3", "/spire/agent/x509pop/3", other),
    ];
    let fates = mapped(entries, &pairs);
    carried(&fates[0]);
    assert!(matches!(&fates[1], Fate::Covered(remark) if remark.reasons[0].contains("entry web,")), "{fates:?}");
    assert!(left(&fates[2]).contains("as entry web"));
}

#[test]
fn the_oldest_comes_first_whatever_the_order_of_the_file() {
    let at = |seconds: &'static str| move |entry: &mut Value| entry["created_at"] = json!(seconds);
    let parent = "/spire/agent/x509pop/1";
    let entries = vec![spire("b", parent, at("200")), spire("c", parent, at("300")), spire("a", parent, at("100"))];
    let ids: Vec<String> = mapped(entries, &[AGENT]).iter().map(|fate| carried(fate).id.clone()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[test]
fn every_selector_that_carries_over_is_on_a_page_about_attestors() {
    let pages = [
        include_str!("../../../../docs/workloads.md"),
        include_str!("../../../../docs/attestors/docker.md"),
        include_str!("../../../../docs/attestors/k8s.md"),
        include_str!("../../../../docs/attestors/systemd.md"),
    ]
    .concat();
    for (kind, names) in SELECTORS {
        for name in names {
            assert!(pages.contains(&format!("`{kind}:{name}:")), "{kind}:{name}");
        }
    }
}
