//! What a firmware must know of its robot, checked once.

use heapless::Vec;
use surefoot_wire::{Channel, Limit, MAX_ACTION, MAX_OBSERVATION, Name, contract_hash};

use crate::limits::{LimitError, Limiter};

/// The longest way from the end of a lifetime to drivers off, ms.
pub const MAX_SAFE_MS: u16 = 500;

/// The most trips a robot may have.
pub const MAX_TRIPS: usize = 16;

/// The most measurements that take strength away.
pub const MAX_DERATES: usize = 16;

/// A robot, as its firmware sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The robot's name.
    pub robot: Name,
    /// The tick period, us: telemetry is sent once a period, and the actions of one command are one period apart.
    pub period_us: u32,
    /// What it measures, in the order of the contract.
    pub observation: Vec<Channel, MAX_OBSERVATION>,
    /// What it can be told to do, in the order of the contract.
    pub action: Vec<ActionChannel, MAX_ACTION>,
    /// The longest lifetime that a command may ask for, ms.
    pub max_lifetime_ms: u16,
    /// How long going safe ramps from the last action to the safe one, ms.
    pub damping_ms: u16,
    /// How long the safe action is then held before the drivers go off, ms. At most [`MAX_SAFE_MS`] with `damping_ms`.
    pub sitting_ms: u16,
    /// Measurements that make the robot go safe by itself, such as tilt and over-speed.
    pub trips: Vec<Trip, MAX_TRIPS>,
    /// Measurements that make the robot weaker, and in the end go safe: current, temperature, battery voltage.
    pub derates: Vec<Derate, MAX_DERATES>,
}

/// One scalar that the robot can be told to do.
#[derive(Clone, Debug, PartialEq)]
pub struct ActionChannel {
    /// Its name and unit.
    pub channel: Channel,
    /// What it may be set to, and how fast.
    pub limit: Limit,
    /// Its value when the robot goes safe, such as 0 for a speed.
    pub safe: f32,
}

/// The range that an observation channel must not leave while the robot is armed. NaN is outside of every range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trip {
    /// The channel's place in the observation.
    pub channel: u8,
    /// The least value, in the channel's unit.
    pub min: f32,
    /// The greatest value, in the channel's unit.
    pub max: f32,
}

/// The range over which an observation channel takes strength away while the robot is armed: every action comes nearer to its safe
/// value, in a line from `start` to `stop`. At `stop`, and when the channel is NaN, the robot goes safe and cannot be armed again
/// until the channel was back at `resume`. A channel that is dangerous when it is low has its `stop` below its `start`. Figures are
/// in the channel's unit; its noise is for the board to filter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Derate {
    /// The channel's place in the observation.
    pub channel: u8,
    /// Where the robot begins to get weaker.
    pub start: f32,
    /// Where it has no strength left.
    pub stop: f32,
    /// Where all strength comes back: on the other side of `start` than `stop`, or at `start`.
    pub resume: f32,
}

impl Derate {
    fn makes_sense(&self) -> bool {
        let finite = [self.start, self.stop, self.resume]
            .iter()
            .all(|value| value.is_finite());
        let rising = self.resume <= self.start && self.start < self.stop;
        let falling = self.resume >= self.start && self.start > self.stop;
        finite && (rising || falling)
    }
}

/// Why a [`Config`] cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The tick period is zero.
    #[error("the tick period must not be 0 us")]
    Period,
    /// There is nothing to measure or nothing to do.
    #[error("a robot needs at least one observation channel and one action channel")]
    NoChannel,
    /// Two channels of one list have the same name.
    #[error("two channels are named {0}: give each its own name")]
    SameName(Name),
    /// An action channel's limit makes no sense.
    #[error("action {0}: {1}")]
    Limit(Name, LimitError),
    /// An action channel's safe value is outside of its limit.
    #[error("action {0}: its safe value must be within its limit")]
    Safe(Name),
    /// No command could be alive.
    #[error("the longest lifetime must not be 0 ms")]
    Lifetime,
    /// Going safe takes too long.
    #[error("damping and sitting must not take longer than {MAX_SAFE_MS} ms together")]
    SafeTime,
    /// A trip's channel is not in the observation, or its range is empty.
    #[error("trip on observation channel {0}: no such channel, or an empty range")]
    Trip(u8),
    /// A derate's channel is not in the observation, or its figures are in no order.
    #[error(
        "derate on observation channel {0}: no such channel, or start, stop and resume in no order"
    )]
    Derate(u8),
}

impl Config {
    /// The hash of the robot's contract.
    #[must_use]
    pub fn contract_hash(&self) -> u64 {
        fn pair(channel: &Channel) -> (&str, &str) {
            (channel.name.as_str(), channel.unit.as_str())
        }
        contract_hash(
            self.period_us,
            self.observation.iter().map(pair),
            self.action.iter().map(|action| pair(&action.channel)),
        )
    }

    /// Checks everything, and returns the limiters of the action channels.
    pub(crate) fn check(&self) -> Result<Vec<Limiter, MAX_ACTION>, ConfigError> {
        if self.period_us == 0 {
            return Err(ConfigError::Period);
        }
        if self.observation.is_empty() || self.action.is_empty() {
            return Err(ConfigError::NoChannel);
        }
        check_names(self.observation.iter().map(|channel| &channel.name))?;
        check_names(self.action.iter().map(|action| &action.channel.name))?;
        if self.max_lifetime_ms == 0 {
            return Err(ConfigError::Lifetime);
        }
        if self.damping_ms.saturating_add(self.sitting_ms) > MAX_SAFE_MS {
            return Err(ConfigError::SafeTime);
        }
        for trip in &self.trips {
            let known = usize::from(trip.channel) < self.observation.len();
            if !known || trip.min.is_nan() || trip.max.is_nan() || trip.min > trip.max {
                return Err(ConfigError::Trip(trip.channel));
            }
        }
        for derate in &self.derates {
            let known = usize::from(derate.channel) < self.observation.len();
            if !known || !derate.makes_sense() {
                return Err(ConfigError::Derate(derate.channel));
            }
        }
        self.action.iter().map(ActionChannel::limiter).collect()
    }
}

impl ActionChannel {
    fn limiter(&self) -> Result<Limiter, ConfigError> {
        let name = || self.channel.name.clone();
        let limiter =
            Limiter::new(self.limit).map_err(|error| ConfigError::Limit(name(), error))?;
        if limiter.allows(self.safe) {
            Ok(limiter)
        } else {
            Err(ConfigError::Safe(name()))
        }
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a Name> + Clone) -> Result<(), ConfigError> {
    for (index, name) in names.clone().enumerate() {
        if names.clone().take(index).any(|earlier| earlier == name) {
            return Err(ConfigError::SameName(name.clone()));
        }
    }
    Ok(())
}
