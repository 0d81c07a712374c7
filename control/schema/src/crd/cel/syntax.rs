//! Expressions, as they are run: parsed by the crate `cel`, and checked as far as that is possible without types.

use cel::common::ast::{EntryExpr, Expr as Parsed, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;
use serde_json::Value as Json;

use super::MAX_SOURCE;
use super::value::unescape;

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
    /// This is added to the result, a list, where the condition holds: in place, not by copying the list.
    Appends { condition: Option<Expr>, item: Expr },
}

/// Brackets in brackets.
const MAX_NESTING: u16 = 64;

/// Operators on operators, which may be in a row: `1 + 1 + 1`.
const MAX_DEPTH: usize = 200;

const MAX_NODES: usize = 5_000;

/// # Errors
/// What is no expression, or names what there is not, in the original's words where they are known.
pub(super) fn compile(source: &str, schema: &Json, variables: &[&str]) -> Result<Expr, String> {
    if source.len() > MAX_SOURCE {
        return Err("compilation failed: the expression is too long".to_owned());
    }
    // Not the crate's other parser, of which a dozen parentheses take megabytes of the stack.
    let parser = PrattParser::new().enable_optional_syntax(true).max_recursion_depth(MAX_NESTING);
    let parsed = parser.max_expression_node_count(MAX_NODES).parse(source);
    let parsed = parsed.map_err(|errors| format!("compilation failed: {errors}"))?;
    if is_deeper(&parsed, MAX_DEPTH) {
        return Err("compilation failed: the expression is nested too deep".to_owned());
    }
    Checker { source, schema, variables }.check(&parsed, &mut Vec::new())?;
    Ok(convert(parsed))
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

fn convert(parsed: IdedExpr) -> Expr {
    match parsed.expr {
        Parsed::Unspecified | Parsed::Struct(_) => Expr::Null,
        Parsed::Literal(literal) => match literal {
            LiteralValue::Boolean(set) => Expr::Bool(set.into_inner()),
            LiteralValue::Bytes(bytes) => Expr::Bytes(bytes.into_inner()),
            LiteralValue::Double(number) => Expr::Double(number.into_inner()),
            LiteralValue::Int(number) => Expr::Int(number.into_inner()),
            LiteralValue::Null => Expr::Null,
            LiteralValue::String(text) => Expr::Text(text.into_inner()),
            LiteralValue::UInt(number) => Expr::Uint(number.into_inner()),
        },
        Parsed::Ident(name) => Expr::Ident(name),
        Parsed::Select(select) => {
            Expr::Select { of: Box::new(convert(*select.operand)), field: select.field, test: select.test }
        }
        Parsed::Call(call) => Expr::Call {
            name: call.func_name,
            target: call.target.map(|target| Box::new(convert(*target))),
            args: call.args.into_iter().map(convert).collect(),
        },
        Parsed::List(list) => {
            let optional = list.optional_indices;
            let items = list.elements.into_iter().enumerate();
            Expr::List(items.map(|(n, item)| (convert(item), optional.contains(&n))).collect())
        }
        Parsed::Map(map) => {
            let entries = map.entries.into_iter().filter_map(|entry| match entry.expr {
                EntryExpr::MapEntry(entry) => {
                    Some((convert(entry.key), convert(entry.value), entry.optional))
                }
                EntryExpr::StructField(_) => None,
            });
            Expr::Map(entries.collect())
        }
        Parsed::Comprehension(fold) => {
            let result = fold.accu_var;
            Expr::Fold(Box::new(Fold {
                range: convert(fold.iter_range),
                item: fold.iter_var,
                value: fold.iter_var2,
                start: convert(fold.accu_init),
                goes_on: convert(fold.loop_cond),
                step: step(convert(fold.loop_step), &result),
                end: convert(fold.result),
                result,
            }))
        }
    }
}

/// `@result + [x]`, and the same under a condition, add in place.
fn step(expr: Expr, result: &str) -> Step {
    let is_result = |expr: &Expr| matches!(expr, Expr::Ident(name) if name == result);
    let appended = |expr: &Expr| match expr {
        Expr::Call { name, target: None, args } if name == operators::ADD => match &args[..] {
            [list, Expr::List(items)] if is_result(list) => match &items[..] {
                [(item, false)] => Some(item.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    if let Some(item) = appended(&expr) {
        return Step::Appends { condition: None, item };
    }
    if let Expr::Call { name, target: None, args } = &expr
        && name == operators::CONDITIONAL
        && let [condition, then, otherwise] = &args[..]
        && is_result(otherwise)
        && let Some(item) = appended(then)
    {
        return Step::Appends { condition: Some(condition.clone()), item };
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
                    Step::Appends { condition, item } => {
                        item.any(test) || condition.iter().any(|expr| expr.any(test))
                    }
                };
                step || [&fold.range, &fold.start, &fold.goes_on, &fold.end].iter().any(|expr| expr.any(test))
            }
            _ => false,
        }
    }

    /// Whether it cannot be a boolean, whatever the object is.
    pub fn is_no_bool(&self) -> bool {
        match self {
            Self::Bool(_) | Self::Ident(_) | Self::Select { .. } | Self::Fold(_) => false,
            Self::Call { name, .. } => {
                let arithmetic = [
                    operators::ADD,
                    operators::SUBSTRACT,
                    operators::MULTIPLY,
                    operators::DIVIDE,
                    operators::MODULO,
                    operators::NEGATE,
                    "size",
                    "string",
                    "int",
                ];
                arithmetic.contains(&name.as_str())
            }
            _ => true,
        }
    }
}

/// Names that are no variables: types, and the first words of functions.
const KNOWN: &[&str] = &[
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "dyn",
    "google",
    "optional",
    "optional_type",
    "sets",
    "math",
    "strings",
    "cel",
    "ip",
    "cidr",
    "url",
    "format",
    "semver",
    "quantity",
    "net",
    "kubernetes",
    "base64",
    "lists",
];

struct Checker<'a> {
    source: &'a str,
    schema: &'a Json,
    variables: &'a [&'a str],
}

