//! Where records go in flash, and which is the newest.

use super::Record;
use crate::error::Capacity;

/// Records one after another in two pages: regions of flash that are erased separately (to `FF`), or two files, or two
/// areas of a memory that need not be erased.
///
/// A page is filled; then the other one is erased and filled. So the page that holds the newest record is never
/// erased, and a write or an erasure that the power cuts off anywhere leaves that record to be found by the next
/// [`Journal::open`]. Where a page holds one record only, the two take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    unit: usize,
    page_len: usize,
    /// The page of the newest record.
    page: usize,
    /// Where the next record may stand in it.
    end: usize,
    sequence: u32,
}

/// Where the next record is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// In this page: 0 or 1.
    pub page: usize,
    /// From here on, in bytes; a multiple of the unit.
    pub offset: usize,
    /// The whole page has to be erased first.
    pub erase: bool,
    /// For [`Client::export`](super::super::Client::export).
    pub sequence: u32,
}

impl Journal {
    /// Looks through what is in the two pages, which are of one length, for the newest record. `unit` is the smallest
    /// number of bytes that the flash can write: every record starts at a multiple of it. Fill the last unit with
    /// `FF`.
    #[must_use]
    pub fn open(pages: [&[u8]; 2], unit: usize) -> (Self, Option<Record<'_>>) {
        let unit = unit.max(1);
        let [len, other] = pages.map(<[u8]>::len);
        let page_len = len.min(other);
        // Nothing found: page 0 is the other one of page 1, which takes no more.
        let mut journal = Self { unit, page_len, page: 1, end: page_len, sequence: 0 };
        let mut newest: Option<Record<'_>> = None;
        for (page, bytes) in pages.into_iter().enumerate() {
            let Some((last, end)) = last_record(bytes, unit) else { continue };
            if newest.is_some_and(|found| found.sequence >= last.sequence) {
                continue;
            }
            newest = Some(last);
            // Behind a write that was cut off nothing more can be written.
            let clear = bytes.get(end..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0xFF));
            journal.page = page;
            journal.end = if clear { end } else { page_len };
            journal.sequence = last.sequence;
        }
        (journal, newest)
    }

    /// Where a record of `len` bytes is to be written now. Call it once for each; after a write that failed, though
    /// the power stayed on, [`open`](Self::open) the pages again.
    ///
    /// # Errors
    /// [`Capacity::Buffer`]: it is longer than a page.
    pub fn place(&mut self, len: usize) -> Result<Place, Capacity> {
        let over = len.checked_rem(self.unit).filter(|over| *over != 0);
        let padding = over.map_or(0, |over| self.unit.saturating_sub(over));
        let len = len.saturating_add(padding);
        if len > self.page_len {
            return Err(Capacity::Buffer);
        }
        let erase = self.end.saturating_add(len) > self.page_len;
        if erase {
            self.page ^= 1;
            self.end = 0;
        }
        let offset = self.end;
        self.end = offset.saturating_add(len);
        self.sequence = self.sequence.saturating_add(1);
        Ok(Place { page: self.page, offset, erase, sequence: self.sequence })
    }
}

/// The last record of a page, and where the next one may stand.
fn last_record(page: &[u8], unit: usize) -> Option<(Record<'_>, usize)> {
    let mut last: Option<(Record<'_>, usize)> = None;
    let mut end = 0_usize;
    while let Ok(record) = Record::read(page.get(end..).unwrap_or(&[])) {
        // What an earlier round left in a memory that is not erased is older.
        if last.is_some_and(|(before, _)| before.sequence.checked_add(1) != Some(record.sequence)) {
            break;
        }
        end = end.saturating_add(record.as_bytes().len()).checked_next_multiple_of(unit)?;
        last = Some((record, end));
    }
    last
}
