//! Memory that nobody uses any more, given back to the system.

/// Asks the allocator to give free memory back to the system: after something that needed much for a short time. Takes
/// well under a millisecond; other threads that want memory wait meanwhile. Does nothing where the C library is not glibc, which
/// keeps what lies below a piece in use, however large it is.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim(3) is given a number and no address, any thread may call it at any time, and it changes nothing that is allocated.
    let _ = unsafe { libc::malloc_trim(0) };
}
