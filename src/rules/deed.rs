//! One rule and one track: where the track stands with what the rule waits for.

use std::time::Duration;

use super::settings::Deed;
use crate::domain::{Line, Side, Stamp};

/// Who is outside for a shorter time has not left: boxes shake at the edge of a zone.
const EDGE: Duration = Duration::from_millis(500);

/// What happened, when it is worth a firing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Happened {
    /// It is in the zone, for so long by now.
    Stays(Duration),
    /// It left, having been there for so long.
    Left(Duration),
    /// It crossed the line to this side.
    Crossed(Side),
}

/// A track on its way, as one rule sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Doing {
    /// Since when it has been in the zone.
    inside: Option<Stamp>,
    /// Since when it has been outside, while that is too short to count.
    outside: Option<Stamp>,
    /// The rule has had its say about this stay.
    told: bool,
    /// Its smoothed answer was the rule's at some time in this stay.
    was_meant: bool,
    /// A crossing that waits for the track to be recognised, and when it was.
    crossing: Option<(Side, Stamp)>,
    /// When the rule last fired at this track.
    pub(super) fired: Option<Stamp>,
}

/// What a frame shows of a track.
pub(super) struct Step<'a> {
    pub(super) at: Stamp,
    /// Where it stood before, if it was known, and where it stands.
    pub(super) before: Option<(f32, f32)>,
    pub(super) foot: (f32, f32),
    /// Whether it stands in the rule's zone.
    pub(super) is_inside: bool,
    /// Whether its smoothed answer is the rule's.
    pub(super) is_meant: bool,
    /// The rule's line.
    pub(super) line: Option<&'a Line>,
}

impl Doing {
    /// Takes in a frame that shows the track. Answers what the rule may fire at, on each frame anew until
    /// [`Doing::settle`] says that it has had its say. `patience`: how long a crossing waits for recognition.
    pub(super) fn step(
        &mut self,
        deed: &Deed,
        step: &Step<'_>,
        hold: Duration,
        patience: Duration,
    ) -> Option<Happened> {
        let stay = self.stay(step);
        match deed {
            Deed::Entered => self.stays(step, hold),
            Deed::Loitered(time) => self.stays(step, *time),
            Deed::Left => stay.map(Happened::Left),
            Deed::Crossed { to, .. } => {
                let crossed =
                    step.line.zip(step.before).and_then(|(line, from)| line.crossed(from, step.foot));
                if let Some(side) = crossed.filter(|side| to.is_none_or(|to| to == *side)) {
                    self.crossing = Some((side, step.at));
                }
                self.crossing.take_if(|(_, at)| step.at.since(*at) > patience);
                let (side, _) = self.crossing.filter(|_| step.is_meant)?;
                Some(Happened::Crossed(side))
            }
        }
    }

    /// The track was given up, captured `at`: how long it was in the zone, for a rule that waits for its leaving.
    pub(super) fn end(&mut self, deed: &Deed, at: Stamp) -> Option<Happened> {
        let since = self.inside.take().filter(|_| *deed == Deed::Left && self.was_meant)?;
        Some(Happened::Left(at.since(since)))
    }

    /// The rule has fired, or was held back by cooldown or budget: nothing more about this stay or crossing.
    pub(super) fn settle(&mut self) {
        self.told = true;
        self.crossing = None;
    }

    /// The rule asks for other evidence now: what was said of the track before does not count.
    pub(super) fn doubt(&mut self) {
        self.was_meant = false;
    }

    fn stays(&self, step: &Step<'_>, least: Duration) -> Option<Happened> {
        let stayed = step.at.since(self.inside?);
        (step.is_inside && step.is_meant && !self.told && stayed >= least).then_some(Happened::Stays(stayed))
    }

    /// Keeps the stay in the zone. When one of a track that was meant ends, how long it was.
    fn stay(&mut self, step: &Step<'_>) -> Option<Duration> {
        if step.is_inside {
            self.outside = None;
            self.inside.get_or_insert(step.at);
            self.was_meant |= step.is_meant;
            return None;
        }
        let since = self.inside?;
        let outside = *self.outside.get_or_insert(step.at);
        if step.at.since(outside) < EDGE {
            return None;
        }
        (self.inside, self.outside, self.told) = (None, None, false);
        std::mem::take(&mut self.was_meant).then(|| outside.since(since))
    }
}
