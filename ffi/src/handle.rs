//! From C's pointers to Rust's references: all the checks, in one place.

use crate::error::Fail;
use core::{
    mem::MaybeUninit,
    ptr::{self, NonNull},
    slice,
};
use waft::{Capacity, Misuse};

/// A handle as C declares it: an array of words of which C only knows the size.
///
/// # Safety
/// The type is `repr(C)`, has the alignment of `u64`, any bytes are a value of it, and [`fits`] holds for it. Or it is
/// hosted: C has nothing but pointers to it, which come from [`boxed`].
pub(crate) unsafe trait Opaque {
    /// What is inside.
    type Machine;
    /// What tells handles of this kind from others and from memory that holds none.
    const MAGIC: u32;
}

/// What a handle's words hold.
#[repr(C)]
pub(crate) struct Slot<T> {
    magic: u32,
    machine: MaybeUninit<T>,
}

/// Whether the machine fits into the words that C declares: asserted at compile time for each handle and target.
pub(crate) const fn fits<O: Opaque>() -> bool {
    size_of::<Slot<O::Machine>>() <= size_of::<O>() && align_of::<Slot<O::Machine>>() <= align_of::<O>()
}

/// Puts a machine into a handle.
///
/// # Safety
/// `handle` is NULL or points to `size` bytes that C lends for the handle, and nothing else refers to them.
pub(crate) unsafe fn init<O: Opaque>(handle: *mut O, size: usize, machine: O::Machine) -> Result<(), Fail> {
    // SAFETY: the caller's.
    unsafe { init_with(handle, size, || machine) }
}

/// The same, made where it is going to be.
///
/// # Safety
/// As for [`init`]; `slot` is what [`place`] gave.
#[inline(always)]
pub(crate) unsafe fn init_with<O: Opaque>(
    handle: *mut O,
    size: usize,
    machine: impl FnOnce() -> O::Machine,
) -> Result<(), Fail> {
    let slot = place(handle, size)?;
    // SAFETY: `place` has checked size and alignment; the caller vouches for the memory. What stood there before is
    // not dropped: machines over borrowed storage own nothing. (One by one: a slot made first would take the stack of a
    // second machine.)
    unsafe {
        (&raw mut (*slot).machine).cast::<O::Machine>().write(machine());
        (&raw mut (*slot).magic).write(O::MAGIC);
    }
    Ok(())
}

/// Checks the place of a handle before anything is worked out for it.
pub(crate) fn place<O: Opaque>(handle: *mut O, size: usize) -> Result<*mut Slot<O::Machine>, Fail> {
    let slot = handle.cast::<Slot<O::Machine>>();
    if handle.is_null() {
        return Err(Misuse::NullPointer.into());
    }
    if size < size_of::<O>() || !slot.is_aligned() {
        return Err(Misuse::BadStorage.into());
    }
    Ok(slot)
}

/// A new handle on the heap.
#[cfg(feature = "std")]
pub(crate) fn boxed<O: Opaque>(machine: O::Machine) -> *mut O {
    std::boxed::Box::into_raw(std::boxed::Box::new(Slot { magic: O::MAGIC, machine: MaybeUninit::new(machine) })).cast()
}

/// Frees what [`boxed`] gave; NULL is nothing to free.
///
/// # Safety
/// `handle` is NULL or from [`boxed`], and is used no more.
#[cfg(feature = "std")]
pub(crate) unsafe fn unboxed<O: Opaque>(handle: *mut O) -> Result<(), Fail> {
    if handle.is_null() {
        return Ok(());
    }
    // SAFETY: the caller's; `machine` checks the magic word. It is wiped so that a second time is likely to be noticed.
    unsafe {
        ptr::drop_in_place(machine(handle)?);
        let slot = handle.cast::<Slot<O::Machine>>();
        (*slot).magic = 0;
        drop(std::boxed::Box::from_raw(slot));
    }
    Ok(())
}

/// The machine of a handle.
///
/// # Safety
/// `handle` is NULL or points to as many readable and writable bytes as the handle's type has, which nothing else
/// uses while the reference lives; if the magic word stands in them, [`init`] put it there.
pub(crate) unsafe fn machine<'h, O: Opaque>(handle: *mut O) -> Result<&'h mut O::Machine, Fail> {
    let slot = handle.cast::<Slot<O::Machine>>();
    if handle.is_null() {
        return Err(Misuse::NullPointer.into());
    }
    // SAFETY: not NULL, aligned, and the caller vouches for the rest.
    if !slot.is_aligned() || unsafe { ptr::addr_of!((*slot).magic).read() } != O::MAGIC {
        return Err(Misuse::BadHandle.into());
    }
    // SAFETY: as above; behind the magic word stands what `init` wrote.
    Ok(unsafe { (*slot).machine.assume_init_mut() })
}

/// The machine of a handle that is only read.
///
/// # Safety
/// As for [`machine`], but for writing.
pub(crate) unsafe fn machine_ref<'h, O: Opaque>(handle: *const O) -> Result<&'h O::Machine, Fail> {
    // SAFETY: the reference is shared from here on.
    unsafe { machine(handle.cast_mut()) }.map(|machine| &*machine)
}

