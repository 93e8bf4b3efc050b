//! The trainer as its user runs it.
