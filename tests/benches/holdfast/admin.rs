//! The operator's socket, as the command line speaks over it: for rows that need more entries than a command line makes in
//! time.

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast_protocol::admin as wire;
use holdfast_protocol::admin::act_on_jwt_authority_request::Act;
use holdfast_tests::Server;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::admin_stubs::entries_client::EntriesClient;
use crate::admin_stubs::jwt_authorities_client::JwtAuthoritiesClient;

/// Entries under way at the same time while many are made.
const AT_ONCE: usize = 64;

/// An open connection.
#[derive(Clone)]
pub struct Admin(Channel);

impl Admin {
    /// Connects to a server that runs.
    pub async fn connect(server: &Server) -> anyhow::Result<Self> {
        let socket = server.folder().join("admin.sock");
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://holdfast").connect_with_connector(connector).await?;
        Ok(Self(channel))
    }

    /// Makes an entry.
    pub async fn create(&self, entry: wire::Entry) -> anyhow::Result<wire::Entry> {
        let request = wire::CreateEntryRequest { entry: Some(entry) };
        Ok(EntriesClient::new(self.0.clone()).create(request).await.context("entry not made")?.into_inner())
    }

    /// Takes it back.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let request = wire::DeleteEntryRequest { id: id.to_owned() };
        EntriesClient::new(self.0.clone()).delete(request).await.context("entry not deleted")?;
        Ok(())
    }

    /// Does something to a key that signs JWT-SVIDs; how it stands then.
    pub async fn act(&self, act: Act) -> anyhow::Result<wire::JwtAuthority> {
        let request = wire::ActOnJwtAuthorityRequest { act: Some(act) };
        let answer = JwtAuthoritiesClient::new(self.0.clone()).act(request).await;
        Ok(answer.context("nothing done to the authority")?.into_inner())
    }

    /// The key that signs JWT-SVIDs now.
    pub async fn signing(&self) -> anyhow::Result<String> {
        let request = wire::ShowJwtAuthoritiesRequest {};
        let all = JwtAuthoritiesClient::new(self.0.clone()).show(request).await?.into_inner().authorities;
        let active = all.into_iter().find(|one| one.stage == "active").context("no key signs")?;
        Ok(active.authority_id)
    }

    /// Makes many.
    pub async fn fill(&self, entries: impl Iterator<Item = wire::Entry>) -> anyhow::Result<()> {
        let made = futures_util::stream::iter(entries).map(|entry| self.create(entry)).buffer_unordered(AT_ONCE);
        made.try_for_each(|_| async { Ok(()) }).await
    }
}

/// An entry for workloads with `selector` below the node `parent`.
pub fn entry(spiffe_id: &str, parent: &str, selector: &str) -> wire::Entry {
    wire::Entry {
        spiffe_id: spiffe_id.to_owned(),
        parent_id: parent.to_owned(),
        selectors: vec![selector.to_owned()],
        ..wire::Entry::default()
    }
}
