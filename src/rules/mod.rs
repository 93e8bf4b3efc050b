//! The rules engine: predictions in, decisions out.
//!
//! [`Engine::step`] is a function of its state, one [`Input`] and the moment it is told. It reads no clock, does no
//! I/O and keeps everything in ordered collections, so the same inputs give the same decisions, byte for byte,
//! and what was recorded can be replayed.
//!
//! # How a decision comes about
//! 1. **Smoothing.** Each camera and zone has a window of its last predictions. A prediction *counts* for a rule
//!    when its answer is one of the rule's, its score reaches `min_score` and its margin `margin`; *unknown* has
//!    neither bar, because there the model has declined to stand by its number. The rule's condition is met while
//!    `k` of the last `n` count, all captured within `within` of the newest.
//! 2. **Matching.** A rule matches on a prediction that itself counts, when its condition has been met without a
//!    break for `hold` and its schedule is open. All times are those of the frames, so load changes nothing.
//! 3. **Firing.** A rule fires once per presence: after a match it is spent until its condition has not been met
//!    for `presence_gap`. In cooldown (per rule and camera) or out of budget (per rule) the firing is suppressed
//!    and counted, and the presence is spent all the same.
//! 4. **Granting.** In configuration order, the first matching rule that authorises a door decides about it, and
//!    for as long as its presence lasts no later rule opens that door, whether the first one granted, was in
//!    cooldown or was out of budget. After a grant no other rule, earlier or later, opens it in that presence.
//!    Alert and log actions are evaluated for every rule.
//! 5. **Denial.** Whoever stands before a door that no rule opens leaves one denial per presence, with the grounds
//!    of each rule.
//!
//! A rule may be woken by other things than predictions ([`Trigger`]): by a camera that somebody laid hands on, by
//! what a track does, by how many tracks there are, by how much of a zone is covered. The predictions of a track
//! have a window of their own, so *k* of *n* is asked of each thing by itself. What a track does fires once per
//! deed and track, and cools down per track; a number and a share are presences like any other.
//!
//! # What must not happen here
//! No clock, no file, no socket, no thread, no randomness, no hashing order; no pixel. A schedule never grants
//! anything while the wall clock is known to be wrong. A tick never decides anything: only frames are evidence.
//! Memory is bounded by the configuration: 64 predictions per camera and zone, `max_per_hour` stamps per rule; and by
//! the tracker: 64 predictions per track that it has not given up.

mod alarm;
mod deed;
mod doorway;
mod engine;
mod input;
mod ledger;
mod reason;
mod scene;
mod schedule;
mod settings;
mod view;
mod watch;
mod window;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tracks;

pub use engine::Engine;
pub use input::Input;
pub use settings::{Action, Agreement, Count, Deed, During, Places, Rule, RuleSet, Schedule, Trigger};
