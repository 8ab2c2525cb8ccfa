//! Hashes that are the same on every machine, in every release and after every restart: where a message goes depends on them.

/// Erlang's constant for combining hashes, the golden ratio.
const GOLDEN: u32 = 0x9E37_79B9;
/// The constants with which `erlang:phash2` marks a binary and a list's end.
const OF_BINARY: u32 = GOLDEN.wrapping_mul(13);
const OF_LIST: u32 = GOLDEN.wrapping_mul(2);
/// What `erlang:phash2` takes the end of a list for.
const NIL: u32 = 2;
/// `erlang:phash2` gives 27 bits.
const PHASH2_BITS: u32 = (1 << 27) - 1;

/// Bob Jenkins' mix of three words.
fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (first, second, third) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> first);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << second);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> third);
    }
    (a, b, c)
}

/// Bob Jenkins' hash of 1996 over bytes.
fn block(bytes: &[u8], initial: u32) -> u32 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word: u32, byte| (word << 8) | u32::from(*byte));
    let (mut a, mut b, mut c) = (GOLDEN, GOLDEN, initial);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        a = a.wrapping_add(word(&block[..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..]));
        (a, b, c) = mix(a, b, c);
    }
    let rest = blocks.remainder();
    let part = |from: usize, to: usize| word(&rest[from.min(rest.len())..to.min(rest.len())]);
    // The lowest byte of the third word is the length's.
    c = c.wrapping_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).wrapping_add(part(8, 11) << 8);
    mix(a.wrapping_add(part(0, 4)), b.wrapping_add(part(4, 8)), c).2
}

/// `erlang:phash2` of a list of binaries, which is what RabbitMQ hashes a message's routing keys by.
pub(super) fn phash2<'a>(binaries: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut hash = 0;
    for binary in binaries {
        let initial = OF_BINARY.wrapping_add(hash);
        hash = if binary.is_empty() { initial } else { block(binary, initial) };
    }
    mix(OF_LIST.wrapping_add(NIL), OF_LIST, hash).2 & PHASH2_BITS
}

/// 64 bits over bytes: FNV-1a, then [`spread`] for the bits that it leaves alike.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    spread(fnv)
}

/// Makes every bit of the result depend on every bit of the number (the finish of SplitMix64).
pub(super) fn spread(number: u64) -> u64 {
    let z = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{hash, phash2};

    #[test]
    fn phash2_is_erlang_s() {
        let of = |binaries: &[&str]| phash2(binaries.iter().map(|binary| binary.as_bytes()));
        // What Erlang/OTP 25 says.
        assert_eq!(of(&[""]), 38_220_213);
        assert_eq!(of(&["a"]), 53_691_870);
        assert_eq!(of(&["hello world"]), 100_059_412);
        assert_eq!(of(&["hello world!"]), 124_688_779);
        assert_eq!(of(&["hello world!!"]), 117_813_134);
        assert_eq!(of(&["k", "c"]), 108_755_405);
        assert_eq!(of(&["k", "", "abcdefghijklmnopqrstuvwxyz0123456789"]), 11_569_525);
    }

    #[test]
    fn hashes_stay_what_they_are() {
        // A change here would move every key of every consistent-hash exchange.
        assert_eq!(hash(b""), 0xF52A_15E9_A9B5_E89B);
        assert_eq!(hash(b"k1"), 0x1F01_5D6A_F2B2_EEC6);
    }
}
