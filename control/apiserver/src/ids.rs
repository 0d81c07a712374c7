//! Names and numbers that nobody else has.

use rand::Rng;

/// A random UUID (version 4) as text.
pub fn uid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (nth, byte) in bytes.iter().enumerate() {
        if matches!(nth, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// Letters of generated names: none that make words, none that look alike.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Bytes of a generated name before its random part.
const PREFIX: usize = 58;

/// `prefix` and five random letters; a long prefix is cut.
pub fn generated_name(prefix: &str) -> String {
    let cut = prefix.floor_char_boundary(PREFIX.min(prefix.len()));
    let mut random = rand::rng();
    let letters = (0..5).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())]));
    prefix[..cut].chars().chain(letters).collect()
}

pub fn random() -> u64 {
    rand::rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_random_uuid() {
        let text = uid();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_ne!(uid(), text);
    }

    #[test]
    fn a_generated_name_fits_into_a_label() {
        assert_eq!(generated_name(&"a".repeat(100)).len(), 63);
        assert!(generated_name("a-").starts_with("a-"));
        assert_eq!(generated_name("ä-").chars().count(), 7);
    }
}
