//! Revocation lists that reach Envoy with the authorities.

use crate::mesh::{Mesh, Way};
use crate::workload::Agent;

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
