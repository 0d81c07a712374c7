//! Protobuf's wire format: varints, tags, lengths.

use crate::codec::DecodeError;

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(crate) const BYTES: u8 = 2;

pub(super) fn eof() -> DecodeError {
    DecodeError("unexpected EOF".to_owned())
}

/// The fields of one message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The message, for errors, which name it by the last part of its name.
    of: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a [u8], of: &'a str) -> Self {
        Self { rest, of }
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        for (nth, byte) in self.rest.iter().enumerate() {
            if nth == 10 {
                return Err(DecodeError("proto: integer overflow".to_owned()));
            }
            value |= u64::from(byte & 0x7f) << (7 * nth);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[nth + 1..];
                return Ok(value);
            }
        }
        Err(eof())
    }

    /// Number and wire type of the next field.
    pub(super) fn tag(&mut self) -> Result<Option<(u32, u8)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let wire = (tag & 7) as u8;
        // Go takes 32 bits of it.
        let number = (tag >> 3) as u32;
        let of = || self.of.rsplit('.').next().unwrap_or_default();
        if wire == 4 {
            return Err(DecodeError(format!("proto: {}: wiretype end group for non-group", of())));
        }
        if i32::try_from(number).is_ok_and(|number| number > 0) {
            return Ok(Some((number, wire)));
        }
        Err(DecodeError(format!("proto: {}: illegal tag {} (wire type {wire})", of(), number.cast_signed())))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.varint()?;
        let length =
            usize::try_from(length).ok().filter(|length| *length <= self.rest.len()).ok_or_else(eof)?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(eof)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    pub(super) fn wrong(&self, wire: u8, field: &str) -> DecodeError {
        DecodeError(format!("proto: wrong wireType = {wire} for field {field}"))
    }

    pub(super) fn expect_bytes(&mut self, wire: u8, field: &str) -> Result<&'a [u8], DecodeError> {
        if wire == BYTES { self.bytes() } else { Err(self.wrong(wire, field)) }
    }

    pub(super) fn expect_varint(&mut self, wire: u8, field: &str) -> Result<u64, DecodeError> {
        if wire == VARINT { self.varint() } else { Err(self.wrong(wire, field)) }
    }

    /// Steps over a field that nobody knows, groups with all that is in them.
    pub(super) fn skip(&mut self, wire: u8) -> Result<(), DecodeError> {
        let mut wire = wire;
        let mut groups = 0_usize;
        loop {
            match wire {
                VARINT => {
                    self.varint()?;
                }
                FIXED64 => {
                    self.fixed64()?;
                }
                BYTES => {
                    self.bytes()?;
                }
                3 => groups += 1,
                4 => {
                    groups = groups
                        .checked_sub(1)
                        .ok_or_else(|| DecodeError("proto: unexpected end of group".to_owned()))?;
                }
                5 => self.rest = self.rest.get(4..).ok_or_else(eof)?,
                _ => return Err(DecodeError(format!("proto: illegal wireType {wire}"))),
            }
            if groups == 0 {
                return Ok(());
            }
            wire = (self.varint()? & 7) as u8;
        }
    }
}

pub(crate) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_tag(number: u32, wire: u8, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire), out);
}

pub(crate) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_tag(number, BYTES, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// How much [`put_bytes`] adds for so many bytes, where the number is below 16.
pub(crate) fn bytes_size(length: usize) -> usize {
    let bits = (usize::BITS - length.leading_zeros()).max(1) as usize;
    1 + bits.div_ceil(7) + length
}

/// Puts the length of what begins at `start` and ends with `out` before it.
pub(crate) fn put_length(start: usize, out: &mut Vec<u8>) {
    let length = out.len() - start;
    let mut text = [0; 10];
    let mut size = 0;
    let mut rest = length;
    loop {
        text[size] = (rest & 0x7f) as u8 | if rest >= 0x80 { 0x80 } else { 0 };
        size += 1;
        rest >>= 7;
        if rest == 0 {
            break;
        }
    }
    out.resize(out.len() + size, 0);
    out.copy_within(start..start + length, start + size);
    out[start..start + size].copy_from_slice(&text[..size]);
}
