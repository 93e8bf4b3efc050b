//! How much room a disk has. Whoever writes to it asks here before it is full.

use std::path::Path;

/// Bytes that are free for us on the file system of `path`, which must exist; `None` where the system does not say.
/// Does not block.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}
