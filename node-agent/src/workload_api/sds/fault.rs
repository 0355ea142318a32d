//! Why a request for secrets is not answered, and what Envoy learns of it.

use tonic::Status;

use super::super::refusal::Refusal;

/// Names that a status repeats; and the characters of each.
const REPEATED_MAX: (usize, usize) = (8, 256);

/// What ends a call or an open stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// As for the Workload API.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Secrets that are not this workload's, or that nobody has.
    #[error("workload is not authorized for the requested identities [{}]", quoted(.0))]
    Names(Vec<String>),
    /// More names than a stream may ask for.
    #[error("more than {limit} resource names in one subscription")]
    TooMany {
        /// That number.
        limit: usize,
    },
    /// Something else than secrets is asked for.
    #[error("only resources of type {} are served here", super::resource::TYPE_URL)]
    Type,
    /// A plain validation context would let any domain speak for any other.
    #[error("{0:?} holds several trust domains and needs the SPIFFE validator: Envoy 1.18, not switched off")]
    NeedsValidator(String),
}

impl Fault {
    /// Stable code, for logs and metrics.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Names(_) => "sds.names",
            Self::TooMany { .. } => "sds.too_many_names",
            Self::Type => "sds.type",
            Self::NeedsValidator(_) => "sds.needs_validator",
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => refusal.into(),
            Fault::Names(_) | Fault::TooMany { .. } | Fault::Type | Fault::NeedsValidator(_) => {
                Self::invalid_argument(fault.to_string())
            }
        }
    }
}

/// As SPIRE prints a list: in quotes, with spaces between.
fn quoted(names: &[String]) -> String {
    let (names_max, characters_max) = REPEATED_MAX;
    let short = names.iter().take(names_max).map(|name| name.chars().take(characters_max).collect::<String>());
    short.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_are_refused_in_spires_words() {
        let status = Status::from(Fault::Names(vec!["a".to_owned(), "b\"".to_owned()]));
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), r#"workload is not authorized for the requested identities ["a" "b\""]"#);
    }

    #[test]
    fn a_status_stays_short_whatever_was_asked_for() {
        let status = Status::from(Fault::Names(vec!["x".repeat(100_000); 1000]));
        assert!(status.message().len() < 2_300, "{}", status.message().len());
    }
}
