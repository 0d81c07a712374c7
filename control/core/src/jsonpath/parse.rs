//! From a text to a path.

use serde_json::Value;

use super::{BadPath, End, JsonPath, Operator, Slice, Step};

/// Paths in paths.
const DEPTH: usize = 8;

fn bad<T>(why: impl Into<String>) -> Result<T, BadPath> {
    Err(BadPath(why.into()))
}

/// What ends a name.
fn ends_name(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

/// A path; `depth` is how many it is in.
pub(super) fn path(text: &str, depth: usize) -> Result<JsonPath, BadPath> {
    if depth > DEPTH {
        return bad("paths are nested too deep");
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = match letter {
            ' ' | '@' | '$' => &rest[1..],
            '[' if rest.starts_with("[?(") => filter(&rest[3..], depth, &mut steps)?,
            '[' => brackets(&rest[1..], depth, &mut steps)?,
            '.' if rest.starts_with("..") => {
                if steps.last() == Some(&Step::Recursive) {
                    return bad("invalid multiple recursive descent");
                }
                steps.push(Step::Recursive);
                let rest = &rest[2..];
                let named = rest.starts_with(|letter: char| letter.is_alphanumeric() || letter == '_');
                if named { field(rest, &mut steps) } else { rest }
            }
            '.' => field(&rest[1..], &mut steps),
            '"' | '\'' => quoted(rest, letter, &mut steps)?,
            _ if letter == '+' || letter == '-' || letter.is_ascii_digit() => number(rest, &mut steps)?,
            _ if letter.is_alphanumeric() || letter == '_' => {
                let end = rest.find(ends_name).unwrap_or(rest.len());
                match &rest[..end] {
                    "true" => steps.push(Step::Constant(true.into())),
                    "false" => steps.push(Step::Constant(false.into())),
                    name => return bad(format!("unrecognized identifier {name}")),
                }
                &rest[end..]
            }
            _ => return bad(format!("unrecognized character in action: {letter:?}")),
        };
    }
    Ok(JsonPath(steps))
}

/// A name behind a dot, in which a backslash takes away the meaning of what follows.
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let (mut name, mut escaped, mut end) = (String::new(), false, text.len());
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => {
                escaped = true;
                continue;
            }
            _ if ends_name(letter) => {
                end = at;
                break;
            }
            _ => {}
        }
        name.push(letter);
    }
    steps.push(if name == "*" { Step::Wildcard } else { Step::Field(name) });
    &text[end..]
}

/// `[...]`: an index, a slice, a wildcard, a quoted name, several of these. `text` begins behind the bracket.
fn brackets<'a>(text: &'a str, depth: usize, steps: &mut Vec<Step>) -> Result<&'a str, BadPath> {
    let Some((inner, rest)) = text.split_once(']') else { return bad("unterminated array") };
    if inner.contains(',') {
        let parts = inner.split(',').map(|part| path(&format!("[{}]", part.trim_matches(' ')), depth + 1));
        steps.push(Step::Union(parts.collect::<Result<_, _>>()?));
        return Ok(rest);
    }
    let name = inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\''));
    match name.filter(|name| !name.contains('\'')) {
        Some(name) => steps.extend(path(&format!(".{name}"), depth + 1)?.0),
        None => steps.push(Step::Slice(slice(if inner == "*" { ":" } else { inner })?)),
    }
    Ok(rest)
}

fn slice(text: &str) -> Result<Slice, BadPath> {
    let parts: Vec<&str> = text.split(':').collect();
    let wrong = || BadPath(format!("invalid array index {text}"));
    if parts.len() > 3 {
        return Err(wrong());
    }
    let number = |part: Option<&&str>| match part {
        None | Some(&"") => Ok(None),
        Some(part) => part.parse::<i64>().map(Some).map_err(|_| wrong()),
    };
    let (first, end) = (number(parts.first())?, number(parts.get(1))?);
    let end = match (parts.len(), end) {
        (1, _) => End::One,
        (_, None) => End::Open,
        (_, Some(end)) => End::Before(end),
    };
    Ok(Slice { first: first.unwrap_or(0), end, step: number(parts.get(2))?.unwrap_or(1) })
}

/// `[?(LEFT==RIGHT)]`; `text` begins behind the parenthesis.
fn filter<'a>(text: &'a str, depth: usize, steps: &mut Vec<Step>) -> Result<&'a str, BadPath> {
    // The first quote and its like hold parentheses together.
    let (mut open, mut closed, mut before) = (None, false, ' ');
    let mut end = None;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' | '\'' if open.is_none() => open = Some(letter),
            '"' | '\'' if open == Some(letter) && before != '\\' => closed = true,
            ')' if open.is_some() == closed => {
                end = Some(at);
                break;
            }
            _ => {}
        }
        before = letter;
    }
    let Some(end) = end else { return bad("unterminated filter") };
    let Some(rest) = text[end + 1..].strip_prefix(']') else { return bad("unclosed array expect ]") };
    let inner = &text[..end];
    let is_sign = |letter: char| matches!(letter, '!' | '<' | '>' | '=');
    let compares = inner.find(is_sign).filter(|at| *at > 0).and_then(|at| {
        let (left, signs) = inner.split_at(at);
        let length = signs.find(|letter| !is_sign(letter))?;
        let (sign, right) = signs.split_at(length);
        Some((left, sign, right))
    });
    let Some((left, sign, right)) = compares else {
        steps.push(Step::Filter { left: path(inner, depth + 1)?, compares: None });
        return Ok(rest);
    };
    let operator = match sign {
        "<" => Operator::Less,
        "<=" => Operator::LessEqual,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        ">=" => Operator::GreaterEqual,
        ">" => Operator::Greater,
        other => return bad(format!("unrecognized filter operator {other}")),
    };
    let (left, right) = (path(left, depth + 1)?, path(right, depth + 1)?);
    steps.push(Step::Filter { left, compares: Some((operator, right)) });
    Ok(rest)
}

/// A text in quotes; `text` begins with them.
fn quoted<'a>(text: &'a str, quote: char, steps: &mut Vec<Step>) -> Result<&'a str, BadPath> {
    let mut value = String::new();
    let mut letters = text.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\n' => break,
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, escaped @ ('\\' | '"' | '\''))) => value.push(escaped),
                _ => return bad(format!("unquote string {text} error invalid syntax")),
            },
            _ if letter == quote => {
                steps.push(Step::Constant(Value::from(value)));
                return Ok(&text[at + 1..]);
            }
            _ => value.push(letter),
        }
    }
    bad("unterminated quoted string")
}

fn number<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, BadPath> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].find(|letter: char| letter != '.' && !letter.is_ascii_digit());
    let (number, rest) = text.split_at(digits.map_or(text.len(), |digits| sign + digits));
    let value = match (number.parse::<i64>(), number.parse::<f64>()) {
        (Ok(whole), _) => Value::from(whole),
        (_, Ok(other)) => Value::from(other),
        _ => return bad(format!("cannot parse number {number}")),
    };
    steps.push(Step::Constant(value));
    Ok(rest)
}
