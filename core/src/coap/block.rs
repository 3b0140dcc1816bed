//! The value of Block1 and Block2 (RFC 7959 §2.2).

/// Block number, whether more follow, and the exponent of the size.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Number of the block, 0 to 1 048 575.
    pub num: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// Size exponent, 0 to 6: a block has 2^(szx + 4) bytes, 16 to 1024.
    pub szx: u8,
}

impl Block {
    /// The largest size exponent: 1024 bytes. 7 is reserved.
    pub const MAX_SZX: u8 = 6;
    /// The largest block number: 20 bits.
    pub const MAX_NUM: u32 = 0xF_FFFF;

    /// Reads an option's value. `None`: longer than three bytes, or the reserved exponent 7 (which is to be answered
    /// 4.00, RFC 7959 §2.2).
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        if value.len() > 3 {
            return None;
        }
        Self::from_bits(super::option::uint(value)?)
    }

    /// Of what [`encode`](Self::encode) gives.
    pub(super) fn from_bits(bits: u32) -> Option<Self> {
        let [.., low] = bits.to_be_bytes();
        let szx = low & 7;
        (szx <= Self::MAX_SZX).then_some(Self { num: bits >> 4, more: bits & 8 != 0, szx })
    }

    /// The option's value as an unsigned integer. A number or exponent outside its range is cut to it.
    #[must_use]
    pub fn encode(self) -> u32 {
        (self.num.min(Self::MAX_NUM) << 4) | (u32::from(self.more) << 3) | u32::from(self.szx.min(Self::MAX_SZX))
    }

    /// The block that begins at `offset`, which is a multiple of the size.
    #[must_use]
    pub fn at(offset: u32, more: bool, szx: u8) -> Self {
        Self { num: offset.wrapping_shr(u32::from(szx).wrapping_add(4)), more, szx }
    }

    /// Bytes of a block.
    #[must_use]
    pub fn size(self) -> u32 {
        size(self.szx)
    }

    /// Bytes before it. Below 2^30 for every block that [`decode`](Self::decode) gives.
    #[must_use]
    pub fn offset(self) -> u32 {
        self.num.saturating_mul(self.size())
    }
}

/// Bytes of a block with this size exponent (0 to 6; more counts as 6).
#[must_use]
pub fn size(szx: u8) -> u32 {
    16_u32.wrapping_shl(u32::from(szx.min(Block::MAX_SZX)))
}

/// The largest size exponent whose blocks are at most `bytes` long; 0 where even 16 bytes are more.
#[must_use]
pub fn szx_within(bytes: usize) -> u8 {
    (0..=Block::MAX_SZX).rev().find(|szx| size(*szx) as usize <= bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_a_number_a_flag_and_an_exponent() {
        assert_eq!(Block::decode(&[]), Some(Block { num: 0, more: false, szx: 0 }));
        assert_eq!(Block::decode(&[0x1E]), Some(Block { num: 1, more: true, szx: 6 }));
        assert_eq!(Block::decode(&[0xFF, 0xFF, 0xF6]), Some(Block { num: Block::MAX_NUM, more: false, szx: 6 }));
        assert_eq!(Block::decode(&[0x07]), None);
        assert_eq!(Block::decode(&[0; 4]), None);
        let block = Block { num: 70_000, more: true, szx: 3 };
        assert_eq!(Block::decode(super::super::option::Uint::new(block.encode()).as_bytes()), Some(block));
        assert_eq!(block.offset(), 70_000 * 128);
        assert_eq!(Block::at(256, false, 2), Block { num: 4, more: false, szx: 2 });
    }

    #[test]
    fn a_size_fits_what_is_there() {
        assert_eq!(szx_within(0), 0);
        assert_eq!(szx_within(16), 0);
        assert_eq!(szx_within(127), 2);
        assert_eq!(szx_within(9999), 6);
    }
}
