//! Site conditions: expressions of CEL over facts, beside a rule's own conditions. A small part of the language, without
//! loops: each part of an expression is evaluated at most once. Anything that goes wrong does not hold.

mod types;

use std::collections::{BTreeSet, HashMap};

use cel::parser::PrattParser;
use cel::{Context, IdedExpr, Value as Found};

use crate::document::{Node, Reader};
use crate::facts::{FactId, Facts, Shape};
use crate::finding::Kind;
use crate::value::Value;

/// Longest expression in bytes.
pub(crate) const SOURCE_BYTES_MAX: usize = 512;
/// Most expressions of one rule or alternative.
pub(crate) const SITES_MAX: usize = 16;
/// Deepest nesting of an expression.
const DEPTH_MAX: u16 = 24;
/// Most parts of an expression.
const NODES_MAX: usize = 256;

/// One expression, checked.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) source: String,
    /// Line in the policy, from 1.
    pub(crate) line: usize,
    /// The facts that it speaks of, at least one; each must be proven.
    pub(crate) facts: BTreeSet<FactId>,
    expression: IdedExpr,
}

/// Why an expression does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SiteProblem {
    /// A fact that it speaks of is not proven.
    NotProven(FactId),
    /// It is false.
    False,
    /// It cannot be evaluated, in words.
    Failed(String),
}

/// Reads the expressions under `cel`.
pub(crate) fn sites(reader: &mut Reader<'_>, node: &Node<'_>) -> Vec<Site> {
    let listed = reader.array(node, "cel").unwrap_or_default();
    if listed.len() > SITES_MAX {
        let message = format!("{} expressions under cel, limit {SITES_MAX}", listed.len());
        reader.add(node.span(), Kind::TooLarge, message, None);
    }
    listed.iter().take(SITES_MAX).filter_map(|node| site(reader, node)).collect()
}

fn site(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Site> {
    let source = reader.string(node, "cel")?;
    let made = compile(source).and_then(|expression| types::checked(&expression).map(|facts| (expression, facts)));
    match made {
        Ok((expression, facts)) => {
            let (line, _) = reader.position(node.span().start);
            Some(Site { source: source.to_owned(), line, facts, expression })
        }
        Err(problem) => {
            let message = format!("{source:?} is no usable condition: {problem}");
            let suggestion = "write such as: 'size(facts[\"tpm.boot.applications\"]) <= 4'; \
                              docs/reference/policy.md says what may stand there";
            reader.add(node.span(), Kind::BadCel, message, Some(suggestion.to_owned()));
            None
        }
    }
}

/// Parses what is short and flat enough.
fn compile(source: &str) -> Result<IdedExpr, String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!("{} bytes, limit {SOURCE_BYTES_MAX}", source.len()));
    }
    // Before anything follows it; a bracket inside a text counts, which no sensible condition notices.
    let mut depth = 0_u16;
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth = depth.saturating_add(1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}"));
        }
    }
    let parser = PrattParser::new().max_recursion_depth(DEPTH_MAX).max_expression_node_count(NODES_MAX);
    let parser = parser.error_recovery_limit(1).error_reporting_limit(1);
    let parsed = parser.parse(source);
    parsed.map_err(|errors| errors.errors.first().map_or_else(|| "it does not parse".to_owned(), |one| one.msg.clone()))
}

impl Site {
    /// Whether it holds of these facts.
    pub(crate) fn holds(&self, facts: &Facts) -> Result<(), SiteProblem> {
        let mut shown: HashMap<String, Found> = HashMap::new();
        for id in &self.facts {
            let fact = facts.get(*id).ok_or(SiteProblem::NotProven(*id))?;
            let failed = || SiteProblem::Failed(format!("{id} has a value that the expression cannot hold"));
            let mut values: Vec<Found> = Vec::with_capacity(fact.values.len());
            for value in &fact.values {
                // A text of which the digest alone is proven is no text: it would satisfy every negation.
                if value.value_type() != id.definition().value_type {
                    return Err(failed());
                }
                values.push(found(value).ok_or_else(failed)?);
            }
            let value = match (id.definition().shape, values.len()) {
                (Shape::One, 1) => values.pop().ok_or_else(failed)?,
                (Shape::One, _) => return Err(failed()),
                (Shape::Set | Shape::List, _) => Found::from(values),
            };
            shown.insert(id.to_string(), value);
        }
        let mut context = Context::default();
        context.add_variable_from_value("facts", shown);
        match context.resolve(&self.expression) {
            Ok(Found::Bool(true)) => Ok(()),
            Ok(Found::Bool(false)) => Err(SiteProblem::False),
            Ok(_) => Err(SiteProblem::Failed("it is neither true nor false".to_owned())),
            Err(error) => Err(SiteProblem::Failed(error.to_string())),
        }
    }
}

/// The value as expressions have it; `None` of a number beyond 63 bits.
fn found(value: &Value) -> Option<Found> {
    Some(match value {
        Value::Bool(truth) => Found::Bool(*truth),
        Value::Integer(number) | Value::Bits(number) => Found::Int(i64::try_from(*number).ok()?),
        Value::Version(version) => Found::from(version.0.map(|part| Found::Int(i64::from(part))).to_vec()),
        Value::Text(text) => Found::from(&**text),
        Value::Digest(_) | Value::Labelled(_) => Found::from(value.to_string()),
    })
}
