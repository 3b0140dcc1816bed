//! Cursors over bytes: [`Reader`] borrows what it reads, [`Writer`] remembers an overflow instead of failing at each
//! step. Integers are in network byte order, as MQTT and CoAP have them.

/// Reads from the front of a slice. A read that would go past the end gives `None` and moves nothing.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes have not been read.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether all has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, left where it is.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// The next two bytes as an integer.
    pub fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// The next four bytes as an integer.
    pub fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*bytes)
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(bytes)
    }
}

/// Whether what is short is put together in a register and written at once, rather than by the one function that writes all:
/// faster, and more code.
pub(crate) const WORDS: bool = cfg!(target_pointer_width = "64");

/// Writes to the front of a slice. What does not fit is counted and dropped, so that a caller checks once, at the end,
/// and then knows how much room it would have taken.
#[derive(Debug)]
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `buf`.
    #[must_use]
    pub const fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Bytes written so far, those that did not fit included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes one byte.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn u8(&mut self, byte: u8) {
        if WORDS { self.array([byte]) } else { self.uint(byte.into(), 1) }
    }

    /// Writes the last `len` of an integer's four bytes.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(crate) fn uint(&mut self, value: u32, len: usize) {
        let [a, b, c, d] = value.to_be_bytes();
        self.bytes([a, b, c, d].get(4_usize.wrapping_sub(len)..).unwrap_or(&[]));
    }

    /// Writes over a byte, if there was room for it.
    #[cfg(feature = "coap")]
    #[inline]
    pub(crate) fn amend(&mut self, at: usize, byte: u8) {
        if let Some(place) = self.buf.get_mut(at) {
            *place = byte;
        }
    }

    /// Writes two bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.array(value.to_be_bytes());
    }

    /// Writes four bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.array(value.to_be_bytes());
    }

    /// Writes an array: all of it or, where it does not fit, nothing.
    #[inline]
    pub fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.buf.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
        self.len = self.len.saturating_add(N);
    }

    /// Writes the first `len` bytes of an array: all or, where they do not fit, none. Where there is room for all of the
    /// array, what is behind them is written over, and is to be by what comes next.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub fn front<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        match self.buf.get_mut(self.len..).and_then(<[u8]>::first_chunk_mut) {
            Some(place) => {
                *place = bytes;
                self.len = self.len.wrapping_add(len.min(N));
            }
            None => self.bytes(bytes.get(..len).unwrap_or(&bytes)),
        }
    }

    /// Writes a byte and then `bytes`.
    #[inline]
    pub fn headed(&mut self, head: u8, bytes: &[u8]) {
        if !WORDS {
            self.u8(head);
            return self.bytes(bytes);
        }
        let size = bytes.len().wrapping_add(1);
        if let Some((place, _)) = self.buf.get_mut(self.len..).and_then(|rest| rest.split_at_mut_checked(size))
            && let Some((first, place)) = place.split_first_mut()
        {
            *first = head;
            copy(place, bytes);
        }
        self.len = self.len.saturating_add(size);
    }

    /// Writes `bytes`: all of them or, where they do not fit, none.
    #[cfg_attr(target_pointer_width = "64", inline)]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let start = self.len;
        let Some(end) = start.checked_add(bytes.len()) else {
            self.len = usize::MAX;
            return;
        };
        self.len = end;
        if let Some(place) = self.buf.get_mut(start..end) {
            copy(place, bytes);
        }
    }

    /// Writes a length of two bytes and as many of `bytes`, of which those past 65,535 are left out: all or, where they
    /// do not fit, none.
    #[inline]
    pub fn prefixed(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
        let [.., high, low] = bytes.len().to_be_bytes();
        let size = bytes.len().wrapping_add(2);
        if let Some((place, _)) = self.buf.get_mut(self.len..).and_then(|rest| rest.split_at_mut_checked(size))
            && let Some((prefix, place)) = place.split_first_chunk_mut()
        {
            *prefix = [high, low];
            copy_name(place, bytes);
        }
        self.len = self.len.saturating_add(size);
    }

    /// Where the next `size` bytes go, if there is room for them. They count as written.
    #[cfg(all(target_pointer_width = "64", feature = "mqtt"))]
    #[inline]
    pub(crate) fn place(&mut self, size: usize) -> Option<&mut [u8]> {
        let place = self.buf.get_mut(self.len..)?.get_mut(..size)?;
        self.len = self.len.wrapping_add(size);
        Some(place)
    }

    /// What was written.
    ///
    /// # Errors
    /// The number of bytes it would have taken, where the slice is shorter.
    pub fn finish(self) -> Result<&'a [u8], usize> {
        let Self { buf, len } = self;
        let buf: &'a [u8] = buf;
        buf.get(..len).ok_or(len)
    }
}

/// Copies as many bytes as both have; how many.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let Some(to) = to.get_mut(..len) {
        copy_all(to, from);
    }
    len
}

/// Copies as many bytes as `to` has. (Not by `copy_from_slice`, whose check of the lengths keeps a panic at opt-level z. This loop
/// ends where others begin, and so becomes memcpy at that level too, as long as it is a function of its own.)
#[cfg(not(target_pointer_width = "64"))]
fn copy_all(to: &mut [u8], from: &[u8]) {
    if let Some(from) = from.get(..to.len()) {
        to.iter_mut().enumerate().for_each(|(n, to)| {
            if let Some(from) = from.get(n) {
                *to = *from;
            }
        });
    }
}

/// Copies as many bytes as both have; how many.
#[cfg(target_pointer_width = "64")]
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) -> usize {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}

/// [`copy`].
#[cfg(not(target_pointer_width = "64"))]
pub(crate) use copy as copy_name;

/// [`copy`], without a call where it is the 8 to 32 bytes of most names.
#[cfg(target_pointer_width = "64")]
#[inline(always)]
pub(crate) fn copy_name(to: &mut [u8], from: &[u8]) {
    /// Some bytes are copied twice.
    #[inline(always)]
    fn ends<const N: usize>(to: &mut [u8], from: &[u8]) -> Option<()> {
        let (first, last) = (*from.first_chunk::<N>()?, *from.last_chunk::<N>()?);
        *to.first_chunk_mut()? = first;
        *to.last_chunk_mut()? = last;
        Some(())
    }
    let done = match from.len() {
        len if len != to.len() => None,
        16..=32 => ends::<16>(to, from),
        8..=15 => ends::<8>(to, from),
        _ => None,
    };
    if done.is_none() {
        copy(to, from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_moves_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u16(), Some(0x0102));
        assert_eq!(reader.take(2), None);
        assert_eq!(reader.rest(), &[3]);
    }

    #[test]
    fn an_overflow_tells_how_much_it_would_have_taken() {
        let mut buf = [0; 3];
        let mut writer = Writer::new(&mut buf);
        writer.u16(0x0102);
        writer.u32(7);
        writer.u8(9);
        assert_eq!(writer.finish(), Err(7));
        assert_eq!(buf, [1, 2, 0]);
    }
}
