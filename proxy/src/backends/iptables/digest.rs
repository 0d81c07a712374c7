//! SHA-256 (FIPS 180-4), for kube-proxy's chain names. Not for secrets.

/// The first primes, whose roots give the constants.
const PRIMES: [u32; 64] = primes();

const fn primes() -> [u32; 64] {
    let (mut found, mut count, mut number) = ([0; 64], 0, 2);
    while count < 64 {
        let (mut index, mut prime) = (0, true);
        while index < count {
            if number % found[index] == 0 {
                prime = false;
            }
            index += 1;
        }
        if prime {
            found[count] = number;
            count += 1;
        }
        number += 1;
    }
    found
}

/// The first 32 bits behind the point of the `degree`-th root of `number`, found bit by bit.
const fn root(number: u32, degree: u32) -> u32 {
    // The root times 2^32: the largest x with x^degree <= number * 2^(32 * degree). Compared without overflow by
    // working at 2^36 and below: roots of the first 64 primes are less than 18.
    let (mut low, mut high) = (0u128, 18u128 << 32);
    while high - low > 1 {
        let middle = (low + high) / 2;
        let fits = if degree == 2 {
            middle * middle <= (number as u128) << 64
        } else {
            middle * middle * middle <= (number as u128) << 96
        };
        if fits {
            low = middle;
        } else {
            high = middle;
        }
    }
    low as u32
}

const fn roots(degree: u32) -> [u32; 64] {
    let (mut found, mut index) = ([0; 64], 0);
    while index < 64 {
        found[index] = root(PRIMES[index], degree);
        index += 1;
    }
    found
}

const ROUNDS: [u32; 64] = roots(3);
const START: [u32; 64] = roots(2);

pub(in crate::backends) fn sha256(text: &[u8]) -> [u8; 32] {
    let mut state: [u32; 8] = std::array::from_fn(|index| START[index]);
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend((text.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks_exact(64) {
        compress(&mut state, block);
    }
    let mut sum = [0; 32];
    for (bytes, word) in sum.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    sum
}

fn compress(state: &mut [u32; 8], block: &[u8]) {
    let mut words = [0u32; 64];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    for at in 16..64 {
        let (early, late) = (words[at - 15], words[at - 2]);
        let early = early.rotate_right(7) ^ early.rotate_right(18) ^ (early >> 3);
        let late = late.rotate_right(17) ^ late.rotate_right(19) ^ (late >> 10);
        words[at] = words[at - 16].wrapping_add(early).wrapping_add(words[at - 7]).wrapping_add(late);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (word, constant) in words.into_iter().zip(ROUNDS) {
        let mix = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let one = h.wrapping_add(mix).wrapping_add(choice).wrapping_add(constant).wrapping_add(word);
        let mix = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let majority = (a & b) ^ (a & c) ^ (b & c);
        let two = mix.wrapping_add(majority);
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(one), c, b, a, one.wrapping_add(two));
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        sha256(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The examples of FIPS 180-4: no block but padding, one block, two blocks.
    #[test]
    fn the_published_examples_hold() {
        assert_eq!(hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }
}
