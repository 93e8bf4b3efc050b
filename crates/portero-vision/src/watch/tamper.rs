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
//! | few | few | | moved; covered where every block is about as bright as the next, as before a cloth |
//!
//! A picture without any pattern is dark or covered, whatever the reference. One that does not change at all, down to
//! the noise, is frozen. The reference follows slowly, and only while nothing is wrong. Colour and infrared pictures
//! have a reference each; a camera has switched between them only when the edges of the scene are where they were: what
//! covers a lens is often grey as well.

mod blocks;
mod pair;
mod reference;
mod view;

use std::time::Duration;

use blocks::Blocks;
use reference::Reference;
use view::{Likeness, View};

use super::LumaGrid;
use super::grid::{Colours, colours};
use portero_core::domain::{Frame, Polygon, Stamp, Tamper};

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
/// The time constant with which the reference follows, in seconds.
const FOLLOW_S: f32 = 60.0;
/// A camera has switched between colour and infrared when the edges of the two pictures agree by this much.
const SAME_EDGES: f32 = 0.3;

/// The watch over one camera.
#[derive(Debug)]
pub(super) struct TamperWatch {
    masks: Vec<Polygon>,
    blocks: Blocks,
    checked: Option<Stamp>,
    still: Still,
    /// One for colour, one for grey.
    references: [Reference; 2],
    colours: Colours,
    suspicion: Suspicion,
    state: Option<Tamper>,
}

/// Since when the picture is the same.
#[derive(Debug, Default)]
struct Still {
    last: Vec<u16>,
    since: Option<Stamp>,
    /// The masks have changed, so the next picture is the same although it differs.
    remasked: bool,
}

/// What was seen last.
#[derive(Debug, Default)]
struct Suspicion {
    seen: Option<Tamper>,
    /// Since when just this is seen.
    since: Option<Stamp>,
    /// Since when something is wrong, whatever it is, or since when nothing is.
    turned: Option<Stamp>,
}

impl TamperWatch {
    pub(super) fn new(masks: Vec<Polygon>) -> Self {
        Self {
            masks,
            blocks: Blocks::default(),
            checked: None,
            still: Still::default(),
            references: Default::default(),
            colours: Colours::Unclear,
            suspicion: Suspicion::default(),
            state: None,
        }
    }

    /// Other masks. What is known of the scene, and what was done to the camera, stays.
    pub(super) fn mask(&mut self, masks: &[Polygon]) {
        if self.masks == masks {
            return;
        }
        let blocks = self.blocks.masked_by(masks);
        self.references.iter_mut().for_each(|reference| reference.uncover(&self.blocks, &blocks));
        (self.masks, self.blocks) = (masks.to_vec(), blocks);
        self.still.remasked = true;
    }

    /// What was done to the camera, as far as it is certain.
    pub(super) fn state(&self) -> Option<Tamper> {
        self.state
    }

    /// Takes in a frame.
    pub(super) fn observe(&mut self, frame: &Frame, grid: &LumaGrid, settings: TamperSettings) {
        let now = frame.at().stamp;
        if self.checked.is_some_and(|checked| now.since(checked) < CHECK_EVERY) {
            return;
        }
        let elapsed = self.checked.replace(now).map_or(CHECK_EVERY, |checked| now.since(checked));
        let same = self.still.lasts(grid, now);
        // What is frozen is told at once, and stays so for as long as the picture is the same.
        let frozen = same.is_some_and(|same| same >= settings.frozen_after)
            || (self.state == Some(Tamper::Frozen) && same.is_some());
        let seen = self.judge(frame, grid, elapsed).or(frozen.then_some(Tamper::Frozen));
        self.suspicion.take(seen, now);
        let lasted = |since: Option<Stamp>| since.is_some_and(|since| now.since(since) >= settings.after);
        let certain = match (self.state, seen) {
            (None, Some(Tamper::Frozen)) => true,
            (Some(_), Some(_)) => lasted(self.suspicion.since),
            (None, _) | (_, None) => lasted(self.suspicion.turned),
        };
        if certain {
            self.state = seen;
        }
    }

    fn judge(&mut self, frame: &Frame, grid: &LumaGrid, elapsed: Duration) -> Option<Tamper> {
        let settled = self.state.is_none() && self.suspicion.seen.is_none();
        let resized = !self.blocks.fit(grid);
        if resized {
            self.blocks = Blocks::of(grid, &self.masks);
        }
        let view = View::of(frame, grid, &self.blocks);
        if resized {
            // A camera that is covered while it is switched off, and comes back in another size, is covered.
            self.references.iter_mut().for_each(|reference| reference.resized(&view, &self.blocks));
        }
        if let Some(blank) = view.blank(&self.blocks) {
            return Some(blank);
        }
        let colours = match colours(frame) {
            Colours::Unclear => self.colours,
            clear => clear,
        };
        let own = usize::from(colours == Colours::None);
        let seen = self.compare(&view, own);
        if seen.is_none() {
            self.colours = colours;
            if settled {
                self.references[own].take(&view, &self.blocks, (elapsed.as_secs_f32() / FOLLOW_S).min(1.0));
            }
        }
        seen
    }

    /// What is wrong with a picture, beside the reference of its own kind; before there is one, beside the other, which
    /// shows the same scene in another light.
    fn compare(&self, view: &View, own: usize) -> Option<Tamper> {
        let [own, other] = [own, 1 - own].map(|which| &self.references[which]);
        let say = |reference: &Reference| {
            if !reference.is_learnt(view) {
                return None;
            }
            match reference.likeness(view, &self.blocks) {
                Some(like) => Some(verdict(&like)),
                // Too little is known of what is not masked: it stays what it was.
                None => self.state.or(self.suspicion.seen.filter(|seen| *seen != Tamper::Frozen)).map(Some),
            }
        };
        let switched = || other.edges(view, &self.blocks) >= SAME_EDGES;
        match (say(own), say(other)) {
            (None | Some(None), None) | (Some(None), _) | (_, Some(None)) => None,
            (None, Some(_)) if switched() => None,
            (Some(seen), _) | (None, Some(seen)) => seen,
        }
    }
}

impl Still {
    /// For how long the picture has been the same; `None` when it has just changed.
    fn lasts(&mut self, grid: &LumaGrid, now: Stamp) -> Option<Duration> {
        if self.last != grid.cells() {
            self.last = grid.cells().to_vec();
            if !std::mem::take(&mut self.remasked) {
                self.since = Some(now);
                return None;
            }
        }
        self.since.map(|since| now.since(since))
    }
}

impl Suspicion {
    fn take(&mut self, seen: Option<Tamper>, now: Stamp) {
        if self.turned.is_none() || self.seen.is_none() != seen.is_none() {
            self.turned = Some(now);
        }
        if self.since.is_none() || self.seen != seen {
            self.since = Some(now);
        }
        self.seen = seen;
    }
}

/// What the likeness of a picture and its reference means.
fn verdict(like: &Likeness) -> Option<Tamper> {
    let blurred = like.whole >= 0.8 && like.details < 0.45;
    if blurred && (like.kept >= 0.2 || like.whole >= 0.9) {
        Some(Tamper::Defocused)
    } else if like.lost >= 0.8 || (like.kept < 0.35 && like.relief < 0.3) {
        Some(Tamper::Covered)
    } else if like.lost >= 0.25 {
        Some(Tamper::Sprayed)
    } else if like.kept < 0.35 {
        Some(Tamper::Moved)
    } else {
        None
    }
}
