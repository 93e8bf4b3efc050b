//! All that can wake the engine.

use std::sync::Arc;

use super::RuleSet;
use crate::domain::{CameraId, CameraState, DoorId, FrameRef, Prediction, Scene, Tamper};

/// All that can wake the engine. A closed list: what is not here cannot influence a decision.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The model spoke.
    Prediction(Prediction),
    /// The tracker and the watch spoke of one frame.
    Scene(Scene),
    /// Time passed. Decides nothing: a person is there while frames say so, not while a clock runs.
    Tick,
    /// A camera changed its state. *Stalled* and *offline* empty its windows: a presence across an outage must be
    /// agreed anew; cooldowns and budgets stay.
    CameraHealth {
        /// The camera.
        camera: CameraId,
        /// Its new state.
        state: CameraState,
    },
    /// What was done to a camera, as far as the watch is certain; `None` when all is well again.
    Tamper {
        /// The camera.
        camera: CameraId,
        /// What was done.
        tamper: Option<Tamper>,
        /// The frame that made it certain.
        frame: FrameRef,
    },
    /// A second factor was presented at a door. Recorded; not yet a condition of any rule.
    Factor {
        /// The door.
        door: DoorId,
        /// The factor's name, as configured.
        factor: String,
        /// Whether it was right.
        accepted: bool,
    },
    /// A door contact changed. Recorded; not yet a condition of any rule.
    Contact {
        /// The door.
        door: DoorId,
        /// Whether the door stands open.
        open: bool,
    },
    /// The house changed its mode (home, away, …). Recorded; not yet a condition of any rule.
    Mode(String),
    /// Whether the wall clock is synchronised. While it is not, schedules grant nothing, neither from inside nor
    /// from outside. Before the first word on it the clock is taken as synchronised.
    ClockSync(bool),
    /// New rules take effect, in one step. Windows, presences, cooldowns, budgets and counters of rules that keep
    /// their name are kept, so a reload neither fires again at somebody who is still there nor lifts a cooldown.
    ConfigSwap(Arc<RuleSet>),
}
