//! Cuts a stream of bytes into raw frames of one size. Pure: it knows nothing of pipes or pictures.

/// Holds the beginning of the next frame.
#[derive(Debug)]
pub(super) struct Cutter {
    size: usize,
    held: Vec<u8>,
}

impl Cutter {
    /// For frames of `size` bytes, at least one.
    pub(super) fn new(size: usize) -> Self {
        Self { size: size.max(1), held: Vec::new() }
    }

    /// Where to read to: room for the rest of the frame, or for a byte when it is whole.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.held.reserve_exact(self.size.saturating_sub(self.held.len()).max(1));
        &mut self.held
    }

    /// The next frame, if it is whole.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        (self.held.len() >= self.size).then(|| {
            let rest = self.held.split_off(self.size);
            std::mem::replace(&mut self.held, rest)
        })
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_inside(&self) -> bool {
        !self.held.is_empty()
    }
}
