//! Percent-encoding, as URLs have it.

/// Takes `%XX` apart, and `+` where it stands for a blank; `None` where a `%` has no two digits, or where the result is
/// not UTF-8.
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let encoded = text.contains('%') || (plus && text.contains('+'));
    if !encoded {
        return Some(text.to_owned());
    }
    let (mut plain, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' if plus => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}
