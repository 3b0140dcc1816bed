//! Pseudo-random numbers from a seed: jitter, tokens, identifiers. Never keys.

/// A sequence that the seed determines (SplitMix64), so that a run can be repeated byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of `seed`. On a device take the seed from a hardware source: RFC 7252 §11.4 wants tokens that an
    /// off-path attacker does not guess.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 32 bits.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half is what is wanted")]
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `n`; 0 where `n` is 0. Biased by at most `n` in 2⁶⁴.
    #[allow(clippy::cast_possible_truncation, reason = "a product of u64 by u64, shifted by 64, is a u64")]
    pub fn below(&mut self, n: u64) -> u64 {
        (u128::from(self.next_u64()).wrapping_mul(u128::from(n)) >> 64) as u64
    }
}
