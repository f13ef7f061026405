//! The messages, one enum a direction. Variants are only ever appended, and the two `Hello`s never change.

use heapless::Vec;
use postcard_schema::{Schema, key::Key};
use serde::{Deserialize, Serialize};

use crate::{
    Channel, ChannelKind, Counters, MAX_ACTION, MAX_FUTURE, MAX_OBSERVATION, Name, Refusal,
    Sequence,
};

/// The version of the conversation: what a message means, and in which order they come.
pub const PROTOCOL: u16 = 1;

/// A hash of the layout of every message, which changes by itself when a type or field does.
pub const SCHEMA_HASH: u64 = {
    let to_robot = u64::from_le_bytes(Key::for_path::<ToRobot>("surefoot/to_robot").to_bytes());
    let to_host = u64::from_le_bytes(Key::for_path::<ToHost>("surefoot/to_host").to_bytes());
    to_robot ^ to_host.rotate_left(32)
};

/// What the host says to the robot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
#[expect(clippy::large_enum_variant, reason = "there is no heap to box it on")]
pub enum ToRobot {
    /// Opens the conversation; the robot answers with its own hello if it speaks the same version, and refuses otherwise.
    Hello {
        /// [`PROTOCOL`] of the host.
        protocol: u16,
        /// [`SCHEMA_HASH`] of the host.
        schema_hash: u64,
    },
    /// Asks for one channel's name and unit.
    DescribeChannel {
        /// Which list it is in.
        kind: ChannelKind,
        /// Its place in that list.
        index: u8,
    },
    /// Asks for the robot's [`Counters`].
    ReadCounters,
    /// Takes up the session that the robot's last hello offered; the drivers are enabled at the robot's safe action. Of the running
    /// session it changes nothing, and is confirmed again.
    Arm {
        /// The contract that the host works by.
        contract_hash: u64,
        /// The session on offer.
        session: u32,
    },
    /// What to do now, and next if no other command comes in time.
    Command {
        /// The running session.
        session: u32,
        /// Newer than every command before it in this session.
        sequence: Sequence,
        /// How long the robot may act on it, ms after it was received; then the robot goes to its safe state.
        lifetime_ms: u16,
        /// One to [`MAX_FUTURE`] actions, row-major, spaced one tick period. The first applies at once.
        actions: Vec<f32, { MAX_FUTURE * MAX_ACTION }>,
    },
    /// Go to the safe state now. Needs no session.
    Disarm,
}

/// What the robot says to the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub enum ToHost {
    /// Who the robot is. The answer to every hello, also to one of another version.
    Hello {
        /// [`PROTOCOL`] of the robot.
        protocol: u16,
        /// [`SCHEMA_HASH`] of the robot.
        schema_hash: u64,
        /// The robot's name.
        robot: Name,
        /// [`contract_hash`](crate::contract_hash) of its channels and period.
        contract_hash: u64,
        /// The tick period, us.
        period_us: u32,
        /// How many observation channels it has.
        n_observation: u8,
        /// The limits of its action channels, one each.
        limits: Vec<Limit, MAX_ACTION>,
        /// The session that it offers: to be taken up once, by [`ToRobot::Arm`].
        session: u32,
    },
    /// The answer to [`ToRobot::DescribeChannel`].
    Channel {
        /// Which list it is in.
        kind: ChannelKind,
        /// Its place in that list.
        index: u8,
        /// Its name and unit.
        channel: Channel,
    },
    /// The answer to [`ToRobot::ReadCounters`].
    Counters(Counters),
    /// What the robot measured and did, once a tick period.
    Telemetry(Telemetry),
    /// Something that just happened.
    Event {
        /// When, us since the robot started.
        time_us: u64,
        /// What.
        kind: EventKind,
    },
}

/// What a robot measured and did. A measurement may be NaN: that is for the host to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Telemetry {
    /// Counts telemetry messages.
    pub sequence: Sequence,
    /// When it was measured, us since the robot started.
    pub time_us: u64,
    /// What the robot is doing.
    pub mode: Mode,
    /// The last command accepted in this session.
    pub last_command: Option<Sequence>,
    /// The mean over the period that just ended of what was really applied, one value an action channel.
    pub applied: Vec<f32, MAX_ACTION>,
    /// One value an observation channel.
    pub observation: Vec<f32, MAX_OBSERVATION>,
    /// How often anything was refused since the robot started; [`ToRobot::ReadCounters`] says why.
    pub refused: u32,
}

/// What a robot is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum Mode {
    /// At rest since it started, drivers off.
    Disarmed,
    /// Under command.
    Armed,
    /// Going safe: from the last action towards the safe one.
    Damping,
    /// Going safe: held at the safe action.
    Sitting,
    /// Safe, drivers off, until it is armed again.
    Off,
}

impl Mode {
    /// Whether the motors are driven.
    #[must_use]
    pub fn drivers_enabled(self) -> bool {
        matches!(self, Self::Armed | Self::Damping | Self::Sitting)
    }
}

/// Something that happened on the robot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum EventKind {
    /// The robot is in another mode.
    Mode {
        /// The new mode.
        mode: Mode,
        /// Why it changed.
        cause: Cause,
    },
    /// Something was refused. At most one of these a tick period; [`Counters`] has them all.
    Refused(Refusal),
    /// An observation channel began to take strength away.
    Weakened {
        /// Its place in the list.
        channel: u8,
    },
    /// An observation channel gave all strength back.
    Recovered {
        /// Its place in the list.
        channel: u8,
    },
}

/// Why a robot changed its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema, thiserror::Error)]
pub enum Cause {
    /// It was armed.
    #[error("it was armed")]
    Armed {
        /// The session that runs from now on.
        session: u32,
    },
    /// It was told to stop.
    #[error("it was told to stop")]
    Stopped,
    /// The last command's lifetime ended, or no command came after arming.
    #[error("the last command's lifetime ended")]
    LifetimeEnded,
    /// An observation channel left its range, or took all strength away.
    #[error("observation channel {channel} left its range or is exhausted")]
    Tripped {
        /// Its place in the list.
        channel: u8,
    },
    /// The phase before was over.
    #[error("the phase before was over")]
    PhaseEnded,
}

/// What an action channel may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Schema)]
pub struct Limit {
    /// The least value, in the channel's unit.
    pub min: f32,
    /// The greatest value, in the channel's unit.
    pub max: f32,
    /// The fastest change, in the channel's unit a second.
    pub rate: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motors_are_driven_under_command_and_while_going_safe() {
        for (mode, driven) in [
            (Mode::Disarmed, false),
            (Mode::Armed, true),
            (Mode::Damping, true),
            (Mode::Sitting, true),
            (Mode::Off, false),
        ] {
            assert_eq!(mode.drivers_enabled(), driven, "{mode:?}");
        }
    }
}
