//! Expressions, as they are run: parsed by the crate `cel`.

use cel::common::ast::{EntryExpr, Expr as Parsed, IdedExpr, operators};
use cel::parser::PrattParser;

use super::MAX_SOURCE;
use super::types::{self, Literal, Node, Part};

/// Of `cel`'s own names for operators.
pub(super) mod op {
    pub use cel::common::ast::operators::*;
}

#[derive(Clone, Debug)]
pub(super) enum Expr {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Ident(String),
    Type(&'static str),
    Select {
        of: Box<Expr>,
        field: String,
        test: bool,
    },
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Items; those that are optional stand only where they have a value.
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    Fold(Box<Fold>),
}

/// A loop over a list or the keys of a map: what `all`, `exists`, `map` and `filter` are made of.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub range: Expr,
    pub item: String,
    /// The value that goes with `item`, which is then an index or a key.
    pub value: Option<String>,
    pub result: String,
    pub start: Expr,
    pub goes_on: Expr,
    pub step: Step,
    pub end: Expr,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The result is this.
    Is(Expr),
    /// This is added to the result, a list or a map, where the condition holds: in place, not by copying it.
    Adds { condition: Option<Expr>, added: Added },
}

#[derive(Clone, Debug)]
pub(super) enum Added {
    Item(Expr),
    Entry(Expr, Expr),
    /// Those of a map.
    Entries(Expr),
}

/// Types whose names have several parts.
const TYPES: [&str; 9] = [
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "kubernetes.NamedFormat",
    "kubernetes.Quantity",
    "kubernetes.Semver",
    "kubernetes.URL",
    "net.CIDR",
    "net.IP",
    "optional_type",
];

/// Brackets in brackets.
const MAX_NESTING: u16 = 64;

/// Operators on operators, which may be in a row: `1 + 1 + 1`.
const MAX_DEPTH: usize = 200;

const MAX_NODES: usize = 5_000;

/// # Errors
/// What is no expression, or one that is too long or too deep.
pub(super) fn parse(source: &str) -> Result<IdedExpr, String> {
    if source.len() > MAX_SOURCE {
        return Err("the expression is too long".to_owned());
    }
    let parsed = parser().parse(source).map_err(|errors| {
        let lines: Vec<&str> = source.split('\n').collect();
        let shown = errors.errors.iter().map(|error| {
            let from_0 = |n: isize| usize::try_from(n - 1).unwrap_or_default();
            let (line, column) = (from_0(error.pos.0), from_0(error.pos.1));
            let what = error.msg.replace("expecting expression", EXPRESSION);
            let text = lines.get(line).copied().unwrap_or_default();
            match source.is_empty() {
                // There is no line to show, and no first letter.
                true => format!("ERROR: <input>:1:0: {what}"),
                false => types::one(line, column, text, &extraneous(what, text, column)),
            }
        });
        shown.collect::<Vec<_>>().join("\n")
    })?;
    if is_deeper(&parsed, MAX_DEPTH) {
        return Err("the expression is nested too deep".to_owned());
    }
    Ok(parsed)
}

/// One word too many, and nothing behind it, has a name of its own in CEL's grammar.
fn extraneous(what: String, line: &str, column: usize) -> String {
    let word = what.strip_prefix("Syntax error: mismatched input '");
    let Some(word) = word.and_then(|rest| rest.strip_suffix("' expecting <EOF>")) else { return what };
    let rest: String = line.chars().skip(column).collect();
    match rest.strip_prefix(word).is_some_and(|behind| behind.trim().is_empty()) {
        true => what.replacen("mismatched", "extraneous", 1),
        false => what,
    }
}

/// What an expression may begin with, as CEL's own grammar lists it.
const EXPRESSION: &str = "expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, \
                          NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// Not the crate's other parser, of which a dozen parentheses take megabytes of the stack.
fn parser() -> PrattParser {
    let parser = PrattParser::new().enable_optional_syntax(true).max_recursion_depth(MAX_NESTING);
    parser.max_expression_node_count(MAX_NODES)
}

/// Where in the source, in bytes, the parts of its tree begin, by their ids. The parser tells it with errors only, so that
/// it is made to see one: behind the end, where it has numbered all parts as it does without.
pub(super) fn places(source: &str) -> impl Fn(u64) -> Option<usize> {
    let errors =
        parser().parse(&format!("{source}\n)")).err().map(|errors| errors.errors).unwrap_or_default();
    let info = errors.into_iter().find_map(|error| error.source_info);
    move |id| Some(info.as_ref()?.offset_for(id)?.0 as usize)
}

/// Makes ready to run what was not checked, or was checked when it was written.
///
/// # Errors
/// What is no expression.
pub(super) fn compile(source: &str) -> Result<Expr, String> {
    types::written_out(source).map(convert)
}

/// Walks without the stack, which is what is to be spared.
fn is_deeper(parsed: &IdedExpr, most: usize) -> bool {
    let mut open = vec![(parsed, 0)];
    while let Some((parsed, depth)) = open.pop() {
        if depth > most {
            return true;
        }
        let mut add = |parsed| open.push((parsed, depth + 1));
        match &parsed.expr {
            Parsed::Select(select) => add(&select.operand),
            Parsed::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).for_each(add),
            Parsed::List(list) => list.elements.iter().for_each(add),
            Parsed::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        add(&entry.key);
                        add(&entry.value);
                    }
                }
            }
            Parsed::Comprehension(fold) => {
                let parts =
                    [&fold.iter_range, &fold.accu_init, &fold.loop_cond, &fold.loop_step, &fold.result];
                parts.into_iter().for_each(add);
            }
            Parsed::Unspecified | Parsed::Ident(_) | Parsed::Literal(_) | Parsed::Struct(_) => {}
        }
    }
    false
}

