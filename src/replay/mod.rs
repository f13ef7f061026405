//! Proof that a log can be computed again from its inputs, bit for bit.
//!
//! A log holds everything that decided the run: the robot.toml, the model, the seed, and each tick's inputs. [`replay`] does
//! every tick again through the same [`Tick::step`] and compares what comes out.

pub mod compare;

use std::path::{Path, PathBuf};

pub use compare::{Comparison, Difference};

use crate::log::schema::Plan;
use crate::log::{Ending, Log, LogError};
use crate::model::{DynamicsModel, ModelError, Runtime};
use crate::robot::{Robot, RobotError, Rule};
use crate::tick::{Observation, Tick};

/// Why a log could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log's robot.toml was refused.
    #[error("the log's robot.toml: {0}")]
    Robot(#[from] RobotError),
    /// The log's model was refused, or could not be run.
    #[error("the log's model: {0}")]
    Model(#[from] ModelError),
    /// The log names an update rule that this version does not have.
    #[error("{path}: the run's rule '{rule}' is unknown to this version of surefoot")]
    Rule {
        /// The log.
        path: PathBuf,
        /// The rule.
        rule: String,
    },
    /// A tick does not have as many values as the log's own robot.toml has channels.
    #[error(
        "{path}: tick {tick} has {found} observations and actions, its robot.toml {expected}; the log was not written by surefoot, or is damaged"
    )]
    Channels {
        /// The log.
        path: PathBuf,
        /// The tick.
        tick: u64,
        /// Values found.
        found: usize,
        /// Channels expected.
        expected: usize,
    },
    /// A plan that belongs to no tick, or stands out of order.
    #[error(
        "{path}: a plan of tick {tick} stands where none belongs; the log was not written by surefoot"
    )]
    StrayPlan {
        /// The log.
        path: PathBuf,
        /// The tick that it names.
        tick: u64,
    },
    /// The first ticks are missing, so that the state that they left is unknown.
    #[error(
        "{path}: tick {found} stands where tick {expected} should; a run can only be proved without gaps from its start"
    )]
    Gap {
        /// The log.
        path: PathBuf,
        /// The tick that should come.
        expected: u64,
        /// The tick that came.
        found: u64,
    },
}

/// Computes every tick of a log again and compares it with what was recorded. A log that was cut is proved up to its cut.
///
/// # Errors
/// [`ReplayError`] when the log cannot be read or is damaged, or cannot be computed again at all.
pub fn replay(path: &Path, runtime: &Runtime) -> Result<Comparison, ReplayError> {
    let mut log = Log::read(path)?;
    if !log.damage.is_empty() {
        return Err(log.damage.swap_remove(0).into());
    }
    let mut robot = Robot::parse(&log.run.robot_toml, &path.join("robot.toml"))?;
    robot.adapt.rule = Rule::from_name(&log.run.rule).ok_or_else(|| ReplayError::Rule {
        path: path.into(),
        rule: log.run.rule.clone(),
    })?;
    let model = DynamicsModel::from_bytes(log.run.model, &path.join("model.onnx"), runtime)?;
    let mut tick = Tick::new(runtime, &model, &robot, log.run.seed, || 0)?;

    let mut comparison = Comparison::default();
    let mut plans = log.plans.iter().peekable();
    for (expected, recorded) in (0..).zip(&log.ticks) {
        if recorded.tick != expected {
            return Err(ReplayError::Gap {
                path: path.into(),
                expected,
                found: recorded.tick,
            });
        }
        let found = recorded.observation.len() + recorded.applied.len();
        let expected_channels = robot.observation.len() + robot.action.len();
        if recorded.observation.len() != robot.observation.len() || found != expected_channels {
            return Err(ReplayError::Channels {
                path: path.into(),
                tick: recorded.tick,
                found,
                expected: expected_channels,
            });
        }
        let observation = Observation {
            tick: recorded.tick,
            robot_time_us: recorded.robot_time_us,
            armed: recorded.robot_mode == surefoot_wire::Mode::Armed as u32,
            values: &recorded.observation,
            applied: &recorded.applied,
        };
        let outcome = tick.step(&observation, recorded.wanted());
        let plan: Option<&Plan> = plans.next_if(|plan| plan.tick == recorded.tick);
        // A plan may only be missing where the log says that records were dropped, or behind its cut.
        let last = recorded.tick + 1 == log.ticks.len() as u64;
        let may_miss = match log.ending {
            Ending::Closed(summary) => summary.dropped > 0,
            Ending::Cut { .. } => last,
        };
        if plan.is_none() && !may_miss {
            comparison.no_plan(recorded.tick);
        } else {
            comparison.tick((recorded, plan), (&outcome.record, &outcome.plan));
        }
    }
    if let Some(stray) = plans.next() {
        return Err(ReplayError::StrayPlan {
            path: path.into(),
            tick: stray.tick,
        });
    }
    comparison.complete = matches!(log.ending, Ending::Closed(_));
    Ok(comparison)
}
