//! What a claim must be: a text, or a text with stars that stay within their segment.
//!
//! Segments are divided by `:` and `/`. A `*` is at least one character of one segment; `**` is the whole rest, and
//! stands at the end alone. Matching takes time in proportion to the text, whatever the pattern.

use std::fmt;
use std::str::FromStr;

/// Bytes of a pattern, and of a text that one may match.
pub(super) const TEXT_BYTES_MAX: usize = 2048;
/// Whole segments before the first star of a pattern for subjects: `repo:acme/…`, not `repo:…`.
pub(super) const WHOLE_SEGMENTS_MIN: usize = 2;

/// What a claim must be.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// What divides it from the one before.
    divider: Option<char>,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Whole(String),
    /// What stands before and behind the star.
    Star(String, String),
    Rest,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    /// Nothing, or too much.
    #[error("expected 1 to {TEXT_BYTES_MAX} bytes without control characters")]
    Length,
    /// Two stars in one segment, or `**` elsewhere than at the end.
    #[error("expected one * in a segment (between : and /), and ** as the last segment alone")]
    Stars,
    /// A star that says nothing.
    #[error("expected more than stars: a value that anything matches is not pinned")]
    Bare,
    /// A subject that begins too openly.
    #[error("expected at least {WHOLE_SEGMENTS_MIN} whole segments before the first *, such as repo:acme/")]
    Open,
}

fn is_divider(c: char) -> bool {
    matches!(c, ':' | '/')
}

/// The segments of a text, each with what divides it from the one before.
fn segments(text: &str) -> impl Iterator<Item = (Option<char>, &str)> {
    let mut rest = Some((None, text));
    std::iter::from_fn(move || {
        let (divider, text) = rest.take()?;
        let Some(at) = text.find(is_divider) else { return Some((divider, text)) };
        let (segment, behind) = text.split_at_checked(at)?;
        let mut characters = behind.chars();
        rest = characters.next().map(|next| (Some(next), characters.as_str()));
        Some((divider, segment))
    })
}

