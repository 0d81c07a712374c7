//! The query of a request, as Go's `net/url` takes it apart.
//!
//! Owns: names, values and their conversion to numbers and booleans, with the original's errors.

use apiclient_core::percent::decode;

/// Names and values in their order. A pair that cannot be decoded counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// `text` is what follows the `?`.
    pub fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        Self(
            pairs
                .filter_map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Some((decode(name, true)?, decode(value, true)?))
                })
                .collect(),
        )
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// As [`Query::get`]; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Whatever is neither `false` nor `0` is true.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// # Errors
    /// What Go's `strconv` says of a value that is no number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, String> {
        self.get(name).map(parse_int).transpose()
    }
}

/// A whole number of 64 bits, with the words of Go's `strconv.ParseInt` for what is none.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().map_err(|_| {
        let why = if numeric { "value out of range" } else { "invalid syntax" };
        format!("strconv.ParseInt: parsing {text:?}: {why}")
    })
}

/// As [`parse_int`], without a sign.
pub fn parse_uint(text: &str) -> Result<u64, String> {
    let numeric = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && let Ok(number) = text.parse() {
        return Ok(number);
    }
    let why = if numeric { "value out of range" } else { "invalid syntax" };
    Err(format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_as_go_does() {
        let query = Query::parse("a=1&b=x%3Dy+z&a=2&c&&bad=%zz&semi;colon=1&e=%C3%A4");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x=y z"));
        assert_eq!((query.get("c"), query.text("d"), query.get("d")), (Some(""), "", None));
        assert_eq!((query.get("bad"), query.get("semi;colon"), query.get("e")), (None, None, Some("ä")));
    }

    #[test]
    fn numbers_and_booleans_are_those_of_the_original() {
        for (text, is) in
            [("", true), ("maybe", true), ("1", true), ("false", false), ("FALSE", false), ("0", false)]
        {
            assert_eq!(Query::parse(&format!("w={text}")).flag("w"), Some(is), "{text}");
        }
        assert_eq!(Query::parse("").flag("w"), None);
        assert_eq!(parse_int("-7"), Ok(-7));
        assert_eq!(parse_int("x").unwrap_err(), "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert_eq!(parse_int("").unwrap_err(), "strconv.ParseInt: parsing \"\": invalid syntax");
        let long = "99999999999999999999";
        assert_eq!(
            parse_int(long).unwrap_err(),
            format!("strconv.ParseInt: parsing \"{long}\": value out of range")
        );
        assert_eq!(parse_uint("-1").unwrap_err(), "strconv.ParseUint: parsing \"-1\": invalid syntax");
    }
}
