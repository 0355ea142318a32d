//! `holdfast.admin.v1.JwtAuthorities`: the keys that sign JWT-SVIDs.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::jwt_authorities_server::JwtAuthorities;
use crate::authority::life::Command;
use crate::clock;
use crate::store::JwtAuthority;

#[tonic::async_trait]
impl JwtAuthorities for Admin {
    async fn show(
        &self,
        _: Request<admin::ShowJwtAuthoritiesRequest>,
    ) -> Result<Response<admin::ShowJwtAuthoritiesResponse>, Status> {
        let all = self.store.jwt_authorities().await.map_err(Refusal::from)?;
        let authorities = all.iter().map(|authority| self.jwt_authority(authority)).collect();
        Ok(Response::new(admin::ShowJwtAuthoritiesResponse { authorities }))
    }

    async fn act(
        &self,
        request: Request<admin::ActOnJwtAuthorityRequest>,
    ) -> Result<Response<admin::JwtAuthority>, Status> {
        use admin::act_on_jwt_authority_request::Act;
        let by = actor(&request, "jwt_authority.act")?;
        let (store, now) = (self.store.as_ref(), clock::now());
        let (id, command) = match request.into_inner().act {
            Some(Act::Prepare(_)) => {
                let id = self.tokens.prepare(store, by, now).await.map_err(Refusal::from)?;
                return self.jwt_authority_now(id).await;
            }
            Some(Act::Activate(id)) => (id, Command::Activate),
            Some(Act::Taint(id)) => (id, Command::Taint),
            Some(Act::Revoke(id)) => (id, Command::Revoke),
            None => return Err(argument("act", "is required").into()),
        };
        self.tokens.act(store, &id, command, by, now).await.map_err(Refusal::from)?;
        self.jwt_authority_now(id).await
    }
}

impl Admin {
    /// The authority as it is now; its ID alone if it is gone.
    async fn jwt_authority_now(&self, id: String) -> Result<Response<admin::JwtAuthority>, Status> {
        let all = self.store.jwt_authorities().await.map_err(Refusal::from)?;
        let found = all.iter().find(|authority| authority.authority_id == id);
        let gone = || admin::JwtAuthority {
            authority_id: id.clone(),
            stage: "revoked".to_owned(),
            ..admin::JwtAuthority::default()
        };
        Ok(Response::new(found.map_or_else(gone, |authority| self.jwt_authority(authority))))
    }

    pub(super) fn jwt_authority(&self, authority: &JwtAuthority) -> admin::JwtAuthority {
        let life = &authority.life;
        admin::JwtAuthority {
            authority_id: authority.authority_id.clone(),
            spki: authority.key.spki(),
            stage: life.stage.as_str().to_owned(),
            prepared_at: life.prepared_at.seconds(),
            activated_at: life.activated_at.map_or(0, |at| at.seconds()),
            expires_at: life.ends.seconds(),
            used_until: life.used_until.seconds(),
            here: self.tokens.holds(authority),
        }
    }
}
