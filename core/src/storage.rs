//! Memory that belongs to the caller.

#[cfg(feature = "alloc")]
use alloc::{vec, vec::Vec};
use core::ops::{Deref, DerefMut};

/// A slice that an engine works in: lent by the caller, or owned where there is an allocator.
///
/// Its length never changes. One type for both keeps one copy of each engine in the program.
#[derive(Debug)]
pub enum Storage<'a, T> {
    /// The caller's memory; a `static` in most firmware.
    Borrowed(&'a mut [T]),
    /// The heap's.
    #[cfg(feature = "alloc")]
    Owned(Vec<T>),
}

impl<T> Storage<'_, T> {
    /// No room at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Borrowed(&mut [])
    }
}

#[cfg(feature = "mqtt")]
impl<T> Storage<'_, T> {
    /// Its first `len`, if there are more.
    pub(crate) fn at_most(self, len: usize) -> Self {
        match self {
            Self::Borrowed(slice) if slice.len() > len => Self::Borrowed(slice.get_mut(..len).unwrap_or(&mut [])),
            #[cfg(feature = "alloc")]
            Self::Owned(mut vec) => {
                vec.truncate(len);
                Self::Owned(vec)
            }
            borrowed => borrowed,
        }
    }
}

#[cfg(feature = "alloc")]
impl<T: Clone + Default> Storage<'static, T> {
    /// `len` default values on the heap.
    #[must_use]
    pub fn owned(len: usize) -> Self {
        Self::Owned(vec![T::default(); len])
    }
}

impl<'a, T> From<&'a mut [T]> for Storage<'a, T> {
    fn from(slice: &'a mut [T]) -> Self {
        Self::Borrowed(slice)
    }
}

impl<'a, T, const N: usize> From<&'a mut [T; N]> for Storage<'a, T> {
    fn from(array: &'a mut [T; N]) -> Self {
        Self::Borrowed(array)
    }
}

#[cfg(feature = "alloc")]
impl<T> From<Vec<T>> for Storage<'_, T> {
    fn from(vec: Vec<T>) -> Self {
        Self::Owned(vec)
    }
}

impl<T> Deref for Storage<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Borrowed(slice) => slice,
            #[cfg(feature = "alloc")]
            Self::Owned(vec) => vec,
        }
    }
}

impl<T> DerefMut for Storage<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Borrowed(slice) => slice,
            #[cfg(feature = "alloc")]
            Self::Owned(vec) => vec,
        }
    }
}