fn convert(node: Node) -> Expr {
    let boxed = |node: Box<Node>| Box::new(convert(*node));
    match node.part {
        Part::Literal(literal) => match literal {
            Literal::Null => Expr::Null,
            Literal::Bool(set) => Expr::Bool(set),
            Literal::Int(number) => Expr::Int(number),
            Literal::Uint(number) => Expr::Uint(number),
            Literal::Double(number) => Expr::Double(number),
            Literal::Text(text) => Expr::Text(text),
            Literal::Bytes(bytes) => Expr::Bytes(bytes),
        },
        Part::Name(name) => Expr::Ident(name),
        Part::Select { of, field, test } => {
            let of = boxed(of);
            let named = of.path().map(|path| format!("{path}.{field}"));
            match named.and_then(|name| TYPES.into_iter().find(|known| *known == name)) {
                Some(name) if !test => Expr::Type(name),
                _ => Expr::Select { of, field, test },
            }
        }
        Part::Call { name, target, args } => {
            Expr::Call { name, target: target.map(boxed), args: args.into_iter().map(convert).collect() }
        }
        Part::List(items) => {
            Expr::List(items.into_iter().map(|(item, optional)| (convert(item), optional)).collect())
        }
        Part::Map(entries) => {
            let entries = entries.into_iter();
            Expr::Map(
                entries.map(|(key, value, optional)| (convert(key), convert(value), optional)).collect(),
            )
        }
        // None that can be run have objects.
        Part::Struct { .. } => Expr::Null,
        Part::Fold(fold) => Expr::Fold(Box::new(Fold {
            range: convert(fold.range),
            item: fold.item,
            value: fold.value,
            start: convert(fold.start),
            goes_on: convert(fold.goes_on),
            step: step(convert(fold.step), &fold.result),
            end: convert(fold.end),
            result: fold.result,
        })),
        Part::OptMap { of, name, body, flat } => Expr::Call {
            name: if flat { "optFlatMap" } else { "optMap" }.to_owned(),
            target: Some(boxed(of)),
            args: vec![Expr::Ident(name), convert(*body)],
        },
    }
}

/// `@result + [x]`, and the same under a condition, add in place; so do entries of maps.
fn step(expr: Expr, result: &str) -> Step {
    let is_result = |expr: &Expr| matches!(expr, Expr::Ident(name) if name == result);
    let added = |expr: &Expr| match expr {
        Expr::Call { name, target: None, args } if name == operators::ADD => match &args[..] {
            [list, Expr::List(items)] if is_result(list) => match &items[..] {
                [(item, false)] => Some(Added::Item(item.clone())),
                _ => None,
            },
            _ => None,
        },
        Expr::Call { name, target: None, args } if name == "cel.@mapInsert" => match &args[..] {
            [map, key, value] if is_result(map) => Some(Added::Entry(key.clone(), value.clone())),
            [map, more] if is_result(map) => Some(Added::Entries(more.clone())),
            _ => None,
        },
        _ => None,
    };
    if let Some(added) = added(&expr) {
        return Step::Adds { condition: None, added };
    }
    if let Expr::Call { name, target: None, args } = &expr
        && name == operators::CONDITIONAL
        && let [condition, then, otherwise] = &args[..]
        && is_result(otherwise)
        && let Some(added) = added(then)
    {
        return Step::Adds { condition: Some(condition.clone()), added };
    }
    Step::Is(expr)
}

impl Expr {
    /// Whether it names a variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.any(&|part| matches!(part, Self::Ident(name) if name == variable))
    }

    /// Whether it reads a field of a variable: `VARIABLE.FIELD`, `VARIABLE.?FIELD`.
    pub fn reads(&self, variable: &str, field: &str) -> bool {
        let is_variable = |part: &Self| matches!(part, Self::Ident(name) if name == variable);
        self.any(&|part| match part {
            Self::Select { of, field: own, .. } => own == field && is_variable(of),
            Self::Call { name, target: None, args } if name == operators::OPT_SELECT => {
                matches!(&args[..], [of, Self::Text(own)] if own == field && is_variable(of))
            }
            _ => false,
        })
    }

    /// `a.b.c`, where it is nothing but names.
    fn path(&self) -> Option<String> {
        match self {
            Self::Ident(name) => Some(name.clone()),
            Self::Select { of, field, test: false } => Some(format!("{}.{field}", of.path()?)),
            _ => None,
        }
    }

    /// Whether a part of it, or the whole, passes the test.
    fn any(&self, test: &dyn Fn(&Self) -> bool) -> bool {
        if test(self) {
            return true;
        }
        match self {
            Self::Select { of, .. } => of.any(test),
            Self::Call { target, args, .. } => {
                target.iter().any(|target| target.any(test)) || args.iter().any(|arg| arg.any(test))
            }
            Self::List(items) => items.iter().any(|(item, _)| item.any(test)),
            Self::Map(entries) => entries.iter().any(|(key, value, _)| key.any(test) || value.any(test)),
            Self::Fold(fold) => {
                let step = match &fold.step {
                    Step::Is(expr) => expr.any(test),
                    Step::Adds { condition, added } => {
                        let parts = match added {
                            Added::Item(one) | Added::Entries(one) => [Some(one), None],
                            Added::Entry(key, value) => [Some(key), Some(value)],
                        };
                        condition.iter().chain(parts.into_iter().flatten()).any(|expr| expr.any(test))
                    }
                };
                step || [&fold.range, &fold.start, &fold.goes_on, &fold.end].iter().any(|expr| expr.any(test))
            }
            _ => false,
        }
    }
}
