//! The clock since boot, which nix has only with a feature that nothing else here needs.
#![allow(unsafe_code, reason = "clock_gettime")]

use std::time::Duration;

/// Time since the machine started. Unlike [`std::time::Instant`] it goes on while the machine sleeps.
pub fn since_boot() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, into one.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    match (code, u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec)) {
        (0, Ok(seconds), Ok(nanos)) => Duration::new(seconds, nanos),
        // No Linux since 2.6.39. All that ends by this clock has ended then.
        _ => Duration::MAX,
    }
}
