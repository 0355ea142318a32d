//! `holdfast.admin.v1.X509Authorities`: the lives of intermediates, and the roots above them.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::x509_authorities_server::X509Authorities;
use crate::authority::{KeyId, end_of};
use crate::clock;
use crate::store::{AuthorityMark, X509Authority};

#[tonic::async_trait]
impl X509Authorities for Admin {
    async fn show(
        &self,
        _: Request<admin::ShowX509AuthoritiesRequest>,
    ) -> Result<Response<admin::X509AuthoritiesState>, Status> {
        Ok(Response::new(self.x509_state().await?))
    }

    async fn act(
        &self,
        request: Request<admin::ActOnX509AuthorityRequest>,
    ) -> Result<Response<admin::X509AuthoritiesState>, Status> {
        use admin::act_on_x509_authority_request::Act;
        let (by, now) = (actor(&request, "x509.act")?, clock::now());
        let (store, authority) = (self.store.as_ref(), &self.authority);
        let acted = match request.into_inner().act {
            Some(Act::Prepare(_)) => authority.prepare(store, by, now).await.map(|_| ()),
            Some(Act::Activate(asked)) => {
                authority.activate(store, (&asked.authority_id, asked.early), by, now).await.map(|_| ())
            }
            Some(Act::Taint(id)) => authority.taint(store, &id, by, now).await.map(|_| ()),
            Some(Act::Revoke(id)) => authority.revoke(store, &id, by, now).await.map(|_| ()),
            Some(Act::TaintRoot(id)) => authority.taint_root(store, &id, by, now).await,
            Some(Act::RevokeRoot(id)) => authority.revoke_root(store, &id, by, now).await,
            None => return Err(argument("act", "names no act").into()),
        };
        acted.map_err(Refusal::from)?;
        Ok(Response::new(self.x509_state().await?))
    }
}

impl Admin {
    async fn x509_state(&self) -> Result<admin::X509AuthoritiesState, Refusal> {
        let (state, bundle) = (self.store.x509_authorities().await?, self.store.bundle().await?);
        let mut roots: Vec<_> = bundle
            .authorities
            .iter()
            .filter_map(|root| {
                let key_id = KeyId::of(&root.der)?;
                let mark = state.mark(&key_id).map(word).unwrap_or_default();
                Some(admin::X509Root {
                    subject_key_id: key_id.to_string(),
                    published_at: root.published_at.seconds(),
                    expires_at: end_of(&root.der)?.seconds(),
                    mark: mark.to_owned(),
                    in_bundle: true,
                })
            })
            .collect();
        let gone = state.marks.iter().filter(|mark| mark.is_root && mark.revoked).map(|mark| admin::X509Root {
            subject_key_id: mark.key_id.to_string(),
            published_at: 0,
            expires_at: mark.until.seconds(),
            mark: word(mark).to_owned(),
            in_bundle: false,
        });
        roots.extend(gone);
        let here = |one: &X509Authority| one.server == self.authority.server();
        let authorities = state.authorities.iter().map(|one| admin::X509Authority {
            authority_id: one.id.clone(),
            stage: one.stage().to_owned(),
            upstream_authority_subject_key_id: one.root.to_string(),
            prepared_at: one.life.prepared_at.seconds(),
            activated_at: one.life.activated_at.map_or(0, |at| at.seconds()),
            expires_at: one.life.ends.seconds(),
            used_until: one.life.used_until.seconds(),
            here: here(one),
        });
        Ok(admin::X509AuthoritiesState { authorities: authorities.collect(), roots })
    }
}

const fn word(mark: &AuthorityMark) -> &'static str {
    if mark.revoked { "revoked" } else { "tainted" }
}
