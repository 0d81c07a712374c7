//! The few structures of DER that are written here.

pub const SEQUENCE: u8 = 0x30;
pub const INTEGER: u8 = 0x02;
pub const BITS: u8 = 0x03;
pub const OCTETS: u8 = 0x04;
pub const OID: u8 = 0x06;

/// One value with its tag and length.
pub fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    let length = content.len().to_be_bytes();
    match u8::try_from(content.len()) {
        Ok(short @ 0..=127) => der.push(short),
        _ => {
            let start = length.iter().position(|byte| *byte != 0).unwrap_or(0);
            der.push(0x80 | u8::try_from(length.len() - start).unwrap_or(0));
            der.extend_from_slice(&length[start..]);
        }
    }
    der.extend(content);
    der
}

/// The values of a content one after the other, each as its tag and the whole of it.
pub fn values(mut content: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while let [tag, length, ..] = content {
        let (size, start) = match length {
            0..=127 => (usize::from(*length), 2),
            _ => {
                let bytes = usize::from(length & 0x7f);
                let digits = content.get(2..2 + bytes).filter(|_| bytes <= 4)?;
                (digits.iter().fold(0, |size, digit| size << 8 | usize::from(*digit)), 2 + bytes)
            }
        };
        found.push((*tag, content.get(..start.checked_add(size)?)?));
        content = content.get(start + size..)?;
    }
    content.is_empty().then_some(found)
}

/// The content of one value.
pub fn content(der: &[u8]) -> &[u8] {
    let start = match der.get(1) {
        Some(length @ 128..) => 2 + usize::from(length & 0x7f),
        _ => 2,
    };
    der.get(start..).unwrap_or_default()
}
