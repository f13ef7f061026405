//! Why a run did not start, or ended.

use surefoot_wire::{Cause, Mode};

use crate::link::LinkError;
use crate::log::LogError;
use crate::model::ModelError;

/// Why a run did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The port or the robot on it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The robot went to its safe state by itself.
    #[error("{robot} went to its safe state: {}; see to it, then start the run again", cause.map_or("it did not say why".to_owned(), |cause| cause.to_string()))]
    WentSafe {
        /// The robot.
        robot: String,
        /// Why, if it said so.
        cause: Option<Cause>,
    },
    /// A sensor that the model needs is not finite.
    #[error(
        "observation '{channel}' is {value} for too long: the robot was brought to its safe state; check that sensor"
    )]
    Blind {
        /// The channel.
        channel: String,
        /// Its value.
        value: f32,
    },
    /// The computer is too slow.
    #[error(
        "four ticks in a row were late: the robot was brought to its safe state; lower plan.candidates or plan.horizon, or train for less than {rate_hz} Hz"
    )]
    Late {
        /// Ticks a second.
        rate_hz: f64,
    },
    /// Telemetry of another length than the contract's.
    #[error(
        "telemetry has {found} values, the contract {expected}; build firmware and program from the same release"
    )]
    Telemetry {
        /// Values found.
        found: usize,
        /// Values expected.
        expected: usize,
    },
    /// The robot did not confirm its safe state.
    #[error(
        "{robot} was told to go safe but last said '{mode:?}'; its command's lifetime has ended by now, but look at it before you touch it"
    )]
    NotSafe {
        /// The robot.
        robot: String,
        /// Its last mode.
        mode: Mode,
    },
}