impl Checker<'_> {
    /// Finds names that mean nothing. `bound`: variables of the loops around.
    fn check(&self, parsed: &IdedExpr, bound: &mut Vec<String>) -> Result<(), String> {
        match &parsed.expr {
            Parsed::Ident(name) => {
                let name = name.as_str();
                let known = KNOWN.contains(&name) || self.variables.contains(&name);
                if known || bound.iter().any(|bound| bound == name) {
                    return Ok(());
                }
                Err(self.error(name, &format!("undeclared reference to '{name}' (in container '')")))
            }
            Parsed::Select(select) => {
                self.check(&select.operand, bound)?;
                match self.known_fields(&select.operand) {
                    Some(schema) if property(schema, &select.field).is_none() => Err(self.error(
                        &format!(".{}", select.field),
                        &format!("undefined field '{}'", select.field),
                    )),
                    _ => Ok(()),
                }
            }
            Parsed::Call(call) => {
                // A variable that a macro of ours names: `cel.bind(x, ...)`, `o.optMap(x, ...)`.
                let binds = match (call.func_name.as_str(), call.args.len()) {
                    ("bind", 3) | ("optMap" | "optFlatMap", 2) => 1,
                    _ => 0,
                };
                if let Some(target) = &call.target {
                    self.check(target, bound)?;
                }
                let before = bound.len();
                for (n, arg) in call.args.iter().enumerate() {
                    match &arg.expr {
                        Parsed::Ident(name) if n < binds => bound.push(name.clone()),
                        _ => self.check(arg, bound)?,
                    }
                }
                bound.truncate(before);
                Ok(())
            }
            Parsed::List(list) => list.elements.iter().try_for_each(|item| self.check(item, bound)),
            Parsed::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.check(&entry.key, bound)?;
                    self.check(&entry.value, bound)
                }
                EntryExpr::StructField(field) => self.check(&field.value, bound),
            }),
            Parsed::Comprehension(fold) => {
                self.check(&fold.iter_range, bound)?;
                let before = bound.len();
                bound.extend([fold.iter_var.clone(), fold.accu_var.clone()]);
                bound.extend(fold.iter_var2.clone());
                for part in [&fold.accu_init, &fold.loop_cond, &fold.loop_step, &fold.result] {
                    self.check(part, bound)?;
                }
                bound.truncate(before);
                Ok(())
            }
            Parsed::Struct(_) => Err(self.error("{", "unknown type")),
            Parsed::Literal(_) | Parsed::Unspecified => Ok(()),
        }
    }

    /// The schema of an object all of whose fields are known: reached from `self` by fields alone.
    fn known_fields(&self, of: &IdedExpr) -> Option<&Json> {
        let schema = match &of.expr {
            Parsed::Ident(name) if name == "self" => self.schema,
            Parsed::Select(select) if !select.test => {
                property(self.known_fields(&select.operand)?, &select.field)?
            }
            _ => return None,
        };
        let of = |name: &str| schema.get(name);
        let closed = of("properties").is_some()
            && of("additionalProperties").is_none()
            && of("x-kubernetes-preserve-unknown-fields").is_none()
            && of("x-kubernetes-embedded-resource").is_none()
            && !["apiVersion", "kind", "metadata"].iter().any(|name| property(schema, name).is_some());
        let root = of("properties").and_then(|all| all.get("spec")).is_some();
        (closed && !root).then_some(schema)
    }

    /// An error at the first place where `found` stands as a word.
    fn error(&self, found: &str, what: &str) -> String {
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let mut places = self.source.match_indices(found).map(|(at, _)| at);
        let at = places.find(|at| {
            let before = self.source[..*at].chars().next_back();
            let after = self.source[at + found.len()..].chars().next();
            (found.starts_with('.') || !part(before))
                && !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
        });
        let before = &self.source[..at.unwrap_or_default()];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let text = self.source.lines().nth(line).unwrap_or_default();
        let dots = ".".repeat(column);
        format!(
            "compilation failed: ERROR: <input>:{}:{}: {what}\n | {text}\n | {dots}^",
            line + 1,
            column + 1
        )
    }
}

fn property<'a>(schema: &'a Json, field: &str) -> Option<&'a Json> {
    let all = schema.get("properties")?;
    all.get(field).or_else(|| all.get(unescape(field)))
}
