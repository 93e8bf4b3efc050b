//! Portero: camera frames in, decisions out.
//!
//! A long-running daemon for small Linux machines. It classifies camera frames with a quantised MobileNetV3 and
//! lets rules decide: authorise (open a door), alert (MQTT) or log (SQLite). Everything runs on the device.
//!
//! # Principles
//! 1. Frames may be dropped, decisions never; every loss is counted.
//! 2. Nothing is authorised that was not first committed, and a stale decision is no decision.
//! 3. Rules read no clock and do no I/O, so what was recorded can be replayed.
//! 4. An alert is delivered when the broker has acknowledged it, and not before.
//! 5. A door command never waits in a queue.
//!
//! # Rooms
//! | room | job |
//! |---|---|
//! | [`domain`] | the nouns; no I/O |
//! | [`clock`], [`shutdown`], [`backoff`], [`words`], [`slots`], [`budget`], [`disk`], [`trust`] | time, the request to stop, pauses between tries, errors and hashes in words, the newest look of each camera, what may be written in a day, what is free, which files may decide about doors |
//! | [`capture`] | cameras, files, folders and child processes to frames |
//! | [`watch`] | what in a frame is worth a look; in `portero-vision` |
//! | [`track`] | boxes to tracks; pure |
//! | [`infer`] | pixels to probabilities, through tract and kernels of our own |
//! | [`pool`] | looks to predictions: what a worker thread does |
//! | [`rules`] | predictions and tracks to decisions; pure |
//! | [`store`] | the SQLite file: events, outbox, retention |
//! | [`evidence`] | snapshots with boxes, clips with what went before |
//! | [`doors`] | what a grant does |
//! | [`notify`] | MQTT and Home Assistant |
//! | [`config`] | the TOML file to checked settings |
//! | [`daemon`] | the topology: the only place with threads |

pub mod backoff;
pub mod budget;
pub mod capture;
pub mod config;
pub mod daemon;
pub mod disk;
pub mod doors;
pub mod evidence;
pub mod matroska;
pub mod notify;
pub mod pool;
pub mod rules;
pub mod shutdown;
pub mod slots;
pub mod store;
pub mod track;
pub mod trust;

pub use portero_core::{clock, domain, words};
pub use portero_infer as infer;
pub use portero_vision::watch;
