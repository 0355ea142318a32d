//! The real agent asked for tokens, and about tokens of strangers: rows on JWT-SVIDs.

use std::collections::BTreeMap;

use holdfast_agent::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use holdfast_protocol::workload::{JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::place::{PATIENCE, Place};
use crate::stranger::{AUDIENCE, Stranger};
use crate::workload::with_header;

/// The place's agent, over one connection.
pub(crate) struct Court<'a> {
    place: &'a Place,
    client: SpiffeWorkloadApiClient<Channel>,
}

impl<'a> Court<'a> {
    /// The callers have no identity yet.
    pub(crate) async fn open(place: &'a Place) -> Self {
        Self { place, client: place.client().await }
    }

    /// The server believes `strangers`, and one entry of this user's federates with them. Waits until the agent does.
    pub(crate) async fn believing(place: &'a Place, id: &str, strangers: &[&Stranger]) -> Self {
        let mut court = Self::open(place).await;
        for stranger in strangers {
            court.publish(stranger.name, &stranger.token_keys());
        }
        let names: Vec<_> = strangers.iter().flat_map(|stranger| ["--federates-with", stranger.name]).collect();
        place.enter(id, &names);
        place.fetch(&[id]).await;
        for stranger in strangers {
            court.until_keys(stranger.name, &ids(&stranger.token_keys())).await;
        }
        court
    }

    /// Gives the server the bundle of `domain`.
    pub(crate) fn publish(&self, domain: &str, keys: &[Value]) {
        let file = self.place.work.path().join("stranger.json");
        std::fs::write(&file, json!({ "keys": keys }).to_string()).unwrap();
        self.place.server.operator(&["bundle", "set", "--id", domain, "--path", &file.display().to_string()]).unwrap();
    }

    /// Waits until the agent hands out exactly these keys of `domain`; none if it hands out no bundle of it.
    pub(crate) async fn until_keys(&mut self, domain: &str, expected: &[String]) {
        let begun = std::time::Instant::now();
        loop {
            let found = self.bundles().await;
            let held = found.as_ref().ok().and_then(|all| all.get(&format!("spiffe://{domain}"))).map(|set| {
                let mut held = ids(set["keys"].as_array().unwrap());
                held.sort_unstable();
                held
            });
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            if held.unwrap_or_default() == expected {
                return;
            }
            assert!(begun.elapsed().as_secs() < PATIENCE, "{expected:?} in {found:?}\n{}", self.place.logs());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits until the agent hands out this authority of `domain` to workloads, and no other.
    pub(crate) async fn until_authority(&self, domain: &str, der: &[u8]) {
        let begun = std::time::Instant::now();
        loop {
            let answer = self.place.stream().await.unwrap().message().await.unwrap().unwrap();
            if answer.federated_bundles.get(&format!("spiffe://{domain}")).is_some_and(|held| held == der) {
                return;
            }
            assert!(begun.elapsed().as_secs() < PATIENCE, "{:?}\n{}", answer.federated_bundles, self.place.logs());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// `FetchJWTSVID`.
    pub(crate) async fn fetch(&mut self, audience: &[&str], spiffe_id: &str) -> Result<JwtsvidResponse, Status> {
        let audience = audience.iter().map(ToString::to_string).collect();
        let request = JwtsvidRequest { audience, spiffe_id: spiffe_id.to_owned() };
        self.client.fetch_jwtsvid(with_header(request)).await.map(tonic::Response::into_inner)
    }

    /// The token of the one identity.
    pub(crate) async fn token(&mut self, audience: &[&str]) -> String {
        let mut answer = self.fetch(audience, "").await.unwrap();
        assert_eq!(answer.svids.len(), 1);
        answer.svids.remove(0).svid
    }

    /// `ValidateJWTSVID`.
    pub(crate) async fn validate(&mut self, audience: &str, svid: &str) -> Result<ValidateJwtsvidResponse, Status> {
        let request = ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() };
        self.client.validate_jwtsvid(with_header(request)).await.map(tonic::Response::into_inner)
    }

    /// The token must verify; whose it is.
    pub(crate) async fn taken(&mut self, token: &str) -> String {
        self.validate(AUDIENCE, token).await.unwrap_or_else(|status| panic!("{token}: {status:?}")).spiffe_id
    }

    /// The token must be refused, and said to be invalid.
    pub(crate) async fn refused(&mut self, token: &str) {
        let status = self.validate(AUDIENCE, token).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{token}: {status:?}");
    }

    /// The first message of `FetchJWTBundles`: key sets by trust domain ID.
    pub(crate) async fn bundles(&mut self) -> Result<BTreeMap<String, Value>, Status> {
        let stream = self.client.fetch_jwt_bundles(with_header(Default::default())).await?;
        let answer = stream.into_inner().message().await?.expect("a message");
        let set = |bytes: Vec<u8>| serde_json::from_slice(&bytes).unwrap();
        Ok(answer.bundles.into_iter().map(|(name, bytes)| (name, set(bytes))).collect())
    }
}

/// The IDs of keys.
pub(crate) fn ids(keys: &[Value]) -> Vec<String> {
    keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}
