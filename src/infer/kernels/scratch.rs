//! Memory that a thread's kernels share, so that a layer does not ask the allocator for it at every run.

use std::cell::RefCell;

thread_local! {
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    #[cfg(target_arch = "x86_64")]
    static PAIRS: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
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

/// Lends `len` words of unknown content that begin with a line of the cache. Not to be nested.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs<R>(len: usize, run: impl FnOnce(&mut [i32]) -> R) -> R {
    /// Words of a line, 64 bytes.
    const LINE: usize = 16;
    PAIRS.with_borrow_mut(|memory| {
        if memory.len() < len + LINE {
            memory.resize(len + LINE, 0);
        }
        let skip = memory.as_ptr().align_offset(4 * LINE).min(LINE);
        run(&mut memory[skip..skip + len])
    })
}
