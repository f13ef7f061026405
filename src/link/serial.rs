//! A serial port.

use std::{
    fs,
    io::{self, Read, Write},
    os::fd::{AsRawFd, BorrowedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serialport::{ClearBuffer, ErrorKind, SerialPort, TTYPort};

use super::{Link, LinkError};

/// How long a port may take no bytes before it counts as blocked. A frame takes under 50 ms at 115200 baud.
const WRITE_PATIENCE: Duration = Duration::from_millis(100);

/// How often a port that vanished is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where Linux keeps a link to each serial port under the name of the device behind it.
const BY_ID: &str = "/dev/serial/by-id";

/// A serial port that no other program can open meanwhile.
#[derive(Debug)]
pub struct SerialLink {
    port: TTYPort,
    name: String,
    baud: u32,
    /// What names the same device when it comes back as another port.
    identity: PathBuf,
}

impl SerialLink {
    /// Opens the port of this path, such as `/dev/ttyACM0`, with 8 data bits, no parity and 1 stop bit. Bytes that came before
    /// are discarded. `baud` is in bits a second; ports without a real line, such as USB's and a pseudo-terminal, ignore it.
    ///
    /// # Errors
    ///
    /// [`LinkError`]: missing, busy, without permission, or no serial port.
    pub fn open(port: &str, baud: u32) -> Result<Self, LinkError> {
        Self::open_as(port, baud, identity(Path::new(port), Path::new(BY_ID)))
    }

    /// Closes the port, and opens the same device again as soon as it is back, also if it comes back as another port. A device is
    /// known by its name in `/dev/serial/by-id`, or by the link that the port was opened by; else by the port itself.
    ///
    /// # Errors
    ///
    /// [`LinkError`], why the port could not be opened, if it is not back until `deadline`.
    pub fn reopen(self, deadline: Instant) -> Result<Self, LinkError> {
        let Self {
            port,
            name,
            baud,
            identity,
        } = self;
        drop(port);
        loop {
            let opened = Self::open_as(&name, baud, identity.clone());
            if opened.is_ok() || Instant::now() >= deadline {
                return opened;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Opens the device of an identity, under the name that the user knows.
    fn open_as(name: &str, baud: u32, identity: PathBuf) -> Result<Self, LinkError> {
        let opened = serialport::new(identity.to_string_lossy(), baud)
            .timeout(WRITE_PATIENCE)
            .open_native();
        let port = opened.map_err(|error| opening(name.to_owned(), &error))?;
        let link = Self {
            port,
            name: name.to_owned(),
            baud,
            identity,
        };
        let cleared = link.port.clear(ClearBuffer::Input);
        cleared.map_err(|_| link.vanished())?;
        link.never_block()?;
        Ok(link)
    }

    /// Makes a write take what the port has room for. Otherwise one that the port has no room for would block the control
    /// loop, whatever the timeout is.
    fn never_block(&self) -> Result<(), LinkError> {
        // SAFETY: the port owns the descriptor and lives longer than this borrow of it.
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.port.as_raw_fd()) };
        fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|_| self.vanished())?;
        Ok(())
    }

    fn vanished(&self) -> LinkError {
        LinkError::Vanished {
            port: self.name.clone(),
        }
    }
}

impl Link for SerialLink {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            self.port
                .set_timeout(patience)
                .map_err(|_| self.vanished())?;
            match self.port.read(buffer) {
                Ok(0) => return Err(self.vanished()),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(0),
                Err(error) if again(&error) && Instant::now() < deadline => {}
                Err(error) if again(&error) => return Ok(0),
                Err(_) => return Err(self.vanished()),
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.port
            .set_timeout(WRITE_PATIENCE)
            .map_err(|_| self.vanished())?;
        let deadline = Instant::now() + WRITE_PATIENCE;
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.port.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if again(&error) && Instant::now() < deadline => {}
                Err(error) if again(&error) || error.kind() == io::ErrorKind::TimedOut => {
                    return Err(LinkError::Blocked {
                        port: self.name.clone(),
                    });
                }
                Err(_) => return Err(self.vanished()),
            }
        }
        Ok(())
    }
}

