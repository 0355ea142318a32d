//! `exchange`: what came of token exchanges. Texts of foreign tokens are escaped.

use clap::Subcommand;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::exchanges_client::ExchangesClient;

/// Exchanges of other issuers' tokens for JWT-SVIDs
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  holdfast-server exchange list --output json\n\nRules: docs/token-exchange.md")]
pub(super) enum Command {
    /// The last exchanges of genuine tokens, given or refused, newest first: at most 256, since the server started
    List,
}

#[derive(Serialize)]
struct Listed {
    exchanges: Vec<Exchange>,
}

#[derive(Serialize)]
struct Exchange {
    id: String,
    at: i64,
    source: String,
    code: String,
    message: String,
    issuer: String,
    subject: String,
    rule: String,
    differs: Vec<Differs>,
    spiffe_id: String,
}

#[derive(Serialize)]
struct Differs {
    claim: String,
    expected: String,
    found: Option<String>,
}

impl From<admin::SeenExchange> for Exchange {
    fn from(seen: admin::SeenExchange) -> Self {
        let differs = |differs: admin::DifferingClaim| Differs {
            claim: differs.claim,
            expected: differs.expected,
            found: differs.found,
        };
        Self {
            id: seen.id,
            at: seen.at,
            source: seen.source,
            code: seen.code,
            message: seen.message,
            issuer: seen.issuer,
            subject: seen.subject,
            rule: seen.rule,
            differs: seen.differs.into_iter().map(differs).collect(),
            spiffe_id: seen.spiffe_id,
        }
    }
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let Command::List = command;
    let mut client = ExchangesClient::new(connect(context).await?);
    let answer = answered!(client.list(admin::ListExchangesRequest {}));
    let listed = Listed { exchanges: answer.exchanges.into_iter().map(Exchange::from).collect() };
    context.format.print(&listed, Listed::text)?;
    Ok(Outcome::Yes)
}

impl Listed {
    fn text(&self) -> String {
        if self.exchanges.is_empty() {
            return "no token was exchanged since the server started".to_owned();
        }
        self.exchanges.iter().map(Exchange::text).collect()
    }
}

impl Exchange {
    fn text(&self) -> String {
        let outcome = match self.code.is_empty() {
            true => format!("given {}", self.spiffe_id),
            false => format!("refused: {} ({})", show::text(&self.message), self.code),
        };
        let mut text = format!(
            "{}  {}  from {}  rule {}\n  {outcome}\n",
            show::moment(self.at),
            self.id,
            self.source,
            if self.rule.is_empty() { "none" } else { &self.rule }
        );
        for differs in &self.differs {
            let found = differs.found.as_deref().map_or_else(|| "nothing".to_owned(), show::text);
            let Differs { claim, expected, .. } = differs;
            text.push_str(&format!("  {claim}: expected {}, found {found}\n", show::text(expected)));
        }
        text
    }
}
