//! The simulated microcontroller: the firmware that boards run, configured from `sim.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use surefoot_firmware::{ActionChannel, Config, Firmware, Trip};
use surefoot_wire::{Channel, Limit};

use super::Error;
use super::scene::{Action, Observation, Range};

/// How often the microcontroller's loop runs, in microseconds.
pub(super) const LOOP_US: u64 = 1_000;

/// The microcontroller's own figures.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    robot: String,
    pub rate_hz: f64,
    max_lifetime_ms: u16,
    damping_ms: u16,
    sitting_ms: u16,
}

impl Board {
    /// The tick period of the robot's contract, in microseconds.
    pub fn period_us(&self) -> u32 {
        (1e6 / self.rate_hz).round() as u32
    }

    /// The firmware, just started, of a robot with these channels; `path` is the file that describes it.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`], [`Error::Channel`], [`Error::TooMany`] or [`Error::Firmware`].
    pub fn firmware(
        &self,
        path: &Path,
        observations: &[Observation],
        actions: &[Action],
    ) -> Result<Firmware, Error> {
        let path = || PathBuf::from(path);
        let period_us = self.period_us();
        if period_us == 0 || u64::from(period_us) % LOOP_US != 0 || self.rate_hz < 0.5 {
            return Err(Error::Rate {
                path: path(),
                rate_hz: self.rate_hz,
            });
        }
        let channel = |name: &str, unit: &str| {
            let refused = |reason| Error::Channel {
                path: path(),
                name: name.into(),
                reason,
            };
            Channel::new(name, unit).map_err(refused)
        };
        let observed = observations.iter().map(|o| channel(&o.name, &o.unit));
        let acted = actions.iter().map(|a| {
            let limit = Limit {
                min: a.min,
                max: a.max,
                rate: a.rate_limit_per_s,
            };
            Ok(ActionChannel {
                channel: channel(&a.name, &a.unit)?,
                limit,
                safe: a.safe,
            })
        });
        let trips = (0..)
            .zip(observations)
            .filter_map(|(channel, o)| o.trip.map(|Range { min, max }| Trip { channel, min, max }));
        let observed = observed.collect::<Result<Vec<_>, Error>>()?;
        let acted = acted.collect::<Result<Vec<_>, Error>>()?;
        let too_many = |kind| move |_| Error::TooMany { path: path(), kind };
        let config = Config {
            robot: channel(&self.robot, "")?.name,
            period_us,
            observation: observed
                .as_slice()
                .try_into()
                .map_err(too_many("observations"))?,
            action: acted.as_slice().try_into().map_err(too_many("actions"))?,
            max_lifetime_ms: self.max_lifetime_ms,
            damping_ms: self.damping_ms,
            sitting_ms: self.sitting_ms,
            trips: trips
                .collect::<Vec<_>>()
                .as_slice()
                .try_into()
                .map_err(too_many("trips"))?,
            derates: Default::default(),
        };
        Firmware::new(config).map_err(|reason| Error::Firmware {
            path: path(),
            reason,
        })
    }
}
