//! Right identity in, wrong identity out, on connections that live through rotations and restarts.

use crate::mesh::{Mesh, Way, said};
use crate::workload::{Agent, authority::Authority, soon};

/// An agent with a client, a server and a stranger.
async fn agent() -> Agent {
    let agent = Agent::started().await;
    for name in ["web", "client", "stranger"] {
        agent.enter(&format!("/{name}"), "", name);
    }
    agent
}

fn serial(der: &[u8]) -> String {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate
        .raw_serial()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .trim_start_matches('0')
        .to_owned()
}

/// Replaces an identity; its new leaf.
fn rotate(agent: &Agent, name: &str) -> Vec<u8> {
    let svid = agent.authority.issue(&format!("/{name}"), "", name);
    agent.registry.enter(&[crate::workload::own_user()], svid.clone());
    svid.chain[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_the_right_identity_is_admitted_on_both_sides_and_the_wrong_one_on_neither() {
    let agent = agent().await;
    let usual = Way::usual(&agent);
    let ways = [
        usual.clone(),
        Way { name: "stranger", client: "spiffe://example.org/stranger", ..usual.clone() },
        Way { name: "other-server", server: "spiffe://example.org/stranger", ..usual.clone() },
        Way { name: "all", believed: "ALL", ..usual.clone() },
        Way { name: "domain", believed: "spiffe://example.org", ..usual },
    ];
    let Some(mesh) = Mesh::start(&agent, &ways).await else { return };
    for way in ["usual", "all", "domain"] {
        assert!(mesh.passes(way).await, "{way}");
        mesh.until_client(way, "spiffe://example.org/client", None).await;
    }
    for way in ["stranger", "other-server"] {
        assert!(!mesh.passes(way).await, "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_a_rotation_drops_no_connection_and_new_ones_show_the_new_certificates() {
    let agent = agent().await;
    let usual = Way::usual(&agent);
    let ways = [usual.clone(), Way { name: "delta", kind: "DELTA_GRPC", ..usual }];
    let Some(mesh) = Mesh::start(&agent, &ways).await else { return };
    let (mut old, mut old_delta) = (mesh.connect("usual").await, mesh.connect("delta").await);
    for _ in 0..2 {
        let (web, client) = (rotate(&agent, "web"), rotate(&agent, "client"));
        for (way, held) in [("usual", &mut old), ("delta", &mut old_delta)] {
            mesh.until_shown(way, &web).await;
            assert!(said(held, "still here").await, "{way}");
            mesh.until_client(way, "spiffe://example.org/client", Some(&serial(&client))).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_it_lives_through_a_restart_of_the_agent_under_another_authority() {
    let mut first = agent().await;
    let Some(mesh) = Mesh::start(&first, &[Way::usual(&first)]).await else { return };
    let mut held = mesh.connect("usual").await;
    assert!(said(&mut held, "before").await);
    first.stop.cancel();
    soon(&mut first.served).await.unwrap().unwrap();
    assert!(mesh.passes("usual").await, "what it has, it keeps");
    let next = agent().await;
    std::os::unix::fs::symlink(next.socket(), first.socket()).unwrap();
    mesh.until_shown("usual", &rotate(&next, "web")).await;
    mesh.until("usual", true).await;
    assert!(said(&mut held, "after").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_a_federated_domain_is_believed_for_its_own_names_only() {
    let agent = agent().await;
    let other = Agent::starting_in("other.org").await;
    other.registry.trust(other.authority.name(), other.authority.bundle());
    other.registry.trust(agent.authority.name(), agent.authority.bundle());
    other.registry.start();
    other.enter("/peer", "", "peer");
    // A forger: its certificate names our client, and other.org signed it.
    let forger = Agent::started().await;
    forger.registry.trust(forger.authority.name(), agent.authority.bundle());
    forger.registry.enter(
        &[crate::workload::own_user()],
        Authority::under(&other.authority, "example.org").issue("/client", "", "c"),
    );
    agent.registry.trust(other.authority.name(), other.authority.bundle());
    let peer = Way {
        name: "peer",
        client: "spiffe://other.org/peer",
        client_agent: other.socket(),
        admitted: "spiffe://other.org/peer",
        believed: "ALL",
        ..Way::usual(&agent)
    };
    let forged = Way { name: "forged", client_agent: forger.socket(), believed: "ALL", ..Way::usual(&agent) };
    let Some(mesh) = Mesh::start(&agent, &[peer, forged]).await else { return };
    assert!(mesh.passes("peer").await);
    assert!(!mesh.passes("forged").await);
    agent.registry.trust("other.org", Vec::new());
    mesh.until("peer", false).await;
}
