//! Which expressions may stand in a policy, and of which types their parts are: everything that can be wrong with one is
//! found before any machine is asked. Evaluates nothing.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue};

use crate::facts::read::suggestion;
use crate::facts::{FactId, Shape};
use crate::value::ValueType;

/// Deepest nesting that is followed; what is deeper is refused before.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum One {
    Bool,
    Int,
    Text,
    /// A version: its four components.
    Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    One(One),
    List(One),
}

const BOOL: Type = Type::One(One::Bool);
const INT: Type = Type::One(One::Int);
const TEXT: Type = Type::One(One::Text);

/// The facts that the expression speaks of, if it is one that a policy may hold and is true or false.
pub(super) fn checked(expression: &IdedExpr) -> Result<BTreeSet<FactId>, String> {
    flat(expression)?;
    let mut facts = BTreeSet::new();
    match type_of(&expression.expr, &mut facts)? {
        _ if facts.is_empty() => Err("it speaks of no fact".to_owned()),
        BOOL => Ok(facts),
        other => Err(format!("it is {}, expected true or false", words(other))),
    }
}

/// Whether nothing is nested deeper than the limit; without recursion, as nobody knows yet how deep it is.
fn flat(expression: &IdedExpr) -> Result<(), String> {
    let mut open = vec![(expression, 0_usize)];
    while let Some((part, depth)) = open.pop() {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested deeper than {DEPTH_MAX}"));
        }
        match &part.expr {
            Expr::Call(call) => {
                open.extend(call.target.iter().map(|target| (&**target, depth + 1)));
                open.extend(call.args.iter().map(|argument| (argument, depth + 1)));
            }
            Expr::List(list) => open.extend(list.elements.iter().map(|element| (element, depth + 1))),
            Expr::Ident(_) | Expr::Literal(_) => {}
            Expr::Select(_) => return Err("a fact is named by facts[\"…\"]".to_owned()),
            Expr::Comprehension(_) => return Err("loops (all, exists, map, filter) are not for policies".to_owned()),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => return Err("maps are not for policies".to_owned()),
        }
    }
    Ok(())
}

fn type_of(part: &Expr, facts: &mut BTreeSet<FactId>) -> Result<Type, String> {
    match part {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => Ok(BOOL),
            LiteralValue::Int(_) => Ok(INT),
            LiteralValue::String(_) => Ok(TEXT),
            LiteralValue::UInt(_) => Err("write whole numbers without u".to_owned()),
            LiteralValue::Bytes(_) | LiteralValue::Double(_) | LiteralValue::Null => {
                Err("only true, false, whole numbers and texts may stand there".to_owned())
            }
        },
        Expr::List(list) => {
            let mut of = None;
            for element in &list.elements {
                match (type_of(&element.expr, facts)?, of) {
                    (Type::One(one), None) => of = Some(one),
                    (Type::One(one), Some(other)) if one == other => {}
                    _ => return Err("a list holds values of one type".to_owned()),
                }
            }
            of.map(Type::List).ok_or_else(|| "an empty list says nothing".to_owned())
        }
        Expr::Call(call) => called(call, facts),
        Expr::Ident(name) if name == "facts" => Err("a fact is named by facts[\"…\"]".to_owned()),
        Expr::Ident(name) => Err(format!("unknown name {name:?}; a fact is named by facts[\"…\"]")),
        Expr::Select(_) | Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
            Err("it is of a form that is not for policies".to_owned())
        }
    }
}

fn called(call: &CallExpr, facts: &mut BTreeSet<FactId>) -> Result<Type, String> {
    let name = call.func_name.as_str();
    let parts: Vec<&Expr> =
        call.target.iter().map(|target| &target.expr).chain(call.args.iter().map(|a| &a.expr)).collect();
    if let ("_[_]", [Expr::Ident(variable), key]) = (name, parts.as_slice())
        && variable == "facts"
    {
        return fact(key, facts);
    }
    let mut types = Vec::with_capacity(parts.len());
    for part in parts {
        types.push(type_of(part, facts)?);
    }
    let wrong = || {
        let found: Vec<String> = types.iter().map(|one| words(*one)).collect();
        format!("{:?} of {} makes no sense", spelt(name), found.join(" and "))
    };
    match (name, types.as_slice()) {
        ("_&&_" | "_||_", [BOOL, BOOL]) | ("!_", [BOOL]) => Ok(BOOL),
        ("_==_" | "_!=_", [a, b]) if a == b || both_versions(*a, *b) => Ok(BOOL),
        ("_<_" | "_<=_" | "_>_" | "_>=_", [INT, INT]) => Ok(BOOL),
        ("@in", [Type::One(one), Type::List(of)]) if one == of => Ok(BOOL),
        ("_?_:_", [BOOL, a, b]) if a == b => Ok(*a),
        ("_[_]", [Type::One(One::Version), INT]) => Ok(INT),
        ("_[_]", [Type::List(of), INT]) => Ok(Type::One(*of)),
        ("-_", [INT]) | ("size", [TEXT | Type::List(_)]) => Ok(INT),
        ("contains" | "startsWith" | "endsWith", [TEXT, TEXT]) => Ok(BOOL),
        (
            "_&&_" | "_||_" | "!_" | "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "@in" | "_?_:_" | "_[_]"
            | "-_" | "size" | "contains" | "startsWith" | "endsWith",
            _,
        ) => Err(wrong()),
        _ => Err(format!("{:?} is not for policies", spelt(name))),
    }
}

const fn both_versions(a: Type, b: Type) -> bool {
    matches!((a, b), (Type::One(One::Version), Type::List(One::Int)) | (Type::List(One::Int), Type::One(One::Version)))
}

fn fact(key: &Expr, facts: &mut BTreeSet<FactId>) -> Result<Type, String> {
    let Expr::Literal(LiteralValue::String(name)) = key else {
        return Err("the name of a fact is written out: facts[\"tpm.class\"]".to_owned());
    };
    let name = name.inner();
    let id = FactId::parse(name).ok_or_else(|| format!("unknown fact {name:?}: {}", suggestion(name)))?;
    facts.insert(id);
    let definition = id.definition();
    let one = match definition.value_type {
        ValueType::Bool => One::Bool,
        ValueType::Integer | ValueType::Bits => One::Int,
        ValueType::Version => One::Version,
        ValueType::Text | ValueType::Digest | ValueType::Labelled => One::Text,
    };
    Ok(match definition.shape {
        Shape::One => Type::One(one),
        Shape::Set | Shape::List => Type::List(one),
    })
}

fn words(of: Type) -> String {
    let word = |one| match one {
        One::Bool => "true or false",
        One::Int => "a whole number",
        One::Text => "a text",
        One::Version => "a version",
    };
    match of {
        Type::One(one) => word(one).to_owned(),
        Type::List(one) => format!("a list of: {}", word(one)),
    }
}

/// The operator as it is written.
fn spelt(name: &str) -> &str {
    let bare = name.trim_matches(|c| matches!(c, '_' | '@'));
    if bare.is_empty() { name } else { bare }
}
