//! Generated names and choices from a seed, so that the same inputs give the same outputs.

/// SplitMix64: small, and good enough for names, which need to be unique and not secret.
#[derive(Debug)]
pub(super) struct Random(u64);

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below this one, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        // The high half of the product: as even as the numbers are.
        usize::try_from((u128::from(self.next()) * limit as u128) >> 64).expect("less than the limit")
    }

    /// `prefix` and 22 characters, as `amq.gen-` and `amq.ctag-` names have.
    pub(super) fn name(&mut self, prefix: &str) -> String {
        let mut bits = (u128::from(self.next()) << 64) | u128::from(self.next());
        let mut name = String::from(prefix);
        for _ in 0..22 {
            name.push(char::from(BASE64URL[(bits & 63) as usize]));
            bits >>= 6;
        }
        name
    }
}
