//! Paths and queries as Go's `net/url` and `path` write them.

use std::fmt::Write;

/// What a path may hold as it is, besides letters and digits.
const OF_PATHS: &[u8] = b"-_.~$&+,/:;=@";
/// What a query may hold as it is.
const OF_QUERIES: &[u8] = b"-_.~";

fn encode(text: &str, plain: &[u8], plus: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' if plus => encoded.push('+'),
            _ if byte.is_ascii_alphanumeric() || plain.contains(&byte) => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

pub fn encode_path(path: &str) -> String {
    encode(path, OF_PATHS, false)
}

/// Pairs as a query, in the order of their names.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_by_key(|(name, _)| *name);
    let pairs = pairs
        .iter()
        .map(|(name, value)| [encode(name, OF_QUERIES, true), encode(value, OF_QUERIES, true)].join("="));
    pairs.collect::<Vec<_>>().join("&")
}

/// A path without `.`, `..` and doubled slashes, with a slash at its end where it had one. Nothing climbs above the root.
pub fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let clean = format!("/{}", parts.join("/"));
    if path.ends_with('/') && clean != "/" { clean + "/" } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_encoded_as_go_does() {
        assert_eq!(encode_path("/a b/ä?(c)%"), "/a%20b/%C3%A4%3F%28c%29%25");
        assert_eq!(
            query(&[("command", "a b"), ("b", "x/y"), ("command", "c")]),
            "b=x%2Fy&command=a+b&command=c"
        );
    }

    #[test]
    fn nothing_climbs_above_the_root() {
        for (path, want) in
            [("", ""), ("/", "/"), ("/a/../../b", "/b"), ("/a//b/./", "/a/b/"), ("/..", "/"), ("/../", "/")]
        {
            assert_eq!(clean(path), want, "{path}");
        }
    }
}
