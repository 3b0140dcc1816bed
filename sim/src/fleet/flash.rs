//! NOR flash in memory.

use waft::ota::event::Area;

/// Bytes that are erased together.
pub const ERASE: u32 = 4096;
/// Bytes of an image slot.
pub const SLOT: u32 = 256 * 1024;
/// Bytes that are programmed together.
pub const UNIT: u32 = 8;

/// NOR flash: erased to ones, each program unit written once.
#[derive(Debug, Clone)]
pub struct Flash {
    /// Bytes that are erased together.
    pub erase_size: u32,
    areas: Vec<Vec<u8>>,
}

impl Flash {
    /// Erased flash.
    #[must_use]
    pub fn new() -> Self {
        Self::of(ERASE)
    }

    /// Erased flash with erase blocks of `erase_size` bytes.
    #[must_use]
    pub fn of(erase_size: u32) -> Self {
        let area = |len: u32| vec![0xFF; len as usize];
        Self { erase_size, areas: vec![area(2 * erase_size), area(SLOT), area(SLOT), area(2 * erase_size)] }
    }

    /// Adds the slots of another image.
    pub fn add_image(&mut self) {
        self.areas.extend([vec![0xFF; SLOT as usize], vec![0xFF; SLOT as usize]]);
    }

    /// How many images there are slots for.
    #[must_use]
    pub fn images(&self) -> usize {
        self.areas.len() / 2 - 1
    }

    /// All bytes of an area.
    #[must_use]
    pub fn area(&self, area: Area) -> &[u8] {
        &self.areas[index(area)]
    }

    /// Erases one erase block.
    ///
    /// # Panics
    /// If it is not one.
    pub fn erase(&mut self, area: Area, offset: u32, len: u32) {
        assert!(offset.is_multiple_of(self.erase_size) && len == self.erase_size, "erase blocks are erased whole");
        self.areas[index(area)][offset as usize..][..len as usize].fill(0xFF);
    }

    /// Programs `bytes`.
    ///
    /// # Panics
    /// If they begin inside a program unit, or where something was programmed since the last erase.
    pub fn write(&mut self, area: Area, offset: u32, bytes: &[u8]) {
        assert!(offset.is_multiple_of(UNIT), "writes begin at a program unit");
        let place = &mut self.areas[index(area)][offset as usize..][..bytes.len()];
        assert!(place.iter().all(|b| *b == 0xFF), "{area:?} at {offset}: written twice");
        place.copy_from_slice(bytes);
    }
}

fn index(area: Area) -> usize {
    match area {
        Area::Journal => 0,
        Area::Slot { image: 0, slot } => 1 + usize::from(slot),
        Area::Slot { image, slot } => 2 + 2 * usize::from(image) + usize::from(slot),
        Area::Keys => 3,
    }
}

impl Default for Flash {
    fn default() -> Self {
        Self::new()
    }
}
