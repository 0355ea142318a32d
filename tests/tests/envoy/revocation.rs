//! Revocation lists that reach Envoy with the authorities.

use tokio::task::block_in_place;

use crate::mesh::{Mesh, Way};
use crate::workload::Agent;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_an_identity_whose_serial_number_is_listed_is_refused() {
    let agent = Agent::started().await;
    agent.enter("/web", "", "web");
    let client = agent.authority.issue("/client", "", "client");
    agent.registry.enter(&[crate::workload::own_user()], client.clone());
    agent.registry.revoke("example.org", agent.authority.lists(&[]));
    let Some(mesh) = Mesh::start(&agent, &[Way::usual(&agent)]).await else { return };
    assert!(mesh.passes("usual").await, "empty lists refuse nobody");
    agent.registry.revoke("example.org", agent.authority.lists(&[client.chain[0].as_slice()]));
    mesh.until("usual", false).await;
    agent.enter("/client", "", "client");
    mesh.until("usual", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn needs_envoy_a_peer_whose_node_was_banned_while_its_agent_was_away_is_refused() {
    // The real server and the real agents: one for each end.
    let mut world = block_in_place(|| {
        let world = World::enrolled(2);
        world.create_entry(0, "web");
        world.create_entry(1, "client");
        world.until_fetched(0);
        world.until_fetched(1);
        world
    });
    let way = Way {
        name: "usual",
        client: "spiffe://lanes.test/client",
        client_agent: world.agents[1].socket(),
        server: "spiffe://lanes.test/web",
        admitted: "spiffe://lanes.test/client",
        believed: "ROOTCA",
        kind: "GRPC",
    };
    let Some(mesh) = Mesh::start_at(&world.agents[0].socket(), world.work.path(), &[way]).await else { return };
    mesh.until("usual", true).await;
    let node = block_in_place(|| {
        let node = world.node_id(1);
        // From now on nobody takes back what Envoy holds for it.
        world.agents[1].daemon().unwrap().kill();
        node
    });
    assert!(mesh.passes("usual").await, "lists that name nobody refuse nobody");
    block_in_place(|| world.server.operator(&["node", "ban", &node, "--reason", "stolen"]).unwrap());
    mesh.until("usual", false).await;
}
