//! Whether somebody has laid hands on the camera.
//!
//! Twice a second the picture is compared with a reference, block by block. What counts is the pattern of a block,
//! not its brightness: light comes and goes, the edges of a wall stay. A block has *kept* its pattern when it still
//! correlates with the reference, and *lost* it when it has become flat.
//!
//! | kept | lost | details | it is |
//! |---|---|---|---|
//! | many | few | there | as it should be |
//! | | nearly all | | covered |
//! | | a part | | sprayed |
//! | many, and the picture as a whole | | gone | defocused |
//! | few | few | | moved |
//!
//! A picture that does not change at all, down to the noise, is frozen. The reference follows slowly, and only while
//! nothing is wrong. Colour and infrared pictures have a reference each.

mod view;

use std::time::Duration;

use view::{Likeness, Reference, View};

use super::LumaGrid;
use super::grid::{Colours, colours};
use crate::domain::{Frame, Stamp, Tamper};

/// How sure the watch must be that a camera was tampered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TamperSettings {
    /// It is told when it has lasted this long, and again when it has been over for this long.
    pub after: Duration,
    /// Frames that are all the same for this long are frozen.
    pub frozen_after: Duration,
}

impl Default for TamperSettings {
    fn default() -> Self {
        Self { after: Duration::from_secs(5), frozen_after: Duration::from_secs(30) }
    }
}

/// How often a picture is compared.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// From so many pictures a reference is made.
const LEARN: u32 = 6;
/// The time constant with which the reference follows, in seconds.
const FOLLOW_S: f32 = 60.0;

/// The watch over one camera.
#[derive(Debug)]
pub(super) struct TamperWatch {
    settings: TamperSettings,
    checked: Option<Stamp>,
    /// The last picture, and since when it is the same.
    last: Vec<u16>,
    same_since: Option<Stamp>,
    /// One for colour, one for grey.
    references: [Reference; 2],
    colours: Colours,
    /// What was seen last, and since when.
    suspicion: (Option<Tamper>, Option<Stamp>),
    state: Option<Tamper>,
}

impl TamperWatch {
    pub(super) fn new(settings: TamperSettings) -> Self {
        Self {
            settings,
            checked: None,
            last: Vec::new(),
            same_since: None,
            references: Default::default(),
            colours: Colours::Unclear,
            suspicion: (None, None),
            state: None,
        }
    }

    /// What was done to the camera, as far as it is certain.
    pub(super) fn state(&self) -> Option<Tamper> {
        self.state
    }

    /// Takes in a frame.
    pub(super) fn observe(&mut self, frame: &Frame, grid: &LumaGrid) {
        let now = frame.at().stamp;
        if self.checked.is_some_and(|checked| now.since(checked) < CHECK_EVERY) {
            return;
        }
        let elapsed = self.checked.replace(now).map_or(CHECK_EVERY, |checked| now.since(checked));
        let seen =
            if self.is_frozen(grid, now) { Some(Tamper::Frozen) } else { self.judge(frame, grid, elapsed) };
        if self.suspicion.0 != seen || self.suspicion.1.is_none() {
            self.suspicion = (seen, Some(now));
        }
        let lasted = self.suspicion.1.is_some_and(|since| now.since(since) >= self.settings.after);
        if lasted || seen == Some(Tamper::Frozen) {
            self.state = seen;
        }
    }

    fn is_frozen(&mut self, grid: &LumaGrid, now: Stamp) -> bool {
        if self.last != grid.cells() {
            self.last = grid.cells().to_vec();
            self.same_since = Some(now);
        }
        self.same_since.is_some_and(|since| now.since(since) >= self.settings.frozen_after)
    }

    fn judge(&mut self, frame: &Frame, grid: &LumaGrid, elapsed: Duration) -> Option<Tamper> {
        match colours(frame) {
            Colours::Unclear => {}
            clear => self.colours = clear,
        }
        let reference = &mut self.references[usize::from(self.colours == Colours::None)];
        let view = View::of(frame, grid);
        if !reference.is_learnt(&view, LEARN) {
            reference.take(&view, 1.0 / (reference.pictures() + 1) as f32);
            return None;
        }
        let seen = verdict(&reference.likeness(&view)?);
        if seen.is_none() && self.state.is_none() {
            reference.take(&view, (elapsed.as_secs_f32() / FOLLOW_S).min(1.0));
        }
        seen
    }
}

/// What the likeness of a picture and its reference means.
fn verdict(like: &Likeness) -> Option<Tamper> {
    let blurred = like.whole >= 0.8 && like.details < 0.45;
    if blurred && (like.kept >= 0.2 || like.whole >= 0.9) {
        Some(Tamper::Defocused)
    } else if like.lost >= 0.8 {
        Some(Tamper::Covered)
    } else if like.lost >= 0.25 {
        Some(Tamper::Sprayed)
    } else if like.kept < 0.35 {
        Some(Tamper::Moved)
    } else {
        None
    }
}
