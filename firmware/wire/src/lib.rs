//! The wire between the host and the microcontroller: messages, framing, versions.
//!
//! Both sides link this crate, so neither can disagree with the other about a byte. It needs no allocator, and no input makes
//! it panic.
//!
//! ```text
//! message -- postcard --> bytes -- CRC-32C appended --> bytes -- COBS --> bytes without a zero, then one zero
//! ```
//!
//! A conversation, host on the left:
//!
//! ```text
//! Hello           ->                                  which protocol, which layout
//!                 <-  Hello                           the robot's name, contract, limits, and a session that is on offer
//! DescribeChannel ->  <-  Channel                     only to say which channel differs
//! Arm             ->  <-  Event, Telemetry …          takes up the session on offer; it can be taken up once
//! Command         ->  <-  Telemetry                   each command is the heartbeat for its own lifetime
//! Disarm          ->  <-  Event                       go safe now
//! ```
//!
//! Evolution: variants are only ever appended, and `Hello` never changes, in either direction. Whatever else changes is seen
//! in [`SCHEMA_HASH`], and then both sides refuse before anything is armed.
#![no_std]

mod contract;
mod counters;
mod frame;
mod keyed;
mod message;
mod sequence;

pub use contract::{Channel, ChannelKind, MAX_NAME, MAX_UNIT, Name, TooLong, Unit, contract_hash};
pub use counters::{Counters, Refusal};
pub use frame::{Decoder, FrameError, MAX_FRAME, encode};
pub use keyed::{HostSeal, Key, RobotSeal, Sealed};
pub use message::{
    Cause, EventKind, Limit, Mode, PROTOCOL, SCHEMA_HASH, Telemetry, ToHost, ToRobot,
};
pub use sequence::Sequence;

/// The most observation channels a robot may have.
pub const MAX_OBSERVATION: usize = 64;

/// The most action channels a robot may have.
pub const MAX_ACTION: usize = 16;

/// The most actions one command may carry: the one that applies at once and those after it.
pub const MAX_FUTURE: usize = 8;
