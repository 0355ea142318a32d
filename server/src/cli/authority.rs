//! `authority`: what signs, and its life from preparation to revocation, in SPIRE's words.

use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use holdfast_protocol::admin::act_on_jwt_authority_request::Act;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, authority_x509, show};
use crate::admin_clients::jwt_authorities_client::JwtAuthoritiesClient;

const EXAMPLES: &str = "\
Example, replacing a key that somebody may have seen:
  holdfast-server authority jwt prepare
  holdfast-server authority jwt activate --authority-id NEW
  holdfast-server authority jwt taint --authority-id OLD     agents replace the tokens that they hold
  holdfast-server authority jwt revoke --authority-id OLD    whatever it signed counts no more";

/// What signs, and its life from preparation to revocation
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(subcommand)]
    Jwt(Jwt),
    #[command(subcommand)]
    X509(authority_x509::X509),
}

/// The keys that sign JWT-SVIDs
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Jwt {
    /// Show the keys in the bundle, and which of them signs
    Show,
    /// Draw the next key and publish it
    Prepare,
    /// Sign with a prepared key from now on; the active one becomes old
    Activate(Named),
    /// Have agents replace what an old key signed
    Taint(Named),
    /// Take a tainted key out of the bundle: what it signed counts no more
    Revoke(Named),
}

/// Which authority.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Its ID, as `show` prints it
    // Of a key for tokens it is base64url: one in 64 begins with a hyphen.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub(super) authority_id: String,
}

#[derive(Serialize)]
struct Authority {
    authority_id: String,
    stage: String,
    prepared_at: i64,
    activated_at: i64,
    expires_at: i64,
    used_until: i64,
    here: bool,
}

#[derive(Serialize)]
struct Authorities {
    authorities: Vec<Authority>,
}

impl From<admin::JwtAuthority> for Authority {
    fn from(authority: admin::JwtAuthority) -> Self {
        Self {
            authority_id: authority.authority_id,
            stage: authority.stage,
            prepared_at: authority.prepared_at,
            activated_at: authority.activated_at,
            expires_at: authority.expires_at,
            used_until: authority.used_until,
            here: authority.here,
        }
    }
}

/// Runs `authority`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let command = match command {
        Command::X509(command) => return authority_x509::authority(command, context).await,
        Command::Jwt(command) => command,
    };
    let mut client = JwtAuthoritiesClient::new(connect(context).await?);
    let act = match command {
        Jwt::Show => {
            let answer = answered!(client.show(admin::ShowJwtAuthoritiesRequest {}));
            let authorities = answer.authorities.into_iter().map(Authority::from).collect();
            context.format.print(&Authorities { authorities }, Authorities::text)?;
            return Ok(Outcome::Yes);
        }
        Jwt::Prepare => Act::Prepare(admin::PrepareJwtAuthority {}),
        Jwt::Activate(named) => Act::Activate(named.authority_id),
        Jwt::Taint(named) => Act::Taint(named.authority_id),
        Jwt::Revoke(named) => Act::Revoke(named.authority_id),
    };
    let authority = answered!(client.act(admin::ActOnJwtAuthorityRequest { act: Some(act) }));
    context.format.print(&Authority::from(authority), Authority::text)?;
    Ok(Outcome::Yes)
}

impl Authority {
    fn text(&self) -> String {
        let moment = |seconds| if seconds == 0 { String::new() } else { show::moment(seconds) };
        show::fields(&[
            ("Authority ID", self.authority_id.clone()),
            ("Stage", self.stage.clone()),
            ("Prepared at", moment(self.prepared_at)),
            ("Activated at", moment(self.activated_at)),
            ("Expires at", moment(self.expires_at)),
            ("Signed until", moment(self.used_until)),
        ])
    }
}

impl Authorities {
    fn text(&self) -> String {
        let mut table = show::table(&["Authority ID", "Stage", "Prepared at", "Activated at", "Expires at", "Server"]);
        for one in &self.authorities {
            table.add_row([
                one.authority_id.clone(),
                one.stage.clone(),
                show::moment(one.prepared_at),
                show::moment(one.activated_at),
                show::moment(one.expires_at),
                if one.here { "this one" } else { "another" }.to_owned(),
            ]);
        }
        show::rows(&table, "no JWT authority")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments;

    /// The words of every command below this one that takes `--authority-id`.
    fn verbs(command: &clap::Command, words: &[&str]) -> Vec<String> {
        let takes_it = command.get_arguments().any(|argument| argument.get_long() == Some("authority-id"));
        let below = command.get_subcommands().flat_map(|one| verbs(one, &[words, &[one.get_name()]].concat()));
        takes_it.then(|| words.join(" ")).into_iter().chain(below).collect()
    }

    #[test]
    fn every_verb_takes_an_id_that_begins_with_a_hyphen() {
        let verbs = verbs(&Arguments::command(), &[]);
        let expected = ["jwt activate", "jwt taint", "jwt revoke", "x509 activate", "x509 taint", "x509 revoke"]
            .map(|verb| format!("authority {verb}"));
        assert_eq!(verbs, expected);
        for verb in &verbs {
            for id in ["-Zk3", "--k3", "-", "Zk3-"] {
                let words = [&["holdfast-server"], &verb.split(' ').collect::<Vec<_>>()[..], &["--authority-id", id]];
                let matches = Arguments::command().try_get_matches_from(words.concat());
                let matches = matches.unwrap_or_else(|error| panic!("{verb} --authority-id {id}: {error}"));
                let mut named = &matches;
                while let Some((_, below)) = named.subcommand() {
                    named = below;
                }
                assert_eq!(named.get_one::<String>("authority_id").map(String::as_str), Some(id), "{verb}");
            }
        }
    }
}
