//! Pictures to JPEG and back, with limits: what is decoded comes from outside.

mod decode;
mod encode;

pub use decode::{DecodeError, decode};
pub use encode::{EncodeError, encode, encode_rgb};
