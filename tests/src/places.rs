//! Network namespaces of a test's own: named by its process, gone when it ends, however it ends.

use host::netns::{self, Namespace};
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Namespaces that go with this value.
pub struct Places(Vec<String>);

impl Places {
    /// A namespace for each role. What killed processes left under `prefix` goes; `tag` is unique within a program.
    ///
    /// # Panics
    /// Not as root.
    pub fn make<const N: usize>(prefix: &str, tag: &str, roles: [&str; N]) -> (Self, [Namespace; N]) {
        sweep(prefix);
        let names = roles.map(|role| format!("{prefix}{tag}-{role}-{}", Pid::this()));
        let places = Self(names.clone().into());
        (places, names.map(|name| Namespace::create(&name).expect("these tests need root")))
    }

    /// Their names, in the order of the roles.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Namespace::delete(name);
        }
    }
}

fn sweep(prefix: &str) {
    for name in netns::list().unwrap_or_default() {
        let owner = name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('-')?.1.parse().ok());
        if owner.is_some_and(|pid| kill(Pid::from_raw(pid), None).is_err()) {
            let _ = Namespace::delete(&name);
        }
    }
}
