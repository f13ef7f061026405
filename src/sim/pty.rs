//! The serial port of a simulated robot: the microcontroller's end of a pseudoterminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{FlushArg, SetArg, cfmakeraw, tcflush, tcgetattr, tcsetattr};
use nix::unistd::{read, ttyname, write};

/// How soon a host is noticed that opens the port; the system has no event for it.
const OPENING_POLL: Duration = Duration::from_millis(1);

/// A pseudoterminal whose other end a host opens as a serial port.
pub struct Pty {
    master: OwnedFd,
    path: PathBuf,
}

/// What came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// This many bytes.
    Bytes(usize),
    /// A host has the port open, and is silent.
    Silence,
    /// No host has the port open.
    NoHost,
}

impl Pty {
    /// A new pseudoterminal in raw mode, which no host has opened yet.
    ///
    /// # Errors
    ///
    /// The system's, such as that there is no pseudoterminal left.
    pub fn open() -> io::Result<Self> {
        let ends = openpty(None, None)?;
        let mut raw = tcgetattr(&ends.slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&ends.slave, SetArg::TCSANOW, &raw)?;
        fcntl(&ends.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        fcntl(&ends.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        let path = ttyname(&ends.slave)?;
        Ok(Self {
            master: ends.master,
            path,
        })
    }

    /// The port that the host opens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what has come in, without waiting. Bytes that a host wrote before it closed the port come before [`Input::NoHost`].
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<Input> {
        match read(&self.master, buffer) {
            Ok(0) | Err(Errno::EIO) => Ok(Input::NoHost),
            Ok(length) => Ok(Input::Bytes(length)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Input::Silence),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends as much as there is room for, without waiting, and returns how many bytes that was.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match write(&self.master, bytes) {
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EIO) => Ok(0),
            result => Ok(result?),
        }
    }

    /// Waits for bytes, for room if `for_room`, or for the end of the time, rounded up to milliseconds.
    pub(super) fn wait(&self, for_room: bool, time: Duration) -> io::Result<()> {
        let room = if for_room {
            PollFlags::POLLOUT
        } else {
            PollFlags::empty()
        };
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN | room)];
        let timeout =
            PollTimeout::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => {
                // Without a host, poll does not wait.
                let happened = polled[0].revents().unwrap_or(PollFlags::empty());
                if happened.contains(PollFlags::POLLHUP) && !happened.contains(PollFlags::POLLIN) {
                    std::thread::sleep(time.min(OPENING_POLL));
                }
                Ok(())
            }
        }
    }

    /// Whether no host has the port open.
    pub(super) fn has_no_host(&self) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.master.as_fd(), PollFlags::empty())];
        poll(&mut polled, PollTimeout::ZERO)?;
        Ok(polled[0]
            .revents()
            .is_some_and(|happened| happened.contains(PollFlags::POLLHUP)))
    }

    /// Discards what no host has read, so that the next one does not get it.
    pub(super) fn discard_unread(&self) -> io::Result<()> {
        Ok(tcflush(&self.master, FlushArg::TCOFLUSH)?)
    }
}
