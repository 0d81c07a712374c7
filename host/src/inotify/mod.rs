//! Changes in one directory, as the kernel tells them (inotify), without a thread of its own.

mod sys;

use std::ffi::OsString;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A file is complete: it was closed after writing, or moved here.
    Written(OsString),
    /// A file is new: complete if it is a link, else empty and about to be written.
    Created(OsString),
    /// A file is being written; it may be half there.
    Writing(OsString),
    /// A file is not here any more.
    Gone(OsString),
    /// Events were lost: look at everything.
    Lost,
    /// The directory itself is gone or moved.
    DirectoryGone,
}

/// A watch of one directory.
pub struct Watch(AsyncFd<sys::Registered>);

impl Watch {
    /// Starts to watch. Needs a tokio runtime.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(directory, flags)?;
        Ok(Self(sys::register(inotify)?))
    }

    /// Waits for something to happen; never empty.
    pub async fn next(&self) -> io::Result<Vec<Notice>> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().inotify().read_events() {
                Ok(events) => {
                    let notices: Vec<_> =
                        events.into_iter().filter_map(|event| notice(event.mask, event.name)).collect();
                    if !notices.is_empty() {
                        return Ok(notices);
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn notice(mask: AddWatchFlags, name: Option<OsString>) -> Option<Notice> {
    if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        return Some(Notice::Lost);
    }
    let gone = AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_IGNORED
        | AddWatchFlags::IN_UNMOUNT;
    if mask.intersects(gone) {
        return Some(Notice::DirectoryGone);
    }
    let name = name?;
    if mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
        Some(Notice::Gone(name))
    } else if mask.intersects(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) {
        Some(Notice::Written(name))
    } else if mask.contains(AddWatchFlags::IN_CREATE) {
        Some(Notice::Created(name))
    } else if mask.contains(AddWatchFlags::IN_MODIFY) {
        Some(Notice::Writing(name))
    } else {
        None
    }
}
