//! Hashes that names and labels carry.
//!
//! The original hashes a print of its own structures, which nobody else can repeat, nor needs to: what exists is found by
//! what it contains, and its hash is read from its label.

use serde_json::Value;

/// 32-bit FNV-1a.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u32);

impl Default for Hash {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Hash {
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
        self
    }

    /// Fields in the order of their names; fields that are `null` count as absent.
    #[must_use]
    pub fn value(self, value: &Value) -> Self {
        match value {
            Value::Object(fields) => {
                let mut names: Vec<&String> = fields.keys().filter(|name| !fields[*name].is_null()).collect();
                names.sort_unstable();
                let fields = names.into_iter().fold(self.bytes(b"{"), |hash, name| {
                    hash.bytes(name.as_bytes()).bytes(b":").value(&fields[name]).bytes(b",")
                });
                fields.bytes(b"}")
            }
            Value::Array(items) => {
                items.iter().fold(self.bytes(b"["), |hash, item| hash.value(item).bytes(b",")).bytes(b"]")
            }
            Value::String(text) => self.bytes(b"\"").bytes(text.as_bytes()).bytes(b"\""),
            other => self.bytes(other.to_string().as_bytes()),
        }
    }

    /// Distinguishes objects that would have the same hash otherwise.
    #[must_use]
    pub fn collisions(self, count: Option<i64>) -> Self {
        match count {
            Some(count) => self.bytes(&count.to_le_bytes()),
            None => self,
        }
    }

    pub const fn number(self) -> u32 {
        self.0
    }

    /// Fit for a label and a name, and no word: each digit is a letter or digit without vowels.
    pub fn label(self) -> String {
        const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        self.0.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_depends_on_what_is_there_and_not_on_its_order() {
        let hash = |value: &Value| Hash::default().value(value).label();
        assert_eq!(hash(&json!({"a": 1, "b": [2]})), hash(&json!({"b": [2], "a": 1, "c": null})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
        assert_ne!(hash(&json!({"a": "1"})), hash(&json!({"a": 1})));
        assert_ne!(
            Hash::default().value(&json!({})).collisions(Some(1)).number(),
            Hash::default().value(&json!({})).collisions(None).number(),
        );
        // The published value of 32-bit FNV-1a for "foobar".
        assert_eq!(Hash::default().bytes(b"foobar").number(), 0xbf9c_f968);
    }
}
