//! x
use super::*;
use std::sync::{Arc, atomic::AtomicUsize};
pub(super) fn open(
    device: &std::path::Path,
    _: &Settings,
    _: &Spawn,
    _: Arc<AtomicUsize>,
) -> Result<super::folder::FolderSource, CaptureError> {
    Err(CaptureError::Missing { path: device.to_owned() })
}
