//! Memory that a thread's kernels share, so that a layer does not ask the allocator for it at every run.

use std::cell::RefCell;

thread_local! {
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static FLOATS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    #[cfg(target_arch = "x86_64")]
    static PAIRS: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
    #[cfg(target_arch = "x86_64")]
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends `len` bytes of unknown content. Not to be nested.
pub(super) fn bytes<R>(len: usize, run: impl FnOnce(&mut [u8]) -> R) -> R {
    BYTES.with_borrow_mut(|memory| {
        if memory.len() < len {
            memory.resize(len, 0);
        }
        run(&mut memory[..len])
    })
}

/// Lends `len` floats of unknown content that begin with a line of the cache. Not to be nested.
pub(super) fn floats<R>(len: usize, run: impl FnOnce(&mut [f32]) -> R) -> R {
    FLOATS.with_borrow_mut(|memory| run(aligned(memory, len)))
}

/// Lends `len` words of unknown content that begin with a line of the cache. Not to be nested.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs<R>(len: usize, run: impl FnOnce(&mut [i32]) -> R) -> R {
    PAIRS.with_borrow_mut(|memory| run(aligned(memory, len)))
}

/// Lends `len` bytes of unknown content that begin with a line of the cache. Not to be nested, but within [`bytes`].
#[cfg(target_arch = "x86_64")]
pub(super) fn lines<R>(len: usize, run: impl FnOnce(&mut [u8]) -> R) -> R {
    LINES.with_borrow_mut(|memory| run(aligned(memory, len)))
}

/// A part of `memory`, grown if need be, that begins with a line of the cache.
fn aligned<T: Copy + Default>(memory: &mut Vec<T>, len: usize) -> &mut [T] {
    /// Bytes of a line.
    const LINE: usize = 64;
    let spare = LINE / size_of::<T>();
    if memory.len() < len + spare {
        memory.resize(len + spare, T::default());
    }
    let skip = memory.as_ptr().align_offset(LINE).min(spare);
    &mut memory[skip..skip + len]
}
