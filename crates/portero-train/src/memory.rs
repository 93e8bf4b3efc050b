//! How libc deals with the memory of a training, whose large buffers come and go with every step.
//!
//! glibc maps each large buffer anew and gives it back, so that the kernel zeroes all its pages in every step: a third
//! of the time of a fine-tune went into that. It reads how to do otherwise from the environment, before `main`.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Large buffers come from the heap, which keeps what is freed (`mallopt(3)`).
const SETTINGS: [(&str, &str); 3] =
    [("MALLOC_MMAP_MAX_", "0"), ("MALLOC_TRIM_THRESHOLD_", "8000000000"), ("MALLOC_TOP_PAD_", "67108864")];

/// Begins the process anew with these settings, unless its environment has any of them. Where that fails the training is
/// slower and otherwise the same.
pub(crate) fn keep_pages() {
    if cfg!(not(all(target_os = "linux", target_env = "gnu")))
        || SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some())
    {
        return;
    }
    if let Ok(program) = env::current_exe() {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_else(|| program.clone().into());
        let _ = Command::new(program).arg0(name).args(arguments).envs(SETTINGS).exec();
    }
}
