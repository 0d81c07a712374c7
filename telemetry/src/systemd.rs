//! Saying READY to systemd: one datagram to the socket that `NOTIFY_SOCKET` names (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that systemd sets for services of `Type=notify`.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Why the notification could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error("{VARIABLE}={0:?} is neither an absolute path nor an abstract socket (@name)")]
    NotASocket(String),
    #[error("cannot tell systemd {state:?} through {VARIABLE}={socket:?}")]
    Send {
        state: String,
        socket: String,
        #[source]
        source: io::Error,
    },
}

/// [`notify`] for a daemon that goes on whatever becomes of it: a failure is logged.
pub fn tell(state: &str) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, state, "systemd was not told");
    }
}

/// Sends `state` (`READY=1`, `STOPPING=1`, `STATUS=...`) to systemd. False where nobody waits for it.
pub fn notify(state: &str) -> Result<bool, NotifyError> {
    match std::env::var_os(VARIABLE) {
        Some(socket) if !socket.is_empty() => notify_at(&socket, state).map(|()| true),
        _ => Ok(false),
    }
}

fn notify_at(socket: &OsStr, state: &str) -> Result<(), NotifyError> {
    let send = |address: io::Result<SocketAddr>| {
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address?).map(drop)
    };
    let sent = match socket.as_bytes() {
        [b'@', name @ ..] => send(SocketAddr::from_abstract_name(name)),
        [b'/', ..] => send(SocketAddr::from_pathname(socket)),
        _ => return Err(NotifyError::NotASocket(socket.to_string_lossy().into_owned())),
    };
    sent.map_err(|source| NotifyError::Send {
        state: state.to_owned(),
        socket: socket.to_string_lossy().into_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    fn received(listener: &UnixDatagram) -> String {
        listener.set_read_timeout(Some(Duration::from_secs(5))).expect("a deadline");
        let mut buffer = [0; 64];
        let length = listener.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn reaches_a_socket_in_the_file_system() {
        let folder = std::env::temp_dir().join(format!("weft-notify-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("socket");
        let listener = UnixDatagram::bind(&path).expect("a listener");
        notify_at(path.as_os_str(), "READY=1").expect("sent");
        assert_eq!(received(&listener), "READY=1");
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn reaches_an_abstract_socket() {
        let name = format!("weft-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("a listener");
        notify_at(OsStr::new(&format!("@{name}")), "READY=1\nSTATUS=overlay up").expect("sent");
        assert_eq!(received(&listener), "READY=1\nSTATUS=overlay up");
    }

    #[test]
    fn errors_name_the_socket() {
        let absent = notify_at(OsStr::new("/nonexistent/notify"), "READY=1").expect_err("nobody listens");
        assert!(absent.to_string().contains("/nonexistent/notify"), "{absent}");
        let relative = notify_at(OsStr::new("vsock:2:1234"), "READY=1").expect_err("no such kind");
        assert!(relative.to_string().contains("vsock:2:1234"), "{relative}");
        let long = std::ffi::OsString::from_vec([b"/".as_slice(), &[b'a'; 200]].concat());
        assert!(matches!(notify_at(&long, "READY=1"), Err(NotifyError::Send { .. })));
    }
}
