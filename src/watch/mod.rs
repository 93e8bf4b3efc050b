//! What is worth a look: zones and the cheap motion gate.

use crate::domain::Region;

/// What one camera's frames are looked at for.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The regions that rules ask about, each once: a zone's bounding box, or the whole picture.
    pub regions: Vec<Region>,
    /// The motion gate; `None` looks at every due frame.
    pub motion: Option<MotionSettings>,
}

/// When a change between frames counts as motion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionSettings {
    /// Share of changed cells, of all cells of a region, that opens the gate; 0..=1.
    pub min_area: f32,
    /// Change of a cell's mean luma (0..=255) that counts as changed.
    pub min_change: u8,
    /// The gate stays open this long after the last motion.
    pub hold: std::time::Duration,
}
