//! The tokens of a JSON text.
//!
//! Owns: strings, numbers, and stepping over values nobody wants. Never: says what is wrong with a text, which
//! [`super::syntax`] does once it is known that something is.

use std::borrow::Cow;

/// Levels of objects and lists in one another. The original allows 10,000, and no kind has forty.
pub(super) const MAX_DEPTH: usize = 200;

/// The text is no JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotJson;

pub(super) struct Lexer<'a> {
    body: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, depth: 0 }
    }

    /// The first byte of the next token, which stays.
    pub(super) fn peek(&mut self) -> Result<u8, NotJson> {
        while let Some(byte) = self.body.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(NotJson)
    }

    /// Where the token begins that [`Lexer::peek`] saw.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.body[start..self.at]
    }

    /// Nothing follows but blanks.
    pub(super) fn is_done(&mut self) -> bool {
        self.peek().is_err()
    }

    fn expect(&mut self, wanted: u8) -> Result<(), NotJson> {
        if self.peek()? != wanted {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `{` or `[`.
    pub(super) fn enter(&mut self, wanted: u8) -> Result<(), NotJson> {
        self.expect(wanted)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(NotJson) } else { Ok(()) }
    }

    /// Whether another entry follows; takes the comma before it, or the bracket that ends all. `first`: none was taken.
    pub(super) fn more(&mut self, first: bool, end: u8) -> Result<bool, NotJson> {
        let next = self.peek()?;
        if next == end {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// The name of an entry of an object, and the colon.
    pub(super) fn key(&mut self) -> Result<Cow<'a, str>, NotJson> {
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, NotJson> {
        self.expect(b'"')?;
        let start = self.at;
        let rest = &self.body[start..];
        let size = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).ok_or(NotJson)?;
        self.at += size;
        match rest[size] {
            b'"' => {
                self.at += 1;
                Ok(lossy(&rest[..size]))
            }
            b'\\' => self.escaped(start),
            _ => Err(NotJson),
        }
    }

    /// The rest of a string, from its first backslash.
    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>, NotJson> {
        let mut text = lossy(&self.body[start..self.at]).into_owned();
        loop {
            let run = self.at;
            while matches!(self.body.get(self.at), Some(0x20..))
                && !matches!(self.body[self.at], b'"' | b'\\')
            {
                self.at += 1;
            }
            text.push_str(&lossy(&self.body[run..self.at]));
            match self.body.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    let escape = self.body.get(self.at + 1).ok_or(NotJson)?;
                    self.at += 2;
                    text.push(match escape {
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'\\' | b'/' | b'"' => char::from(*escape),
                        b'u' => self.unicode()?,
                        _ => return Err(NotJson),
                    });
                }
                _ => return Err(NotJson),
            }
        }
    }

    /// What follows `\u`; half a pair is the replacement character, as in Go.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let unit = self.hex()?;
        if (0xd800..0xdc00).contains(&unit) && self.body.get(self.at..self.at + 2) == Some(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, NotJson> {
        let digits = self.body.get(self.at..self.at + 4).ok_or(NotJson)?;
        self.at += 4;
        digits
            .iter()
            .try_fold(0, |value, digit| Ok(value << 4 | char::from(*digit).to_digit(16).ok_or(NotJson)?))
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Result<&'a str, NotJson> {
        let start = self.at;
        if self.body.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.body.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(NotJson),
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.body.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.body.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        std::str::from_utf8(&self.body[start..self.at]).map_err(|_| NotJson)
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.body.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(NotJson) }
    }

    /// `true`, `false` or `null`.
    pub(super) fn word(&mut self, word: &str) -> Result<(), NotJson> {
        if !self.body[self.at..].starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(())
    }

    /// Steps over a value.
    pub(super) fn skip(&mut self) -> Result<(), NotJson> {
        match self.peek()? {
            b'{' => {
                self.enter(b'{')?;
                let mut first = true;
                while self.more(first, b'}')? {
                    first = false;
                    self.key()?;
                    self.skip()?;
                }
                Ok(())
            }
            b'[' => {
                self.enter(b'[')?;
                let mut first = true;
                while self.more(first, b']')? {
                    first = false;
                    self.skip()?;
                }
                Ok(())
            }
            b'"' => self.string().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number().map(|_| ()),
        }
    }
}

/// Text in which each byte that is no UTF-8 became the replacement character, as in Go.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}
