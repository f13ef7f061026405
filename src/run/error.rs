//! Why a run did not start, or ended.

use surefoot_wire::{Cause, Limit, Mode};

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
    /// The robot's limits are narrower than robot.toml's.
    #[error("robot.toml allows '{channel}' {} to {} and {}/s, the robot only {} to {} and {}/s; narrow its min, max or rate_limit_per_s", ours.min, ours.max, ours.rate, theirs.min, theirs.max, theirs.rate)]
    Limits {
        /// The action channel.
        channel: String,
        /// robot.toml's limits.
        ours: Limit,
        /// The robot's limits.
        theirs: Limit,
    },
    /// A sensor that the model needs says nothing usable.
    #[error(
        "observation '{channel}' is {value} for too long: the robot was told to go safe; check that sensor"
    )]
    Blind {
        /// The channel.
        channel: String,
        /// Its value.
        value: f32,
    },
    /// The sensors stand still.
    #[error(
        "the robot is driven, but nothing that it measures changes: it was told to go safe; check its sensors"
    )]
    Frozen,
    /// No plan can be made.
    #[error(
        "no plan has a finite cost: the robot was told to go safe; check the model against this state with `surefoot replay` and `inspect`"
    )]
    NoPlan,
    /// The computer is too slow.
    #[error(
        "four ticks in a row were late: the robot was told to go safe; lower plan.candidates or plan.horizon, or train for less than {rate_hz} Hz"
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
        "{robot} was told to go safe ({because}) but last said '{mode:?}'; its command's lifetime has ended by now, but look at it before you touch it"
    )]
    NotSafe {
        /// The robot.
        robot: String,
        /// Its last mode.
        mode: Mode,
        /// Why it was told so.
        because: String,
    },
    /// The run ended with an error, and so did its log.
    #[error("{ended}; besides, {log}")]
    AndLog {
        /// Why the run ended.
        ended: Box<RunError>,
        /// What happened to the log.
        log: LogError,
    },
}
