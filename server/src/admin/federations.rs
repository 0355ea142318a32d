//! `holdfast.admin.v1.Federations`: foreign trust domains, where their bundles come from, and bundles that operators bring.

use std::collections::BTreeMap;

use holdfast_identity::TrustDomain;
use holdfast_protocol::admin;
use holdfast_svid::bundle::{self, Bundle, DOCUMENT_BYTES_MAX};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::{Request, Response, Status};

use super::Admin;
use super::entries::{spiffe_id, trust_domain};
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::federations_server::Federations;
use crate::clock;
use crate::federation::EndpointUrl;
use crate::store::{BundleDocument, Endpoint, EndpointProfile, Federation, FederationDraft, FederationRefusal, Named};

#[tonic::async_trait]
impl Federations for Admin {
    async fn create(&self, request: Request<admin::FederationDraft>) -> Result<Response<admin::Federation>, Status> {
        let by = actor(&request, "federation.create")?;
        let draft = self.draft(request.into_inner(), None).await?;
        let created = self.store.create_federation(draft, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(message(created.map_err(Refusal::from)?)))
    }

    async fn get(&self, request: Request<admin::FederationTarget>) -> Result<Response<admin::Federation>, Status> {
        let name = trust_domain("trust_domain", &request.into_inner().trust_domain)?;
        Ok(Response::new(message(self.known(&name).await?)))
    }

    async fn list(
        &self,
        _: Request<admin::ListFederationsRequest>,
    ) -> Result<Response<admin::ListFederationsResponse>, Status> {
        let all = self.store.federations().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListFederationsResponse { federations: all.into_iter().map(message).collect() }))
    }

    async fn update(&self, request: Request<admin::FederationDraft>) -> Result<Response<admin::Federation>, Status> {
        let by = actor(&request, "federation.update")?;
        let request = request.into_inner();
        let before = self.known(&trust_domain("trust_domain", &request.trust_domain)?).await?;
        let draft = self.draft(request, Some(&before)).await?;
        let updated = self.store.update_federation(draft, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(message(updated.map_err(Refusal::from)?)))
    }

    async fn refresh(&self, request: Request<admin::FederationTarget>) -> Result<Response<admin::Federation>, Status> {
        actor(&request, "federation.refresh")?;
        let name = trust_domain("trust_domain", &request.into_inner().trust_domain)?;
        Ok(Response::new(message(self.federator.refresh(&name).await.map_err(Refusal::from)?)))
    }

    async fn delete(
        &self,
        request: Request<admin::DeleteFederationRequest>,
    ) -> Result<Response<admin::Federation>, Status> {
        let by = actor(&request, "federation.delete")?;
        let request = request.into_inner();
        let (name, named) = (trust_domain("trust_domain", &request.trust_domain)?, named(&request.mode)?);
        let deleted = self.store.delete_federation(name, named, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(message(deleted.map_err(Refusal::from)?)))
    }

    async fn set_bundle(
        &self,
        request: Request<admin::SetBundleRequest>,
    ) -> Result<Response<admin::ListFederationsResponse>, Status> {
        let by = actor(&request, "federation.set_bundle")?;
        let request = request.into_inner();
        let brought = if request.format == "map" {
            let map = bundle::read_map(&request.bundle).map_err(Refusal::from)?;
            if map.contains_key(&self.trust_domain) {
                return Err(Refusal::from(FederationRefusal::Own(self.trust_domain.clone())).into());
            }
            let document = |(name, bundle)| written(&name, &bundle).map(|document| (name, document));
            map.into_iter().map(document).collect::<Result<BTreeMap<_, _>, _>>()?
        } else {
            let name = trust_domain("trust_domain", &request.trust_domain)?;
            let document = read(&name, request.bundle, &request.format)?;
            BTreeMap::from([(name, document)])
        };
        let set = self.store.set_federated_bundles(brought, by, clock::now()).await.map_err(Refusal::from)?;
        let federations = set.map_err(Refusal::from)?.into_iter().map(message).collect();
        Ok(Response::new(admin::ListFederationsResponse { federations }))
    }

    async fn delete_bundle(
        &self,
        request: Request<admin::DeleteFederationRequest>,
    ) -> Result<Response<admin::Federation>, Status> {
        let name = trust_domain("trust_domain", &request.get_ref().trust_domain)?;
        if self.known(&name).await?.endpoint.is_some() {
            return Err(Refusal::from(FederationRefusal::HasEndpoint(name)).into());
        }
        self.delete(request).await
    }
}

impl Admin {
    async fn known(&self, name: &TrustDomain) -> Result<Federation, Refusal> {
        let found = self.store.federation(name.clone()).await?;
        Ok(found.ok_or_else(|| FederationRefusal::Unknown(name.clone()))?)
    }

