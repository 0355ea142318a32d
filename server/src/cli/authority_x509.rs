//! `authority x509` and `upstreamauthority`: what signs X.509-SVIDs, and its life from preparation to revocation, in SPIRE's
//! words.

use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use holdfast_protocol::admin::act_on_x509_authority_request::Act;
use serde::Serialize;

use super::authority::Named;
use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::x509_authorities_client::X509AuthoritiesClient;

const EXAMPLES: &str = "\
Example, replacing an intermediate whose key somebody may have seen:
  holdfast-server authority x509 prepare
  holdfast-server authority x509 activate --authority-id NEW
  holdfast-server authority x509 taint --authority-id OLD     agents replace the SVIDs that it signed
  holdfast-server authority x509 revoke --authority-id OLD    nodes come in with nothing of its any more";

const UPSTREAM_EXAMPLES: &str = "\
Example, replacing a root, once the upstream authority has another:
  holdfast-server authority x509 prepare
  holdfast-server authority x509 activate --authority-id NEW
  holdfast-server upstreamauthority taint --subject-key-id OLD-ROOT
  holdfast-server upstreamauthority revoke --subject-key-id OLD-ROOT";

/// The intermediates that sign X.509-SVIDs
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum X509 {
    /// Show intermediates and roots, and which of them sign
    Show,
    /// Have the upstream authority sign the next one, and publish its root
    Prepare,
    /// Sign with a prepared one from now on; the active one becomes old
    Activate {
        #[command(flatten)]
        named: Named,
        /// Even if agents that are away have not heard of its root: they will have to enrol anew
        #[arg(long)]
        early: bool,
    },
    /// Have agents replace what an old one signed
    Taint(Named),
    /// Let nothing count any more that a tainted one signed
    Revoke(Named),
}

/// The roots above the intermediates
#[derive(Debug, Subcommand)]
#[command(after_help = UPSTREAM_EXAMPLES)]
pub(super) enum UpstreamCommand {
    /// Have agents replace everything below a root that nothing is signed under any more
    Taint(Root),
    /// Take a tainted root out of the bundle, for good
    Revoke(Root),
}

/// Which root.
#[derive(Debug, Args)]
pub(super) struct Root {
    /// Its subject key identifier, as `authority x509 show` and `openssl x509` print it
    #[arg(long, value_name = "ID")]
    subject_key_id: String,
}

#[derive(Serialize)]
struct State {
    authorities: Vec<Authority>,
    roots: Vec<ShownRoot>,
}

#[derive(Serialize)]
struct Authority {
    authority_id: String,
    stage: String,
    upstream_authority_subject_key_id: String,
    prepared_at: i64,
    activated_at: i64,
    expires_at: i64,
    used_until: i64,
    here: bool,
}

#[derive(Serialize)]
struct ShownRoot {
    subject_key_id: String,
    in_bundle: bool,
    mark: String,
    published_at: i64,
    expires_at: i64,
}

/// Runs `authority x509`.
pub(super) async fn authority(command: X509, context: &Context) -> anyhow::Result<Outcome> {
    let act = match command {
        X509::Show => {
            let mut client = X509AuthoritiesClient::new(connect(context).await?);
            let state = answered!(client.show(admin::ShowX509AuthoritiesRequest {}));
            return print(state, context);
        }
        X509::Prepare => Act::Prepare(admin::PrepareX509Authority {}),
        X509::Activate { named, early } => {
            Act::Activate(admin::ActivateX509Authority { authority_id: named.authority_id, early })
        }
        X509::Taint(named) => Act::Taint(named.authority_id),
        X509::Revoke(named) => Act::Revoke(named.authority_id),
    };
    run(act, context).await
}

/// Runs `upstreamauthority`.
pub(super) async fn upstream(command: UpstreamCommand, context: &Context) -> anyhow::Result<Outcome> {
    let act = match command {
        UpstreamCommand::Taint(root) => Act::TaintRoot(root.subject_key_id),
        UpstreamCommand::Revoke(root) => Act::RevokeRoot(root.subject_key_id),
    };
    run(act, context).await
}

async fn run(act: Act, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = X509AuthoritiesClient::new(connect(context).await?);
    let state = answered!(client.act(admin::ActOnX509AuthorityRequest { act: Some(act) }));
    print(state, context)
}

fn print(state: admin::X509AuthoritiesState, context: &Context) -> anyhow::Result<Outcome> {
    let authorities = state.authorities.into_iter().map(|one| Authority {
        authority_id: one.authority_id,
        stage: one.stage,
        upstream_authority_subject_key_id: one.upstream_authority_subject_key_id,
        prepared_at: one.prepared_at,
        activated_at: one.activated_at,
        expires_at: one.expires_at,
        used_until: one.used_until,
        here: one.here,
    });
    let roots = state.roots.into_iter().map(|root| ShownRoot {
        subject_key_id: root.subject_key_id,
        in_bundle: root.in_bundle,
        mark: root.mark,
        published_at: root.published_at,
        expires_at: root.expires_at,
    });
    let state = State { authorities: authorities.collect(), roots: roots.collect() };
    context.format.print(&state, State::text)?;
    Ok(Outcome::Yes)
}

impl State {
    fn text(&self) -> String {
        let headings = ["Authority ID", "Stage", "Root", "Activated at", "Expires at", "Server"];
        let mut table = show::table(&headings);
        for one in &self.authorities {
            table.add_row([
                one.authority_id.clone(),
                one.stage.clone(),
                one.upstream_authority_subject_key_id.clone(),
                show::moment(one.activated_at),
                show::moment(one.expires_at),
                if one.here { "this one" } else { "another" }.to_owned(),
            ]);
        }
        let mut roots = show::table(&["Root", "In the bundle since", "Expires at", "Mark"]);
        for root in &self.roots {
            let since = if root.in_bundle { show::moment(root.published_at) } else { "gone".to_owned() };
            roots.add_row([root.subject_key_id.clone(), since, show::moment(root.expires_at), root.mark.clone()]);
        }
        format!("{}\n\n{}", show::rows(&table, "no intermediate"), show::rows(&roots, "no root"))
    }
}