/// What a pointer and a length lend. A pointer may be NULL where the length is 0.
///
/// # Safety
/// `pointer` is NULL or points to `len` values that live, and do not change, for `'b`.
#[inline(always)]
pub(crate) unsafe fn lent<'b, T>(pointer: *const T, len: usize) -> Result<&'b [T], Fail> {
    let pointer = check(pointer, len)?;
    // SAFETY: not NULL, aligned, of a length that an object can have; the caller vouches for the rest.
    Ok(unsafe { slice::from_raw_parts(pointer.as_ptr(), len) })
}

/// The one value that a pointer lends.
///
/// # Safety
/// `pointer` is NULL or points to a value that lives, and does not change, for `'b`.
#[inline(always)]
pub(crate) unsafe fn lent_one<'b, T>(pointer: *const T) -> Result<&'b T, Fail> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Misuse::NullPointer)?;
    if !pointer.is_aligned() {
        return Err(Misuse::OutOfRange.into());
    }
    // SAFETY: not NULL and aligned; the caller vouches for the rest.
    Ok(unsafe { pointer.as_ref() })
}

/// The same, to be written to.
///
/// # Safety
/// `pointer` is NULL or points to `len` values that nothing else uses for `'b`.
#[inline(always)]
pub(crate) unsafe fn lent_mut<'b, T>(pointer: *mut T, len: usize) -> Result<&'b mut [T], Fail> {
    let pointer = check(pointer, len)?;
    // SAFETY: as for `lent`.
    Ok(unsafe { slice::from_raw_parts_mut(pointer.as_ptr(), len) })
}

/// What a pointer and a length lend, as far as it shows that they do: a pointer to nothing, aligned, where the length is 0.
#[inline(always)]
pub(crate) fn check<T>(pointer: *const T, len: usize) -> Result<NonNull<T>, Fail> {
    const { assert!(align_of::<T>() <= NOTHING) };
    let (found, fail) = check_bytes(pointer.cast(), len);
    let Some(found) = found else { return Err(fail) };
    // No object is longer. (A length that is a constant shows that it is not; `check_bytes` has seen to that of bytes.)
    let most = isize::MAX.unsigned_abs().checked_div(size_of::<T>()).filter(|_| size_of::<T>() > 1);
    if most.is_some_and(|most| len > most) || !found.cast::<T>().is_aligned() {
        return Err(Misuse::OutOfRange.into());
    }
    Ok(found.cast())
}

/// Where a pointer to nothing points: aligned for every type.
const NOTHING: usize = 16;

/// The same of any type, so that there is one such function, but for the alignment of what is something; and what
/// is wrong, where there is nothing. (A result would have a tag besides, and not go into two registers.)
#[inline(never)]
fn check_bytes(pointer: *const u8, len: usize) -> (Option<NonNull<u8>>, Fail) {
    let pointer = if len == 0 { ptr::without_provenance(NOTHING) } else { pointer };
    let Some(found) = NonNull::new(pointer.cast_mut()) else { return (None, Misuse::NullPointer.into()) };
    let fits = len <= isize::MAX.unsigned_abs();
    (fits.then_some(found), Misuse::OutOfRange.into())
}

/// A place for a result: checked before anything happens, written when all went well.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// The place that `pointer` names.
    pub(crate) fn new(pointer: *mut T) -> Result<Self, Fail> {
        if pointer.is_null() { Err(Misuse::NullPointer.into()) } else { Ok(Self(pointer)) }
    }

    /// Where it is, which is not NULL.
    pub(crate) const fn pointer(self) -> *mut T {
        self.0
    }

    /// Writes what a result is at first, and gives it to be changed where it is: less code than a value that is moved there.
    ///
    /// # Safety
    /// The pointer is good for a write of a `T`, and nothing else uses that while the reference lives.
    pub(crate) unsafe fn begin<'o>(self, value: T) -> &'o mut T {
        // SAFETY: not NULL; the caller vouches for the rest. A value stands there from the first line on.
        unsafe {
            self.0.write(value);
            &mut *self.0
        }
    }

    /// Writes the result.
    ///
    /// # Safety
    /// The pointer is good for a write of a `T`.
    pub(crate) unsafe fn set(self, value: T) {
        // SAFETY: not NULL; the caller vouches for the rest.
        unsafe { self.0.write(value) }
    }
}

/// Memory that C lends a machine, cut into tables.
pub(crate) struct Memory {
    rest: &'static mut [u8],
}

impl Memory {
    /// # Safety
    /// `pointer` is NULL or points to `len` bytes that are the machine's for as long as it is used.
    #[inline(always)]
    pub(crate) unsafe fn new(pointer: *mut u8, len: usize) -> Result<Self, Fail> {
        // SAFETY: the caller's.
        Ok(Self { rest: unsafe { lent_mut(pointer, len) }? })
    }

