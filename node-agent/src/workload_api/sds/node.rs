//! What Envoy says of itself, as far as it decides how its peers are to be validated. Nobody proves it, and nothing is
//! earned by it: the answer holds the same authorities either way.

use holdfast_protocol::sds::envoy::config::core::v3::Node;
use holdfast_protocol::sds::envoy::config::core::v3::node::UserAgentVersionType;
use prost_types::value::Kind;

use super::names::Names;

/// Node metadata that go before the agent's configuration; SPIRE's word.
const DISABLE: &str = "disable_spiffe_cert_validation";
/// The first Envoy that has the SPIFFE validator.
const VALIDATOR_SINCE: (u32, u32) = (1, 18);

/// How a peer's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validator {
    /// By `envoy.tls.cert_validator.spiffe`: each trust domain by its own authorities.
    Spiffe,
    /// By a plain list of authorities, of one trust domain.
    Plain,
}

impl Validator {
    /// For `node`; a client that names no version of Envoy gets what every TLS library understands.
    pub(super) fn of(node: Option<&Node>, names: &Names) -> Self {
        let Some(node) = node else { return Self::Plain };
        let disabled = metadata(node).unwrap_or(names.disable_spiffe_cert_validation);
        if disabled || version(node).is_none_or(|version| version < VALIDATOR_SINCE) {
            return Self::Plain;
        }
        Self::Spiffe
    }
}

fn version(node: &Node) -> Option<(u32, u32)> {
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            build.version.map(|version| (version.major_number, version.minor_number))
        }
        Some(UserAgentVersionType::UserAgentVersion(_)) | None => None,
    }
}

/// What the metadata say; nothing where it is no truth value in the words that SPIRE takes for one.
fn metadata(node: &Node) -> Option<bool> {
    match node.metadata.as_ref()?.fields.get(DISABLE)?.kind.as_ref()? {
        Kind::BoolValue(flag) => Some(*flag),
        Kind::StringValue(text) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
            _ => None,
        },
        Kind::NullValue(_) | Kind::NumberValue(_) | Kind::StructValue(_) | Kind::ListValue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_protocol::sds::envoy::config::core::v3::BuildVersion;
    use holdfast_protocol::sds::envoy::r#type::v3::SemanticVersion;

    fn envoy(major: u32, minor: u32, metadata: Option<Kind>) -> Node {
        let version = SemanticVersion { major_number: major, minor_number: minor, patch: 0 };
        let build = BuildVersion { version: Some(version) };
        let fields = metadata.map(|kind| (DISABLE.to_owned(), prost_types::Value { kind: Some(kind) }));
        Node {
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            metadata: fields.map(|field| prost_types::Struct { fields: [field].into() }),
            ..Node::default()
        }
    }

    fn of(node: &Node, disabled: bool) -> Validator {
        Validator::of(Some(node), &Names { disable_spiffe_cert_validation: disabled, ..Names::default() })
    }

    #[test]
    fn an_envoy_that_knows_the_spiffe_validator_gets_it() {
        for (major, minor, validator) in [
            (1, 17, Validator::Plain),
            (1, 18, Validator::Spiffe),
            (1, 40, Validator::Spiffe),
            (2, 0, Validator::Spiffe),
            (0, 99, Validator::Plain),
        ] {
            assert_eq!(of(&envoy(major, minor, None), false), validator, "{major}.{minor}");
        }
        assert_eq!(Validator::of(None, &Names::default()), Validator::Plain);
        assert_eq!(of(&Node::default(), false), Validator::Plain);
    }

    #[test]
    fn the_configuration_switches_it_off_and_metadata_go_before() {
        assert_eq!(of(&envoy(1, 40, None), true), Validator::Plain);
        let text = |text: &str| Some(Kind::StringValue(text.to_owned()));
        for (metadata, disabled, validator) in [
            (Some(Kind::BoolValue(true)), false, Validator::Plain),
            (Some(Kind::BoolValue(false)), true, Validator::Spiffe),
            (text("true"), false, Validator::Plain),
            (text("0"), true, Validator::Spiffe),
            (text("yes"), true, Validator::Plain),
            (text("yes"), false, Validator::Spiffe),
            (Some(Kind::NumberValue(1.0)), false, Validator::Spiffe),
        ] {
            assert_eq!(of(&envoy(1, 40, metadata.clone()), disabled), validator, "{metadata:?}, {disabled}");
        }
    }
}
