//! The Internet checksum (RFC 1071) and its incremental form (RFC 1624).

/// Ones' complement sum of big-endian words, not folded. An odd last byte counts as the high half of a word.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let (quads, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = quads.iter().map(|quad| u64::from(u32::from_be_bytes(*quad))).sum();
    let (words, last) = rest.as_chunks::<2>();
    sum += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
    sum + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

/// Folds a sum into 16 bits.
pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The Internet checksum of `bytes` whose checksum field is zero. Over bytes with a correct field it is 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The checksum of an IPv4 header after its TTL went down by one (RFC 1624, equation 3, as the kernel does it).
/// A wrong checksum stays wrong, so that the kernel behind us still sees it.
pub(super) fn after_ttl_decrement(check: u16) -> u16 {
    // The word of TTL and protocol fell by 0x0100, so the complement rises by as much, with end-around carry;
    // 0xffff, the other zero, is written as 0.
    match check {
        0xfeff.. => check.wrapping_add(0x0101),
        _ => check + 0x0100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0xab]), !0xab00);
    }

    proptest! {
        #[test]
        fn sum_is_the_sum_of_words(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let naive: u64 = bytes
                .chunks(2)
                .map(|w| u64::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)])))
                .sum();
            prop_assert_eq!(fold(sum(&bytes)), fold(naive));
        }

        #[test]
        fn incremental_agrees_with_computing_anew(mut header in proptest::array::uniform20(any::<u8>()), ttl in 1u8..) {
            header[8] = ttl;
            header[10..12].fill(0);
            let before = checksum(&header);
            header[8] -= 1;
            prop_assert_eq!(after_ttl_decrement(before), checksum(&header));
        }

        #[test]
        fn a_wrong_checksum_stays_wrong(mut header in proptest::array::uniform20(any::<u8>()), ttl in 1u8..) {
            header[8] = ttl;
            prop_assume!(checksum(&header) != 0);
            let check = after_ttl_decrement(u16::from_be_bytes([header[10], header[11]]));
            header[8] -= 1;
            header[10..12].copy_from_slice(&check.to_be_bytes());
            prop_assert_ne!(checksum(&header), 0);
        }
    }
}
