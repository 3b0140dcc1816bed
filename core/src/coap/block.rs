//! The value of Block1 and Block2 (RFC 7959 §2.2).

use core::num::NonZeroU32;

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
        let bits = Bits::decode(value)?;
        Some(Self { num: bits.num(), more: bits.more(), szx: bits.szx() })
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

/// A block as its option says it: in one register, which an endpoint gets by with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bits(NonZeroU32);

impl Bits {
    /// Stands in every one of them, that none is another number.
    const SOME: NonZeroU32 = NonZeroU32::MIN.saturating_mul(NonZeroU32::MIN.saturating_add(1).saturating_pow(31));

    /// As [`Block::decode`].
    #[cfg_attr(feature = "opt-size", inline(never))]
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        let bits = super::option::uint(value)?;
        (value.len() <= 3 && bits & 7 != 7).then_some(Self(Self::SOME | bits))
    }

    /// The block that begins at `offset`, which is a multiple of the size.
    pub(super) fn at(offset: u32, more: bool, szx: u8) -> Self {
        Self(Self::SOME | (offset.wrapping_shr(szx.into()) & !0xF) | u32::from(more) << 3 | u32::from(szx))
    }

    /// The option's value.
    pub(super) const fn get(self) -> u32 {
        self.0.get() & 0xFF_FFFF
    }

    pub(super) const fn num(self) -> u32 {
        self.0.get() >> 4 & Block::MAX_NUM
    }

    pub(super) const fn more(self) -> bool {
        self.0.get() & 8 != 0
    }

    #[allow(clippy::cast_possible_truncation, reason = "the lowest three bits are all that is wanted")]
    pub(super) const fn szx(self) -> u8 {
        self.0.get() as u8 & 7
    }

    /// Bytes of a block.
    pub(super) fn size(self) -> u32 {
        16_u32.wrapping_shl(self.szx().into())
    }

    /// Bytes before it.
    pub(super) fn offset(self) -> u32 {
        self.num().wrapping_shl(u32::from(self.szx()).wrapping_add(4))
    }

    /// With another size exponent, and whether more follow; the number stays.
    pub(super) fn with(self, more: bool, szx: u8) -> Self {
        Self(Self::SOME | self.num() << 4 | u32::from(more) << 3 | u32::from(szx))
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
    fn bits_say_what_the_block_says() {
        for block in [
            Block::default(),
            Block { num: 3, more: true, szx: 2 },
            Block { num: Block::MAX_NUM, more: false, szx: Block::MAX_SZX },
        ] {
            let bits = Bits::at(block.offset(), block.more, block.szx);
            assert_eq!((bits.get(), bits.offset(), bits.size()), (block.encode(), block.offset(), block.size()));
            assert_eq!(Bits::decode(super::super::option::Uint::new(block.encode()).as_bytes()), Some(bits));
            let other = Block { more: true, szx: 0, ..block };
            assert_eq!(bits.with(true, 0).get(), other.encode());
        }
    }

    #[test]
    fn a_size_fits_what_is_there() {
        assert_eq!(szx_within(0), 0);
        assert_eq!(szx_within(16), 0);
        assert_eq!(szx_within(127), 2);
        assert_eq!(szx_within(9999), 6);
    }
}
