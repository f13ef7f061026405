//! What can go wrong on the way to a robot.

use surefoot_wire::{ChannelKind, PROTOCOL, Refusal};

/// Why there is no conversation with the robot. Each names the port or channel and what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// There is no such port.
    #[error(
        "{port}: no such port; plug in the robot or start the simulator. Serial ports here: {present}"
    )]
    Missing {
        /// The port that was asked for.
        port: String,
        /// The ports that there are.
        present: String,
    },
    /// Another program has the port.
    #[error("{port}: another program has it open; stop that program (`fuser {port}` names it)")]
    Busy {
        /// The port.
        port: String,
    },
    /// The user may not open the port.
    #[error(
        "{port}: permission denied; add your user to the port's group (`ls -l {port}` names it) and log in again"
    )]
    Permission {
        /// The port.
        port: String,
    },
    /// The system refused to open the port for another reason.
    #[error("{port}: cannot be opened as a serial port: {reason}; name another port")]
    Unusable {
        /// The port.
        port: String,
        /// The system's reason.
        reason: String,
    },
    /// The port was there and is gone.
    #[error("{port}: the port vanished; check the cable and the robot's power")]
    Vanished {
        /// The port.
        port: String,
    },
    /// The port takes no more bytes.
    #[error("{port}: the port takes no bytes; is the robot's firmware running?")]
    Blocked {
        /// The port.
        port: String,
    },
    /// Nothing of what was waited for came in time.
    #[error("{port}: no {awaited} in time; is the robot switched on, and the baud rate right?")]
    Silent {
        /// The port.
        port: String,
        /// What was waited for.
        awaited: &'static str,
    },
    /// The firmware speaks another version of the protocol.
    #[error(
        "{port}: the robot speaks protocol {robot}, this program {PROTOCOL}; update the older one"
    )]
    Protocol {
        /// The port.
        port: String,
        /// The robot's version.
        robot: u16,
    },
    /// The firmware's messages have another layout.
    #[error(
        "{port}: the robot's messages have another layout; build firmware and program from the same release"
    )]
    Schema {
        /// The port.
        port: String,
    },
    /// Another robot is on the port.
    #[error(
        "{port}: this is the robot '{robot}', not '{expected}'; name the right port or robot.toml"
    )]
    Robot {
        /// The port.
        port: String,
        /// The name that the robot has.
        robot: String,
        /// The name that was expected.
        expected: String,
    },
    /// The robot has another tick period.
    #[error(
        "{port}: the robot's tick period is {robot} us, not {expected} us; change the rate on one side"
    )]
    Period {
        /// The port.
        port: String,
        /// The robot's period, us.
        robot: u32,
        /// The period that was expected, us.
        expected: u32,
    },
    /// A channel is another one than was expected.
    #[error(
        "{port}: {kind} {index} is {robot} on the robot, but {expected} was expected; make them agree"
    )]
    Channel {
        /// The port.
        port: String,
        /// Which list the channel is in.
        kind: ChannelKind,
        /// Its place in the list, from 0.
        index: usize,
        /// Name and unit of the robot's channel, or that there is none.
        robot: String,
        /// Name and unit of the channel that was expected, or that there is none.
        expected: String,
    },
    /// The hashes of the contract differ though all of its parts are equal.
    #[error("{port}: the robot hashes an equal contract differently; update its firmware")]
    ContractHash {
        /// The port.
        port: String,
    },
    /// The robot does not let itself be armed.
    #[error("{port}: the robot refused to be armed: {reason}")]
    ArmRefused {
        /// The port.
        port: String,
        /// The robot's reason.
        reason: Refusal,
    },
    /// A command before arming, or after the robot was disarmed.
    #[error("{port}: the robot is not armed; arm it first")]
    NotArmed {
        /// The port.
        port: String,
    },
    /// A command with more values than the wire takes.
    #[error(
        "{port}: a command of {values} values is longer than the wire takes; plan fewer future actions"
    )]
    CommandTooLong {
        /// The port.
        port: String,
        /// How many values it has.
        values: usize,
    },
}
