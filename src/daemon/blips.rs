//! Which changes of a camera's state are worth telling.
//!
//! A camera that drops its connection and is back in a moment would fill logs and phones. So a change for the worse is
//! told only when it has lasted; a change for the better at once. Rules are not asked to wait: they hear every change
//! when it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{CameraId, CameraState, Stamp};

/// A change that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) camera: CameraId,
    pub(super) state: CameraState,
    /// In words; may be empty.
    pub(super) why: String,
}

/// What was told of every camera, and what waits to be.
#[derive(Debug, Default)]
pub(super) struct Blips {
    cameras: BTreeMap<CameraId, Row>,
}

#[derive(Debug)]
struct Row {
    /// How long a change for the worse must last.
    patience: Duration,
    told: CameraState,
    /// The state that waits, why, and since when the camera is in trouble.
    waiting: Option<(CameraState, String, Stamp)>,
}

impl Blips {
    /// `patience` per camera: how long a change for the worse must last before it is told.
    pub(super) fn new(cameras: impl Iterator<Item = (CameraId, Duration)>) -> Self {
        let row = |patience| Row { patience, told: CameraState::Starting, waiting: None };
        Self { cameras: cameras.map(|(camera, patience)| (camera, row(patience))).collect() }
    }

    /// A camera changed its state. Returns the change if it is to be told now, and says in the log when trouble is
    /// over before it was told.
    pub(super) fn heard(
        &mut self,
        camera: &CameraId,
        state: CameraState,
        why: &str,
        now: Stamp,
    ) -> Option<Change> {
        let row = self.cameras.get_mut(camera)?;
        let trouble = row.waiting.take();
        let is_worse = is_trouble(state) && row.told == CameraState::Online;
        if is_worse && !row.patience.is_zero() {
            let since = trouble.map_or(now, |(_, _, since)| since);
            row.waiting = Some((state, why.to_owned(), since));
            return None;
        }
        if state == row.told {
            if let Some((what, _, since)) = trouble {
                let lasted = now.since(since).as_secs_f32();
                log::info!(
                    "camera {camera}: {} again after {lasted:.1} s of {}",
                    state.as_str(),
                    what.as_str()
                );
            }
            return None;
        }
        row.told = state;
        Some(Change { camera: camera.clone(), state, why: why.to_owned() })
    }

    /// The changes that have lasted long enough by now.
    pub(super) fn due(&mut self, now: Stamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for (camera, row) in &mut self.cameras {
            let has_lasted =
                |(_, _, since): &mut (CameraState, String, Stamp)| now.since(*since) >= row.patience;
            if let Some((state, why, _)) = row.waiting.take_if(has_lasted) {
                row.told = state;
                changes.push(Change { camera: camera.clone(), state, why });
            }
        }
        changes
    }
}

fn is_trouble(state: CameraState) -> bool {
    matches!(state, CameraState::Offline | CameraState::Stalled | CameraState::Degraded)
}

#[cfg(test)]
mod tests {
    use CameraState::{Degraded, Ended, Offline, Online, Stalled, Starting};

    use super::*;

    /// What is told of a camera with 3 s of patience, second by second, tenths counted.
    fn told(story: &[(u64, CameraState)], until: u64) -> Vec<(u64, CameraState)> {
        let camera = CameraId::new("c").unwrap();
        let mut blips = Blips::new(std::iter::once((camera.clone(), Duration::from_secs(3))));
        let mut told = Vec::new();
        for tenth in 0..=until {
            let now = Stamp::new(tenth * 100_000, 0);
            for (_, state) in story.iter().filter(|(at, _)| *at == tenth) {
                told.extend(blips.heard(&camera, *state, "", now).map(|change| (tenth, change.state)));
            }
            told.extend(blips.due(now).into_iter().map(|change| (tenth, change.state)));
        }
        told
    }

    #[test]
    fn a_short_outage_is_not_told() {
        let story = [(0, Starting), (5, Online), (100, Offline), (110, Stalled), (129, Online), (200, Ended)];
        assert_eq!(told(&story, 300), [(5, Online), (200, Ended)]);
    }

    #[test]
    fn one_that_lasts_is_told_with_its_latest_state_and_its_end_at_once() {
        let story =
            [(5, Online), (100, Offline), (120, Stalled), (140, Offline), (150, Degraded), (170, Online)];
        assert_eq!(
            told(&story, 300),
            [(5, Online), (130, Stalled), (140, Offline), (150, Degraded), (170, Online)]
        );
    }

    #[test]
    fn a_camera_that_never_came_is_told_at_once() {
        assert_eq!(told(&[(0, Starting), (1, Offline), (40, Stalled)], 50), [(1, Offline), (40, Stalled)]);
    }
}
