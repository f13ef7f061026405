//! The runtime against the firmware, over a real serial port.
//!
//! ```text
//! Session -> SerialLink -> [Tap] -> pseudo-terminal -> Robot (a thread: the firmware's logic, in simulated time)
//! ```
//!
//! A [`Robot`] is the firmware's logic behind the master side of a pseudo-terminal. Its time stands still until a test lets it pass,
//! so that a test sees every millisecond and takes as long as the machine needs. A [`Tap`] on the host's side counts the bytes that
//! were sent, so that time passes only when the robot has heard them all, and can cut the line at any byte. [`damage`] and
//! [`limits`] are the campaigns that are too long for every change: `prove` runs them as long as wanted.

pub mod damage;
mod desk;
pub mod limits;
mod robot;
mod tap;

pub use desk::{Desk, PERIOD_MS, config, frame, patience, robot_toml};
pub use robot::{Robot, Step};
pub use tap::{Tap, Wire};
