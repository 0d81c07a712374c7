//! How many seats a request takes: a list takes more, the more bytes it holds.

/// Bytes of stored objects for one seat, as in the original.
const OF_A_SEAT: usize = 100_000;

/// More bytes of a list than these are not in work at the same time: it is sent as it is made.
const MOST: usize = 1_000_000;

/// Seats for a list of objects of these sizes in bytes, as they are stored: 1 to 10. Looks at no more of them than it must.
pub fn of_list(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    for size in sizes {
        bytes += size;
        if bytes >= MOST {
            break;
        }
    }
    bytes.min(MOST).div_ceil(OF_A_SEAT).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_a_seat_for_each_hundred_thousand_bytes_and_ten_at_most() {
        let of = |size: usize, count: usize| of_list(std::iter::repeat_n(size, count));
        assert_eq!((of(1000, 0), of(1000, 100), of(1000, 101)), (1, 1, 2));
        assert_eq!((of(1000, 950), of(1000, 1_000_000), of(usize::MAX, 1)), (10, 10, 10));
    }
}
