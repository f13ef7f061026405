//! The safe-state machine: what the robot is doing, and what time alone does to it.
//!
//! ```text
//! Disarmed --arm--> Armed --lifetime ends, stop, trip--> Damping --> Sitting --> Off --arm--> Armed
//! ```

use surefoot_wire::{Cause, Mode};

use crate::command::Command;

/// What the robot is doing, with what belongs to it. Times are us since the robot started.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is no heap to box it on")]
pub(crate) enum State {
    /// At rest since it started.
    Disarmed,
    /// Under command of a session; without a first command until `ends_us` it goes safe.
    Armed {
        session: u32,
        ends_us: u64,
        command: Option<Command>,
    },
    /// Going safe, and since when.
    Damping { since_us: u64 },
    /// Going safe, at the safe action, and since when.
    Sitting { since_us: u64 },
    /// Safe until armed again.
    Off,
}

impl State {
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::Disarmed => Mode::Disarmed,
            Self::Armed { .. } => Mode::Armed,
            Self::Damping { .. } => Mode::Damping,
            Self::Sitting { .. } => Mode::Sitting,
            Self::Off => Mode::Off,
        }
    }

    /// The state that time alone leads to, if its instant has come, and why. A state that was not looked at for long may lead
    /// through several.
    pub(crate) fn after(
        &self,
        now_us: u64,
        damping_us: u64,
        sitting_us: u64,
    ) -> Option<(Self, Cause)> {
        match *self {
            Self::Armed { ends_us, .. } => (now_us >= ends_us)
                .then_some((Self::Damping { since_us: ends_us }, Cause::LifetimeEnded)),
            Self::Damping { since_us } => {
                let since_us = since_us.saturating_add(damping_us);
                (now_us >= since_us).then_some((Self::Sitting { since_us }, Cause::PhaseEnded))
            }
            Self::Sitting { since_us } => (now_us >= since_us.saturating_add(sitting_us))
                .then_some((Self::Off, Cause::PhaseEnded)),
            Self::Disarmed | Self::Off => None,
        }
    }
}