    /// The next `len` bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'static mut [u8], Fail> {
        let (bytes, rest) = core::mem::take(&mut self.rest).split_at_mut_checked(len).ok_or(Capacity::Buffer)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'static mut [u8] {
        self.rest
    }

    /// The next `len` bytes from where a `T` may stand on, cleared, to be cut into tables: one check for all of them.
    pub(crate) fn cleared<T>(&mut self, len: usize) -> Result<Tables, Fail> {
        self.bytes(self.rest.as_ptr().align_offset(align_of::<T>()))?;
        let bytes = self.bytes(len)?;
        bytes.fill(0);
        Ok(Tables(bytes.as_mut_ptr()))
    }

    /// A table of as many values as there is room for.
    pub(crate) fn all<T>(&mut self, value: impl FnMut(usize) -> T) -> Result<&'static mut [T], Fail> {
        let skip = self.rest.as_ptr().align_offset(align_of::<T>());
        let room = self.rest.len().saturating_sub(skip);
        self.table(room.checked_div(size_of::<T>()).unwrap_or(0), value)
    }

    /// A table of `len` values, each made by `value`.
    pub(crate) fn table<T>(&mut self, len: usize, mut value: impl FnMut(usize) -> T) -> Result<&'static mut [T], Fail> {
        let skip = self.rest.as_ptr().align_offset(align_of::<T>());
        self.bytes(skip)?;
        let size = len.checked_mul(size_of::<T>()).ok_or(Capacity::Buffer)?;
        let start = self.bytes(size)?.as_mut_ptr().cast::<T>();
        for n in 0..len {
            // SAFETY: the bytes are aligned, long enough for `len` values, and no one else's.
            unsafe { start.add(n).write(value(n)) };
        }
        // SAFETY: as above; and all `len` values have been written.
        Ok(unsafe { slice::from_raw_parts_mut(start, len) })
    }
}

/// What is left of memory that [`Memory::cleared`] gave.
pub(crate) struct Tables(*mut u8);

impl Tables {
    /// The next `len` places, which are zeros.
    ///
    /// # Safety
    /// They are there, zeros are a value of them, and they are aligned as the type that was asked for.
    pub(crate) unsafe fn next<T>(&mut self, len: usize) -> &'static mut [T] {
        let start = self.0.cast::<T>();
        // SAFETY: the caller's; nobody else has them.
        unsafe {
            self.0 = start.add(len).cast();
            slice::from_raw_parts_mut(start, len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Words([u64; 4]);
    // SAFETY: it is `repr(C)` and made of words.
    unsafe impl Opaque for Words {
        type Machine = u32;
        const MAGIC: u32 = 0x7465_7374;
    }
    const _: () = assert!(fits::<Words>());

    #[test]
    fn a_handle_is_known_by_its_magic() {
        let mut words = Words([0; 4]);
        let handle = &raw mut words;
        // SAFETY: the pointers are to a live handle, or NULL.
        unsafe {
            assert_eq!(machine(handle).unwrap_err().code(), -11);
            assert_eq!(machine::<Words>(ptr::null_mut()).unwrap_err().code(), -10);
            assert_eq!(init::<Words>(ptr::null_mut(), 32, 7).unwrap_err().code(), -10);
            assert_eq!(init(handle, 31, 7).unwrap_err().code(), -12);
            init(handle, 32, 7).unwrap();
            *machine(handle).unwrap() += 1;
            assert_eq!(*machine_ref(handle).unwrap(), 8);
            // Handles may be moved.
            let mut moved = Words(words.0);
            assert_eq!(*machine(&raw mut moved).unwrap(), 8);
        }
    }

    #[test]
    fn a_misaligned_handle_is_refused() {
        let mut words = Words([0; 4]);
        let odd = (&raw mut words).wrapping_byte_add(2);
        // SAFETY: it is not read.
        assert_eq!(unsafe { init(odd, 32, 7) }.unwrap_err().code(), -12);
        // SAFETY: likewise.
        assert_eq!(unsafe { machine(odd) }.unwrap_err().code(), -11);
    }

    #[test]
    fn null_is_an_empty_slice_and_nothing_else() {
        // SAFETY: nothing is read through NULL.
        unsafe {
            assert!(lent::<u8>(ptr::null(), 0).unwrap().is_empty());
            assert_eq!(lent::<u8>(ptr::null(), 1).unwrap_err(), Misuse::NullPointer.into());
            assert_eq!(lent::<u8>(ptr::dangling(), usize::MAX).unwrap_err(), Misuse::OutOfRange.into());
        }
    }

    #[test]
    fn memory_is_cut_into_aligned_tables() {
        let memory = std::boxed::Box::leak(std::boxed::Box::new([0_u64; 8]));
        // SAFETY: 63 of the 64 bytes, from an odd address on.
        let mut memory = unsafe { Memory::new(memory.as_mut_ptr().cast::<u8>().wrapping_add(1), 63) }.unwrap();
        let table = memory.table(3, |n| n as u64).unwrap();
        assert_eq!(table, [0, 1, 2]);
        assert_eq!(memory.bytes(33).unwrap_err().code(), -37);
    }
}
