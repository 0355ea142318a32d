//! Selectors, `type:value`, as registration entries name them. Knows no attestor.

use std::fmt;
use std::str::FromStr;

/// Longest accepted selector in bytes; SPIRE's data store keeps selectors in columns of 255.
pub const SELECTOR_BYTES_MAX: usize = 1024;

/// One property of a node or workload: `unix:uid:1000` has type `unix` and value `uid:1000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    kind: String,
    value: String,
}

/// Why a text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// There is no `:` or nothing before it.
    #[error("selector has no type: expected \"type:value\"")]
    NoType,
    /// Nothing follows the first `:`.
    #[error("selector has no value: expected \"type:value\"")]
    NoValue,
    /// Longer than [`SELECTOR_BYTES_MAX`].
    #[error("selector is {found} bytes, limit {SELECTOR_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// A control character stands in it.
    #[error("selector contains a control character")]
    ControlCharacter,
}

impl InvalidSelector {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoType => "selector.no_type",
            Self::NoValue => "selector.no_value",
            Self::TooLong { .. } => "selector.too_long",
            Self::ControlCharacter => "selector.control_character",
        }
    }
}

impl Selector {
    /// A selector of `kind` with `value`.
    ///
    /// # Errors
    /// [`InvalidSelector`] as for parsing `kind:value`.
    pub fn new(kind: &str, value: &str) -> Result<Self, InvalidSelector> {
        format!("{kind}:{value}").parse()
    }

    /// The part before the first colon.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The part after the first colon.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        if text.len() > SELECTOR_BYTES_MAX {
            return Err(InvalidSelector::TooLong { found: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidSelector::ControlCharacter);
        }
        let (kind, value) = text.split_once(':').ok_or(InvalidSelector::NoType)?;
        if kind.is_empty() {
            return Err(InvalidSelector::NoType);
        }
        if value.is_empty() {
            return Err(InvalidSelector::NoValue);
        }
        Ok(Self { kind: kind.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_colon_divides_type_from_value() {
        let selector: Selector = "unix:path:/usr/bin/a:b".parse().unwrap();
        assert_eq!((selector.kind(), selector.value()), ("unix", "path:/usr/bin/a:b"));
        assert_eq!(selector.to_string(), "unix:path:/usr/bin/a:b");
    }

    #[test]
    fn half_selectors_are_refused() {
        assert_eq!("unix".parse::<Selector>(), Err(InvalidSelector::NoType));
        assert_eq!(":x".parse::<Selector>(), Err(InvalidSelector::NoType));
        assert_eq!("unix:".parse::<Selector>(), Err(InvalidSelector::NoValue));
        assert_eq!("unix:a\nb".parse::<Selector>(), Err(InvalidSelector::ControlCharacter));
        let long = format!("unix:{}", "x".repeat(SELECTOR_BYTES_MAX));
        assert!(matches!(long.parse::<Selector>(), Err(InvalidSelector::TooLong { .. })));
    }
}
