//! How many files this process may have open.
//!
//! Systemd and container runtimes give a soft limit of 1024, for the sake of programs that use select(2), and a hard
//! one that is much higher. Go programs raise the soft limit to the hard one when they start, and give their children
//! the old one; so do our daemons.

mod sys;

use std::io;
use std::process::Child;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Soft and hard limit before [`raise_open_files`], where that changed something.
static BEFORE: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the soft limit of open files to the hard one, which stays. Returns the limit that holds now.
///
/// # Errors
/// Those of getrlimit(2) and setrlimit(2); the limit stays as it was.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        BEFORE.get_or_init(|| (soft, hard));
    }
    Ok(hard)
}

/// Gives a child the limit that this process had at its start. A child that has ended already needs none.
pub(crate) fn lower_again(child: &Child) {
    if let Some((soft, hard)) = BEFORE.get() {
        let _ = sys::set_open_files(child.id(), *soft, *hard);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Invocation, Runner, System};

    #[test]
    fn the_soft_limit_of_open_files_is_raised_for_this_process_and_not_for_its_children() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        let low = hard.min(512);
        setrlimit(Resource::RLIMIT_NOFILE, low, hard).expect("a lower limit");
        assert_eq!(raise_open_files().expect("raised"), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit"), (hard, hard));
        // It waits until its parent has had time to set the limit.
        let script = "until [ \"$(ulimit -Sn)\" = \"$0\" ]; do sleep 0.01; done; ulimit -Hn";
        let output =
            System.run(&Invocation::new("sh", ["-c", script, &low.to_string()])).expect("the low limit");
        let want = if hard == libc::RLIM_INFINITY { "unlimited".to_owned() } else { hard.to_string() };
        assert_eq!(output.text().trim(), want);
        assert_eq!(raise_open_files().expect("still raised"), hard);
    }
}