    /// What an operator writes, checked. `before` is what there was of it.
    async fn draft(
        &self,
        draft: admin::FederationDraft,
        before: Option<&Federation>,
    ) -> Result<FederationDraft, Refusal> {
        let name = trust_domain("trust_domain", &draft.trust_domain)?;
        let url: EndpointUrl = draft
            .url
            .parse()
            .map_err(|bad: crate::federation::BadUrl| argument("bundle_endpoint_url", bad.to_string()))?;
        let id = spiffe_id("endpoint_spiffe_id", &draft.endpoint_spiffe_id)?;
        let profile = match (draft.profile.as_str(), id) {
            ("https_web", None) => EndpointProfile::HttpsWeb,
            ("https_web", Some(_)) => {
                return Err(argument("endpoint_spiffe_id", "is of the profile https_spiffe alone"));
            }
            ("https_spiffe", Some(id)) if id.trust_domain() == self.trust_domain && id.is_reserved() => {
                return Err(argument(
                    "endpoint_spiffe_id",
                    "is this server's or a node's: neither shows a foreign bundle",
                ));
            }
            ("https_spiffe", Some(id)) if !id.path().is_empty() => EndpointProfile::HttpsSpiffe(id),
            ("https_spiffe", Some(_)) => {
                return Err(argument("endpoint_spiffe_id", "has no path: it names a trust domain, and no endpoint"));
            }
            ("https_spiffe", None) => {
                return Err(argument("endpoint_spiffe_id", "is missing: the profile https_spiffe needs it"));
            }
            _ => return Err(argument("bundle_endpoint_profile", "expected https_web or https_spiffe")),
        };
        let bundle = match draft.bundle.is_empty() {
            true => None,
            false => Some(read(&name, draft.bundle, &draft.bundle_format)?),
        };
        let has_bundle = bundle.is_some() || before.is_some_and(|before| before.bundle.is_some());
        if let EndpointProfile::HttpsSpiffe(id) = &profile {
            self.check_known_by(&name, &id.trust_domain(), has_bundle).await?;
        }
        Ok(FederationDraft { trust_domain: name, endpoint: Endpoint { url: url.to_string(), profile }, bundle })
    }

    /// An endpoint that shows an SVID is known by the bundle of that SVID's trust domain, which must be here before.
    async fn check_known_by(&self, name: &TrustDomain, of: &TrustDomain, has_bundle: bool) -> Result<(), Refusal> {
        let known = if of == name {
            // One that was brought before counts for a federation that is new, too.
            has_bundle || self.store.federation(name.clone()).await?.is_some_and(|found| found.bundle.is_some())
        } else {
            *of == self.trust_domain
                || self.store.federation(of.clone()).await?.is_some_and(|found| found.bundle.is_some())
        };
        if known {
            return Ok(());
        }
        Err(argument(
            "trust_domain_bundle_path",
            format!("is missing: without a bundle of {of} nobody knows whether the endpoint is the right one"),
        ))
    }
}

/// Reads what an operator brings, as a document.
fn read(name: &TrustDomain, bytes: Vec<u8>, format: &str) -> Result<BundleDocument, Refusal> {
    match format {
        "" | "spiffe" => {
            let bundle = Bundle::read(name, &bytes)?;
            Ok(document(&bundle, bytes))
        }
        "pem" => {
            if bytes.len() > DOCUMENT_BYTES_MAX {
                return Err(argument("bundle", format!("{} bytes, limit {DOCUMENT_BYTES_MAX}", bytes.len())));
            }
            let certificates = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>();
            let certificates = certificates.map_err(|bad| argument("bundle", format!("is no PEM: {bad}")))?;
            if certificates.is_empty() {
                return Err(argument("bundle", "holds no PEM certificate"));
            }
            let mut x509_authorities: Vec<Vec<u8>> = Vec::new();
            for der in certificates.iter().map(|der| der.to_vec()) {
                if !x509_authorities.contains(&der) {
                    x509_authorities.push(der);
                }
            }
            written(name, &Bundle { x509_authorities, ..Bundle::default() })
        }
        _ => Err(argument("format", "expected spiffe, pem or map")),
    }
}

/// The document of a bundle that came in another form, by the same rules as any other; nothing may be lost in it.
fn written(name: &TrustDomain, bundle: &Bundle) -> Result<BundleDocument, Refusal> {
    let text = bundle.to_json();
    if Bundle::read(name, text.as_bytes())? != *bundle {
        return Err(argument("bundle", format!("of {name} has a key of a kind that no document can hold")));
    }
    Ok(document(bundle, text.into_bytes()))
}

fn document(bundle: &Bundle, bytes: Vec<u8>) -> BundleDocument {
    BundleDocument { bytes, sequence: bundle.sequence }
}

fn named(mode: &str) -> Result<Named, Refusal> {
    match mode {
        "" | "restrict" => Ok(Named::Restrict),
        "dissociate" => Ok(Named::Dissociate),
        _ => Err(argument("mode", "expected restrict or dissociate")),
    }
}

fn message(federation: Federation) -> admin::Federation {
    let seconds = |at: Option<holdfast_identity::UnixTime>| at.map_or(0, holdfast_identity::UnixTime::seconds);
    let at = seconds(federation.bundle_at);
    let name = federation.trust_domain;
    let bundle = federation.bundle.map(|document| {
        let read = Bundle::read(&name, &document.bytes).unwrap_or_default();
        admin::ForeignBundle {
            sequence: document.sequence,
            document: document.bytes,
            at,
            x509_authorities: read.x509_authorities,
            jwt_key_ids: read.jwt_authorities.into_iter().filter_map(|key| key.key_id).collect(),
        }
    });
    let (url, profile, id) = match federation.endpoint {
        None => (String::new(), "", String::new()),
        Some(Endpoint { url, profile }) => {
            let id = profile.endpoint_spiffe_id().map(ToString::to_string).unwrap_or_default();
            (url, profile.as_str(), id)
        }
    };
    admin::Federation {
        trust_domain: name.to_string(),
        profile: profile.to_owned(),
        url,
        endpoint_spiffe_id: id,
        bundle,
        created_at: federation.created_at.seconds(),
        last_success: seconds(federation.last_success),
        last_failure: seconds(federation.last_failure),
        last_error: federation.last_error,
        failures: federation.failures,
        next_refresh: federation.next_refresh.seconds(),
    }
}
