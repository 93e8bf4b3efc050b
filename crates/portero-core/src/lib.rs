//! What every part of Portero speaks in: the nouns, moments, errors in words.
//!
//! The daemon and the trainer share it. It must not do I/O beyond reading the machine's clocks, and knows no
//! other crate of Portero.

pub mod clock;
pub mod domain;
pub mod words;
