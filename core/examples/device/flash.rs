//! A file that behaves like NOR flash: two journal pages, two image slots, two pages of key tables.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use waft::ota::event::Area;

/// Bytes that are erased together.
pub const ERASE: u32 = 4096;

pub struct Flash {
    file: File,
    slot: u32,
}

impl Flash {
    /// Opens the file at `path`; a new one is erased flash.
    pub fn open(path: &Path, slot: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let size = u64::from(ERASE) * 4 + u64::from(slot) * 2;
        let mut at = file.metadata()?.len();
        while at < size {
            let n = (size - at).min(u64::from(ERASE));
            file.write_all_at(&vec![0xFF; n as usize], at)?;
            at += n;
        }
        Ok(Self { file, slot })
    }

    fn start(&self, area: Area) -> u64 {
        match area {
            Area::Journal => 0,
            Area::Slot { slot: n, .. } => u64::from(ERASE) * 2 + u64::from(self.slot) * u64::from(n),
            Area::Keys => u64::from(ERASE) * 2 + u64::from(self.slot) * 2,
        }
    }

    pub fn read(&self, area: Area, offset: u32, len: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len as usize];
        self.file.read_exact_at(&mut bytes, self.start(area) + u64::from(offset))?;
        Ok(bytes)
    }

    pub fn write(&self, area: Area, offset: u32, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.start(area) + u64::from(offset))
    }

    pub fn erase(&self, area: Area, offset: u32, len: u32) -> io::Result<()> {
        self.write(area, offset, &vec![0xFF; len as usize])
    }
}
