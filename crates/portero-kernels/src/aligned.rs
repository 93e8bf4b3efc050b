//! Memory that begins with a line of the cache: a register that is loaded from it then lies in one line.

use std::ops::{Deref, DerefMut};

/// Bytes of a line, and of the widest register.
const LINE: usize = 64;

/// Elements that begin with a line of the cache.
#[derive(Debug, Default)]
pub struct Aligned<T> {
    memory: Vec<T>,
    skip: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// A copy of `values`.
    pub fn new(values: &[T]) -> Self {
        let spare = LINE / size_of::<T>().max(1);
        let mut memory: Vec<T> = Vec::with_capacity(values.len() + spare);
        // Safe code cannot ask for an alignment; the start moves instead.
        let skip = memory.as_ptr().align_offset(LINE).min(spare);
        memory.resize(skip, T::default());
        memory.extend_from_slice(values);
        Self { memory, skip }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[self.skip..]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.skip..]
    }
}

impl<T: Copy + Default> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self::new(self)
    }
}

impl<T: PartialEq> PartialEq for Aligned<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