/// Whether the same call may succeed the next time.
fn again(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// The link to a port in a folder of links that are named after devices, or the port itself.
fn identity(port: &Path, by_id: &Path) -> PathBuf {
    let device = fs::canonicalize(port).ok();
    let links = fs::read_dir(by_id).into_iter().flatten().flatten();
    let mut links: Vec<PathBuf> = links
        .map(|link| link.path())
        .filter(|link| device.is_some() && fs::canonicalize(link).ok() == device)
        .collect();
    links.sort();
    links.into_iter().next().unwrap_or_else(|| port.to_owned())
}

/// Says why a port could not be opened.
fn opening(port: String, error: &serialport::Error) -> LinkError {
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::NotFound) => LinkError::Missing {
            port,
            present: present(),
        },
        ErrorKind::NoDevice if Path::new(&port).exists() => LinkError::Busy { port },
        ErrorKind::NoDevice => LinkError::Missing {
            port,
            present: present(),
        },
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => LinkError::Permission { port },
        _ => LinkError::Unusable {
            port,
            reason: error.to_string(),
        },
    }
}

/// The names of the serial ports of this machine.
fn present() -> String {
    let mut names: Vec<String> = serialport::available_ports()
        .unwrap_or_default()
        .into_iter()
        .map(|port| port.port_name)
        .collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    names.sort();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn bytes_pass_a_pseudo_terminal_both_ways_unchanged() {
        let (mut robot, terminal) = TTYPort::pair().unwrap();
        let mut link = SerialLink::open(&terminal.name().unwrap(), 115_200).unwrap();
        let every_byte: Vec<u8> = (0..=255).collect();
        link.write_all(&every_byte).unwrap();
        let mut received = [0; 256];
        robot.read_exact(&mut received).unwrap();
        assert_eq!(received[..], every_byte);
        robot.write_all(&every_byte).unwrap();
        let mut count = 0;
        while count < 256 {
            count += link.read(&mut received[count..], soon()).unwrap();
        }
        assert_eq!(received[..], every_byte);
        assert_eq!(link.read(&mut received, Instant::now()), Ok(0));
    }

    #[test]
    fn a_port_that_is_in_use_is_busy() {
        let (_robot, terminal) = TTYPort::pair().unwrap();
        let port = terminal.name().unwrap();
        let _first = SerialLink::open(&port, 115_200).unwrap();
        assert_eq!(
            SerialLink::open(&port, 115_200).err(),
            Some(LinkError::Busy { port })
        );
    }

    #[test]
    fn a_port_that_is_not_there_is_missing() {
        let error = SerialLink::open("/dev/ttyNoSuchRobot", 115_200).unwrap_err();
        assert!(
            matches!(&error, LinkError::Missing { port, .. } if port == "/dev/ttyNoSuchRobot"),
            "{error}"
        );
    }

    #[test]
    fn a_file_is_no_serial_port() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = SerialLink::open(&file.path().to_string_lossy(), 115_200).unwrap_err();
        assert!(matches!(error, LinkError::Unusable { .. }), "{error}");
    }

    #[test]
    fn a_port_that_vanishes_is_named() {
        let (robot, terminal) = TTYPort::pair().unwrap();
        let port = terminal.name().unwrap();
        let mut link = SerialLink::open(&port, 115_200).unwrap();
        drop(terminal);
        drop(robot);
        let vanished = LinkError::Vanished { port };
        assert_eq!(link.read(&mut [0; 8], soon()), Err(vanished.clone()));
        assert_eq!(link.write_all(&[1]), Err(vanished));
    }

    #[test]
    fn a_port_is_known_by_the_name_of_its_device() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for port in ["ttyACM0", "ttyACM1"] {
            fs::write(path(port), "").unwrap();
        }
        fs::create_dir(path("by-id")).unwrap();
        let named = path("by-id").join("usb-Robot_42");
        std::os::unix::fs::symlink(path("ttyACM1"), &named).unwrap();
        assert_eq!(identity(&path("ttyACM1"), &path("by-id")), named);
        assert_eq!(identity(&path("ttyACM0"), &path("by-id")), path("ttyACM0"));
        assert_eq!(identity(&path("ttyACM7"), &path("by-id")), path("ttyACM7"));
        assert_eq!(identity(&path("ttyACM0"), &path("none")), path("ttyACM0"));
    }

    #[test]
    fn a_port_that_nobody_reads_is_blocked_in_the_end() {
        let (_robot, terminal) = TTYPort::pair().unwrap();
        let mut link = SerialLink::open(&terminal.name().unwrap(), 115_200).unwrap();
        let sent = link.write_all(&[1; 1 << 20]);
        assert!(matches!(sent, Err(LinkError::Blocked { .. })), "{sent:?}");
    }
}
