//! The microcontroller's logic: the last guard between a host that learns and a robot that moves.
//!
//! It does no input or output of its own: bytes, measurements and microseconds go in, actions and bytes come out, so that the
//! same code runs on a board, in an emulator, behind a simulated robot and in a test of any speed.
//!
//! ```text
//! bytes -> Decoder -> handshake, arming -> command --\
//!                                                     +-> mode -> limits -> action, drivers
//! measurements -> trips, derates, telemetry ----------/
//! ```
//!
//! What it promises, whatever the host does:
//!
//! - nothing moves before a handshake of the same version and an [`Arm`](surefoot_wire::ToRobot::Arm) of the same contract;
//! - a command is executed only if it is whole, finite, of the running session and newer than every one before it;
//! - when its lifetime ends without another, the robot goes safe: damping, sitting, drivers off within half a second;
//! - it stays so until it is armed again, with a session that no earlier arming used;
//! - every action is within its limits and its rate, in every mode.
//!
//! On a line that others can reach, [`Firmware::keyed`] hears only hosts that know the robot's key.
//!
//! For the board there are also a [`Watchdog`] that wants every part to check in, and [`resets`] that latch off a robot which starts
//! again and again.
//!
//! ```
//! use surefoot_firmware::{ActionChannel, Config, Firmware};
//! use surefoot_wire::{Channel, Limit, Name};
//!
//! let config = Config {
//!     robot: Name::try_from("cart")?,
//!     period_us: 10_000,
//!     observation: [Channel::new("position", "m")?].into_iter().collect(),
//!     action: [ActionChannel {
//!         channel: Channel::new("speed", "m/s")?,
//!         limit: Limit { min: -1.0, max: 1.0, rate: 20.0 },
//!         safe: 0.0,
//!     }]
//!     .into_iter()
//!     .collect(),
//!     max_lifetime_ms: 100,
//!     damping_ms: 200,
//!     sitting_ms: 100,
//!     trips: [].into_iter().collect(),
//!     derates: [].into_iter().collect(),
//! };
//! let mut firmware = Firmware::new(config)?;
//! firmware.receive(0, &[/* from the host */]);
//! let output = firmware.step(1_000, &[0.25]);
//! assert!(!output.drivers_enabled);
//! let mut to_host = [0; 64];
//! let _sent = firmware.transmit(&mut to_host);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

mod command;
mod config;
mod derate;
mod firmware;
pub mod limits;
mod line;
pub mod resets;
mod state;
mod telemetry;
mod watchdog;

pub use config::{
    ActionChannel, Config, ConfigError, Derate, MAX_DERATES, MAX_SAFE_MS, MAX_TRIPS, Trip,
};
pub use firmware::{ARMED_WAIT_MS, Firmware, Output};
pub use watchdog::Watchdog;
