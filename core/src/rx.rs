//! Keeps what a machine has not consumed of a stream yet.

use crate::Storage;

/// A receive buffer for a stream: read into [`space`](Self::space), tell how much with [`filled`](Self::filled), offer
/// [`data`](Self::data) to the machine, and [`consume`](Self::consume) what it says.
#[derive(Debug)]
pub struct RxBuffer<'a> {
    buf: Storage<'a, u8>,
    start: usize,
    end: usize,
}

impl<'a> RxBuffer<'a> {
    /// An empty buffer in `buf`: as long as the longest packet header that is to be received (payloads need no room).
    #[must_use]
    pub fn new(buf: impl Into<Storage<'a, u8>>) -> Self {
        Self { buf: buf.into(), start: 0, end: 0 }
    }

    /// Where the next bytes go. What has been consumed makes room. Empty when the buffer is full.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start != 0 {
            self.buf.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
        self.buf.get_mut(self.end..).unwrap_or(&mut [])
    }

    /// `n` bytes were put into [`space`](Self::space); more than there was room for counts as all of it.
    pub fn filled(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.buf.len());
    }

    /// What has arrived and not been consumed.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.buf.get(self.start..self.end).unwrap_or(&[])
    }

    /// The first `n` bytes are done with.
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.wrapping_add(n.min(self.end.wrapping_sub(self.start)));
    }

    /// Forgets everything: a new connection begins.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_over_comes_first() {
        let mut memory = [0; 4];
        let mut rx = RxBuffer::new(&mut memory);
        rx.space().copy_from_slice(b"abcd");
        rx.filled(4);
        rx.consume(3);
        assert_eq!(rx.space().len(), 3);
        rx.filled(9);
        assert_eq!(rx.data().len(), 4);
        assert_eq!(rx.data().first(), Some(&b'd'));
        rx.consume(9);
        assert!(rx.data().is_empty());
    }
}
