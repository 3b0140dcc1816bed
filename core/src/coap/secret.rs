//! What nobody else is to guess: tokens, message IDs, jitter (RFC 7252 §11.4), and the values of Echo (RFC 9175 §5).
//!
//! All of it follows from the endpoint's seed, so that a run can be repeated byte for byte, and each by a MAC under that: who has
//! seen any number of tokens knows no more of the next one, nor of the key of Echo, than who tries all seeds.
//!
//! The MAC is HalfSipHash-2-4 with 64 bits of key and of output: SipHash for processors of 32 bits, by its authors. RFC 9175 §5
//! asks for 64 bits that nobody else can predict; a key of more would be no stronger, since it follows from a seed of 64.

/// Of numbers drawn, and of the key of Echo: what a MAC under the seed is of.
const DRAWN: u32 = u32::from_be_bytes(*b"draw");
const WAFT: u32 = u32::from_be_bytes(*b"waft");
const ECHO: u32 = u32::from_be_bytes(*b"Echo");

/// An endpoint's seed, and how many numbers were drawn by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret {
    seed: [u32; 2],
    drawn: u32,
}

impl Secret {
    #[allow(clippy::cast_possible_truncation, reason = "halves")]
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed: [seed as u32, (seed >> 32) as u32], drawn: 0 }
    }

    /// The next number.
    #[cfg_attr(feature = "opt-size", inline(never))]
    #[allow(clippy::cast_possible_truncation, reason = "a half")]
    pub(super) fn draw(&mut self) -> u32 {
        self.drawn = self.drawn.wrapping_add(1);
        halfsiphash(self.key(), self.drawn, DRAWN) as u32
    }

    /// What `peer` is to show in a span of time.
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn echo(&self, peer: u32, span: u32) -> u64 {
        halfsiphash(halfsiphash(self.key(), WAFT, ECHO), peer, span)
    }

    fn key(&self) -> u64 {
        let [low, high] = self.seed;
        u64::from(low) | u64::from(high) << 32
    }
}

/// HalfSipHash-2-4 of two words, 64 bits of it.
#[cfg_attr(feature = "opt-size", inline(never))]
#[allow(clippy::cast_possible_truncation, reason = "halves")]
fn halfsiphash(key: u64, first: u32, second: u32) -> u64 {
    let (k0, k1) = (key as u32, (key >> 32) as u32);
    let [mut a, mut b, mut c, mut d] = [k0, k1 ^ 0xEE, k0 ^ 0x6C79_6765, k1 ^ 0x7465_6462];
    let mut low = 0;
    // The words, one that tells how many bytes they are, and twice the end: after so many rounds a word is done.
    let (mut word, mut round) = (first, 0_u8);
    d ^= word;
    loop {
        a = a.wrapping_add(b);
        b = b.rotate_left(5) ^ a;
        a = a.rotate_left(16);
        c = c.wrapping_add(d);
        d = d.rotate_left(8) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(7) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(13) ^ c;
        c = c.rotate_left(16);
        round = round.wrapping_add(1);
        let next = match round {
            2 => second,
            4 => 8 << 24,
            6 => 0,
            10 => {
                low = b ^ d;
                b ^= 0xDD;
                continue;
            }
            14 => return u64::from(low) | u64::from(b ^ d) << 32,
            _ => continue,
        };
        a ^= word;
        d ^= next;
        word = next;
        if round == 6 {
            c ^= 0xEE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_halfsiphash_2_4() {
        // The reference's vector for the input 00 01 … 07 under the key 00 01 … 07 (`vectors_hsip64` of its authors).
        let mac = halfsiphash(0x0706_0504_0302_0100, 0x0302_0100, 0x0706_0504);
        assert_eq!(mac.to_le_bytes(), [0xED, 0xFE, 0xE8, 0x20, 0xBC, 0xE4, 0x85, 0x8C]);
    }

    #[test]
    fn what_is_drawn_follows_from_the_seed_and_tells_nothing_of_echo() {
        let mut secret = Secret::new(7);
        let drawn: std::vec::Vec<u32> = (0..1000).map(|_| secret.draw()).collect();
        let mut same = Secret::new(7);
        assert!(drawn.iter().all(|number| *number == same.draw()));
        let mut other = Secret::new(7 << 32);
        assert!(drawn.iter().all(|number| *number != other.draw()));
        // As many bits are set as are not.
        let set: u32 = drawn.iter().map(|number| number.count_ones()).sum();
        assert!((15_500..16_500).contains(&set), "{set}");
        // No number drawn is half of an Echo value, whatever the peer and the span: the keys differ.
        for (peer, span) in [(1, DRAWN), (2, DRAWN), (WAFT, ECHO), (0, 0)] {
            let value = secret.echo(peer, span);
            assert!([value as u32, (value >> 32) as u32].iter().all(|half| !drawn.contains(half)));
        }
    }
}
