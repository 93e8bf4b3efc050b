//! What is done with pixels beside the network: what in a picture is worth a look, and JPEG.
//!
//! A crate of its own so that it is optimised where the rest of the daemon is not, and so that an edit elsewhere does not
//! compile it again. It must not do I/O, read a clock or know where pictures come from.

pub mod jpeg;
pub mod watch;
