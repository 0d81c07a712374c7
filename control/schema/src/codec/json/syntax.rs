//! What is wrong with a text that is no JSON, in the words of Go's scanner.

use crate::codec::quote::quoted;

use super::lexer::MAX_DEPTH;

/// What the first offending byte was looked at as.
struct Wrong {
    at: usize,
    /// `None`: the text ends too early.
    context: Option<String>,
}

/// `invalid character 'x' looking for beginning of value`, `unexpected end of JSON input`; `None` where nothing is wrong.
pub(super) fn error(body: &[u8]) -> Option<String> {
    let mut scanner = Scanner { body, at: 0 };
    let wrong = scanner.text().err()?;
    match (wrong.context, body.get(wrong.at)) {
        (Some(context), Some(byte)) => Some(format!("invalid character {} {context}", character(*byte))),
        _ => Some("unexpected end of JSON input".to_owned()),
    }
}

fn character(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => r#"'"'"#.to_owned(),
        // Go makes a character of the byte.
        _ => {
            let text = quoted(char::from(byte).encode_utf8(&mut [0; 4]));
            format!("'{}'", &text[1..text.len() - 1])
        }
    }
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn wrong(&self, context: impl Into<String>) -> Wrong {
        Wrong { at: self.at, context: (self.at < self.body.len()).then(|| context.into()) }
    }

    fn byte(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    /// One value and nothing behind it. Without recursion: the brackets that are open are a list.
    fn text(&mut self) -> Result<(), Wrong> {
        let mut open = Vec::new();
        'value: loop {
            self.blanks();
            match self.byte() {
                Some(bracket @ (b'{' | b'[')) => {
                    if open.len() >= MAX_DEPTH {
                        return Err(self.wrong("exceeded max depth"));
                    }
                    self.at += 1;
                    open.push(bracket);
                    self.blanks();
                    if self.byte() == Some(if bracket == b'{' { b'}' } else { b']' }) {
                        self.at += 1;
                        open.pop();
                    } else {
                        if bracket == b'{' {
                            self.key()?;
                        }
                        continue 'value;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word("true")?,
                Some(b'f') => self.word("false")?,
                Some(b'n') => self.word("null")?,
                _ => return Err(self.wrong("looking for beginning of value")),
            }
            // A value has ended: what follows it?
            loop {
                self.blanks();
                match (open.last(), self.byte()) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return Err(self.wrong("after top-level value")),
                    (Some(b'{'), Some(b',')) => {
                        self.at += 1;
                        self.blanks();
                        self.key()?;
                        continue 'value;
                    }
                    (Some(b'['), Some(b',')) => {
                        self.at += 1;
                        continue 'value;
                    }
                    (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) => {
                        self.at += 1;
                        open.pop();
                    }
                    (Some(b'{'), _) => return Err(self.wrong("after object key:value pair")),
                    (Some(_), _) => return Err(self.wrong("after array element")),
                }
            }
        }
    }

    fn key(&mut self) -> Result<(), Wrong> {
        if self.byte() != Some(b'"') {
            return Err(self.wrong("looking for beginning of object key string"));
        }
        self.string()?;
        self.blanks();
        if self.byte() != Some(b':') {
            return Err(self.wrong("after object key"));
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), Wrong> {
        self.at += 1;
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.byte() {
                        Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.byte().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                    return Err(self.wrong("in \\u hexadecimal character escape"));
                                }
                                self.at += 1;
                            }
                        }
                        _ => return Err(self.wrong("in string escape code")),
                    }
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.wrong("in string literal")),
            }
        }
    }

    fn digits(&mut self, context: &str) -> Result<(), Wrong> {
        if !self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.wrong(context));
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Wrong> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Wrong> {
        for wanted in word.bytes() {
            if self.byte() != Some(wanted) {
                return Err(self.wrong(format!("in literal {word} (expecting '{}')", char::from(wanted))));
            }
            self.at += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_in_the_words_of_go() {
        for (text, want) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{\"a\":1", "unexpected end of JSON input"),
            ("x", "invalid character 'x' looking for beginning of value"),
            ("{a", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("[1.x]", "invalid character 'x' after decimal point in numeric literal"),
            ("[-x]", "invalid character 'x' in numeric literal"),
            ("[1e]", "invalid character ']' in exponent of numeric literal"),
            ("[nul]", "invalid character ']' in literal null (expecting 'l')"),
            ("[\"a\nb\"]", "invalid character '\\n' in string literal"),
            ("[\"\\x\"]", "invalid character 'x' in string escape code"),
            ("[\"\\u12g4\"]", "invalid character 'g' in \\u hexadecimal character escape"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ] {
            assert_eq!(error(text.as_bytes()).as_deref(), Some(want), "{text}");
        }
        assert_eq!(error(b" {\"a\": [1, -0.5e+3, true, null, \"\\u00e9\"], \"b\": {}} "), None);
        let deep = "[".repeat(100_000);
        assert_eq!(error(deep.as_bytes()).as_deref(), Some("invalid character '[' exceeded max depth"));
    }
}
