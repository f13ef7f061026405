//! The serial side: from a port to telemetry and commands.
//!
//! A [`Link`] moves bytes. It is a serial port ([`SerialLink`]), one end of an in-process [`pair`], or a [`FaultInjector`] around
//! either. A [`Session`] is the conversation above it: it shakes hands, checks that the robot is the one that is meant, arms it,
//! and then receives telemetry and sends commands. Only a [`SafeCommand`](crate::guard::SafeCommand) can be sent.

mod contract;
mod error;
mod faults;
mod frames;
mod pair;
mod serial;
mod session;

use std::time::Instant;

pub use contract::Contract;
pub use error::LinkError;
pub use faults::{FaultInjector, Faults, Injected};
pub use pair::{PairLink, pair};
pub use serial::SerialLink;
pub use session::{LineCounters, RobotEvent, Session};

/// A line to a robot that moves bytes both ways.
pub trait Link: Send {
    /// What the line is called where a person looks for it, such as `/dev/ttyACM0`.
    fn name(&self) -> &str;

    /// Waits for bytes until `deadline`, and moves those that are there to `buffer`. Returns how many: none if the deadline
    /// passed. Bytes that are there already are moved even if the deadline is past.
    ///
    /// # Errors
    ///
    /// [`LinkError::Vanished`] if the line is gone.
    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError>;

    /// Sends all of `bytes`, one frame or more.
    ///
    /// # Errors
    ///
    /// [`LinkError::Vanished`] if the line is gone, [`LinkError::Blocked`] if it takes no more bytes.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError>;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        (**self).read(buffer, deadline)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        (**self).write_all(bytes)
    }
}
