//! Selectors of a query, with the original's errors.
//!
//! Facts: the parser of apimachinery's `labels` package, whose messages say what it found and what it expected.

use std::collections::BTreeSet;

use apiclient_core::selector::{FieldSelector, LabelSelector, Requirement, Test};
use control_core::names;

/// # Errors
/// What is wrong with the text.
pub fn labels(text: &str) -> Result<LabelSelector, String> {
    let mut parser = Parser { tokens: scan(text), at: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Token::Word(_) | Token::Sign("!") => {}
            Token::End => break,
            other => {
                return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text()));
            }
        }
        let one = parser.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
        requirements.push(one);
        match parser.next() {
            Token::End => break,
            Token::Sign(",") => match parser.peek() {
                Token::Word(_) | Token::Sign("!") => {}
                other => return Err(format!("found '{}', expected: identifier after ','", other.text())),
            },
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
    LabelSelector::new(requirements).map_err(|error| error.problem)
}

/// # Errors
/// What is wrong with the text.
pub fn fields(text: &str) -> Result<FieldSelector, String> {
    text.parse().map_err(|_| {
        let mut parts = text.split(',');
        if let Some(part) = parts.find(|part| !part.is_empty() && !part.contains('=')) {
            return format!("invalid selector: '{text}'; can't understand '{part}'");
        }
        match text.split_once('\\').and_then(|(_, rest)| rest.chars().next()) {
            Some(letter) if !matches!(letter, '\\' | ',' | '=') => {
                format!("invalid field selector: invalid escape sequence: \\{letter}")
            }
            _ => "invalid field selector: unescaped character in value: 61".to_owned(),
        }
    })
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Sign(&'static str),
    /// Signs that are none together.
    Wrong(String),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Wrong(text) => text,
            Self::Sign(text) => text,
            Self::End => "",
        }
    }
}

const SIGNS: [&str; 9] = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];

fn scan(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let is_sign = |letter: char| matches!(letter, '=' | '!' | '(' | ')' | ',' | '>' | '<');
        let found = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        let length = if let Some(sign) = found {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else {
            let end = rest.find(|letter: char| is_sign(letter) || letter.is_ascii_whitespace());
            let word = &rest[..end.unwrap_or(rest.len())];
            tokens.push(if word.is_empty() {
                Token::Wrong(rest.to_owned())
            } else {
                Token::Word(word.to_owned())
            });
            word.len().max(1)
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next();
        let negated = token == Token::Sign("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        let faults = names::qualified(&key);
        if !faults.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", faults.join("; ")));
        }
        if negated {
            return Ok(Requirement { key, test: Test::DoesNotExist });
        }
        if matches!(self.peek(), Token::End | Token::Sign(",")) {
            return Ok(Requirement { key, test: Test::Exists });
        }
        let operator = self.next();
        let test = match operator.text() {
            "in" => Test::In(self.values(&key)?),
            "notin" => Test::NotIn(self.values(&key)?),
            "=" | "==" => Test::In(self.value(&key)?),
            "!=" => Test::NotIn(self.value(&key)?),
            ">" => Test::GreaterThan(self.number(&key)?),
            "<" => Test::LessThan(self.number(&key)?),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        Ok(Requirement { key, test })
    }

    fn value(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        let value = match self.peek() {
            Token::End | Token::Sign(",") => String::new(),
            Token::Word(value) => {
                self.at += 1;
                value
            }
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        checked(key, BTreeSet::from([value]))
    }

    fn number(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value(key)?.pop_first().unwrap_or_default();
        value.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        let open = self.next();
        if open != Token::Sign("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let mut values = BTreeSet::new();
        match self.peek() {
            Token::Word(_) | Token::Sign(",") => {}
            // No value at all: nothing is in that.
            Token::Sign(")") => {
                self.at += 1;
                return Ok(values);
            }
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.text())),
        }
        loop {
            match self.next() {
                Token::Word(value) => {
                    values.insert(value);
                    match self.peek() {
                        Token::Sign(",") => {}
                        Token::Sign(")") => break,
                        other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
                    }
                }
                Token::Sign(",") => {
                    // Nothing before a comma, or between two, is the empty value.
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek() {
                        Token::Sign(")") => {
                            values.insert(String::new());
                            break;
                        }
                        Token::Sign(",") => {
                            self.at += 1;
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                other => return Err(format!("found '{}', expected: ',', or identifier", other.text())),
            }
        }
        self.at += 1;
        checked(key, values)
    }
}

fn checked(key: &str, values: BTreeSet<String>) -> Result<BTreeSet<String>, String> {
    let wrong = values.iter().enumerate().filter_map(|(nth, value)| {
        let faults = names::label_value(value);
        let shown = || format!("values[{nth}][{key}]: Invalid value: {value:?}: {}", faults.join("; "));
        (!faults.is_empty()).then(shown)
    });
    let wrong: Vec<String> = wrong.collect();
    match wrong.as_slice() {
        [] => Ok(values),
        [one] => Err(one.clone()),
        all => Err(format!("[{}]", all.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_are_those_of_the_client() {
        for text in
            ["", "a", "!a", "a=b", "a==b", "a!=b", "a in (b,c)", "a notin (b)", "a>1,b<2", "x/y=z, q", "a="]
        {
            let found = labels(text).expect(text);
            assert_eq!(Ok(&found), text.parse::<LabelSelector>().as_ref(), "{text}");
        }
        assert!(labels("a in (,)").is_ok() && labels("a in ()").is_ok());
        assert!(labels("in=in").is_ok());
    }

    #[test]
    fn what_is_no_selector_is_refused_in_the_originals_words() {
        for (text, want) in [
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in", "unable to parse requirement: found '' expected: '('"),
            (",", "found ',', expected: !, identifier, or 'end of string'"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("!!a", "unable to parse requirement: found '!', expected: identifier"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(labels(text).expect_err(text), want, "{text}");
        }
        assert!(
            labels("-a=b")
                .expect_err("a key")
                .starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": ")
        );
        assert!(
            labels("a=-b")
                .expect_err("a value")
                .contains("values[0][a]: Invalid value: \"-b\": a valid label must be")
        );
        assert_eq!(fields("foo").expect_err("a field"), "invalid selector: 'foo'; can't understand 'foo'");
    }

    #[test]
    fn no_text_breaks_it() {
        for text in ["((", ")", "a in ((", "a in (,,,", "ä=ö", "!", "<>", "a=!", "\u{0}"] {
            let _ = (labels(text), fields(text));
        }
    }
}
