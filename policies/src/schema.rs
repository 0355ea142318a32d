//! `schema`: prints the JSON Schema of a kind of document.

use std::io::Write;

use clap::{Args, ValueEnum};
use holdfast_appraisal::policy::schema::{self, Subject};

use crate::exit::Exit;
use crate::output::json;

/// Flags of `schema`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, for editors that know taplo:\n  holdfast-policy schema > holdfast-policy.schema.json\n  \
                        and as the first line of a policy: #:schema ./holdfast-policy.schema.json"
)]
pub struct Schema {
    /// The kind of document.
    #[arg(value_enum, default_value_t)]
    of: Document,
}

/// Kinds of documents, by their word under `kind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Document {
    /// Policies.
    #[default]
    Policy,
    /// Reference-value files.
    ReferenceValues,
    /// Cases.
    Case,
    /// Files of facts that cases share.
    Facts,
}

impl Schema {
    pub(crate) fn run(&self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let subject = match self.of {
            Document::Policy => Subject::Policy,
            Document::ReferenceValues => Subject::ReferenceValues,
            Document::Case => Subject::Case,
            Document::Facts => Subject::Facts,
        };
        json(out, &schema::schema(subject))?;
        Ok(Exit::Yes)
    }
}
