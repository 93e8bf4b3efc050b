//! Memory that a thread's kernels share, so that a layer does not ask the allocator for it at every run.

use std::cell::RefCell;

thread_local! {
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
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

/// Lends `len` words of unknown content. Not to be nested.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs<R>(len: usize, run: impl FnOnce(&mut [i32]) -> R) -> R {
    PAIRS.with_borrow_mut(|memory| {
        if memory.len() < len {
            memory.resize(len, 0);
        }
        run(&mut memory[..len])
    })
}