impl Pattern {
    /// Reads a pattern for a subject: it begins with whole segments.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn of_subject(text: &str) -> Result<Self, BadPattern> {
        let pattern: Self = text.parse()?;
        let whole = |segment: &&Segment| matches!(segment.content, Content::Whole(_));
        let before: Vec<_> = pattern.segments.iter().take_while(whole).collect();
        // An empty one pins nothing: `https://*` is everybody's.
        let pinned = before.iter().filter(|segment| segment.content != Content::Whole(String::new())).count();
        let open = before.len() < pattern.segments.len() && pinned < WHOLE_SEGMENTS_MIN;
        if open { Err(BadPattern::Open) } else { Ok(pattern) }
    }

    /// Whether `text` is what it must be.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if text.len() > TEXT_BYTES_MAX {
            return false;
        }
        let mut found = segments(text);
        for wanted in &self.segments {
            let Some((divider, segment)) = found.next() else { return false };
            if divider != wanted.divider {
                return false;
            }
            match &wanted.content {
                Content::Whole(whole) if whole == segment => {}
                Content::Star(before, behind) => {
                    let middle =
                        segment.strip_prefix(before.as_str()).and_then(|rest| rest.strip_suffix(behind.as_str()));
                    if middle.is_none_or(str::is_empty) {
                        return false;
                    }
                }
                Content::Rest => return !segment.is_empty() || found.next().is_some(),
                Content::Whole(_) => return false,
            }
        }
        found.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(BadPattern::Length);
        }
        if text.chars().all(|c| c == '*' || is_divider(c)) {
            return Err(BadPattern::Bare);
        }
        let mut read = Vec::new();
        for (divider, segment) in segments(text) {
            if matches!(read.last(), Some(Segment { content: Content::Rest, .. })) {
                return Err(BadPattern::Stars);
            }
            let content = match segment.split_once('*') {
                None => Content::Whole(segment.to_owned()),
                Some(("", "*")) => Content::Rest,
                Some((_, behind)) if behind.contains('*') => return Err(BadPattern::Stars),
                Some((before, behind)) => Content::Star(before.to_owned(), behind.to_owned()),
            };
            read.push(Segment { divider, content });
        }
        Ok(Self { text: text.to_owned(), segments: read })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(text)
    }

    #[test]
    fn a_text_without_stars_is_itself_and_nothing_else() {
        let main = "repo:acme/app:ref:refs/heads/main";
        assert!(matches(main, main));
        for other in [
            "repo:acme/app:ref:refs/heads/main2",
            "repo:acme/app:ref:refs/heads/mai",
            "",
            "repo:acme/app",
            "Repo:acme/app:ref:refs/heads/main",
        ] {
            assert!(!matches(main, other), "{other}");
        }
        assert!(!matches("a:b", "a/b"), "dividers differ");
    }

    #[test]
    fn a_star_stays_within_its_segment_and_stands_for_something() {
        let release = "repo:acme/app:ref:refs/heads/release-*";
        assert!(matches(release, "repo:acme/app:ref:refs/heads/release-1.2"));
        for other in ["release-", "release-1/2", "release-1:environment", "prerelease-1"] {
            assert!(!matches(release, &format!("repo:acme/app:ref:refs/heads/{other}")), "{other}");
        }
        let any = "repo:acme/*:ref:refs/heads/main";
        assert!(matches(any, "repo:acme/app:ref:refs/heads/main"));
        for other in
            ["repo:acme/:ref:refs/heads/main", "repo:acme/a/b:ref:refs/heads/main", "repo:evil/app:ref:refs/heads/main"]
        {
            assert!(!matches(any, other), "{other}");
        }
        assert!(matches("a*c:x", "abc:x") && !matches("a*c:x", "ac:x"));
    }

    #[test]
    fn two_stars_are_the_rest_whatever_divides_it() {
        assert!(matches("repo:acme/**", "repo:acme/app:pull_request"));
        assert!(matches("repo:acme/**", "repo:acme/a"));
        for other in ["repo:acme/", "repo:acme", "repo:acme2/app"] {
            assert!(!matches("repo:acme/**", other), "{other}");
        }
    }

    #[test]
    fn what_pins_nothing_is_refused() {
        for (text, expected) in [
            ("", BadPattern::Length),
            ("a\n", BadPattern::Length),
            ("*", BadPattern::Bare),
            ("**", BadPattern::Bare),
            ("*:*/**", BadPattern::Bare),
            ("a:**b", BadPattern::Stars),
            ("a:*b*", BadPattern::Stars),
            ("a/**/b", BadPattern::Stars),
            ("a:***", BadPattern::Stars),
        ] {
            assert_eq!(text.parse::<Pattern>(), Err(expected), "{text}");
        }
        assert_eq!("a".repeat(TEXT_BYTES_MAX + 1).parse::<Pattern>(), Err(BadPattern::Length));
    }

    #[test]
    fn a_subject_begins_with_two_whole_segments() {
        for open in
            ["repo:*", "repo:**", "repo:acme*/app", "*:acme/app", "a*", "https://*", "https://**", "a::*", "::a*"]
        {
            assert_eq!(Pattern::of_subject(open), Err(BadPattern::Open), "{open}");
        }
        for pinned in [
            "https://acme.example/*",
            "repo:acme/*:ref:refs/heads/main",
            "system:serviceaccount:ci:*",
            "user",
            "repo:acme/**",
        ] {
            assert!(Pattern::of_subject(pinned).is_ok(), "{pinned}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_stars_matches_exactly_its_text(text in "[a-z:/]{1,20}", other in "[a-z:/]{0,20}") {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.matches(&other), text == other);
                prop_assert!(pattern.matches(&text));
            }
        }
    }
}
