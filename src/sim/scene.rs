//! A simulated robot as data: `sim.toml` beside an MJCF scene.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use surefoot_firmware::Firmware;

use super::board::Board;
use super::mjcf::{self, Edit};
use super::{Error, Source};

/// A scene, what its robot measures and does, and the conditions that it can be put in.
#[derive(Debug, Clone)]
pub struct Scene {
    path: PathBuf,
    mjcf: String,
    description: Description,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    scene: PathBuf,
    #[serde(rename = "firmware")]
    board: Board,
    #[serde(rename = "observation")]
    observations: Vec<Observation>,
    #[serde(rename = "action")]
    actions: Vec<Action>,
    #[serde(default, rename = "terrain")]
    terrains: BTreeMap<String, Condition>,
    #[serde(default, rename = "change")]
    changes: BTreeMap<String, Condition>,
}

/// One number of the robot's telemetry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Its name on the wire.
    pub name: String,
    /// Its unit on the wire.
    pub unit: String,
    /// What is measured.
    pub source: Source,
    /// The standard deviation of the white noise that the sensor adds, in the observation's unit.
    #[serde(default, deserialize_with = "finite_and_not_negative")]
    pub noise_std: f64,
    /// The range that it must not leave while the robot is armed.
    pub trip: Option<Range>,
}

/// A range of values, in their channel's unit.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least value.
    pub min: f32,
    /// The greatest value.
    pub max: f32,
}

/// One number of the robot's commands.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name on the wire.
    pub name: String,
    /// Its unit on the wire.
    pub unit: String,
    /// The scene's actuator, whose input it is.
    pub actuator: String,
    /// The least value that the firmware lets through.
    pub min: f32,
    /// The greatest value that the firmware lets through.
    pub max: f32,
    /// The fastest change that the firmware lets through, in the unit a second.
    pub rate_limit_per_s: f32,
    /// The value in the safe state.
    pub safe: f32,
}

/// A terrain or a change: edits of the scene.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The edits, applied in order.
    pub edits: Vec<Edit>,
}

impl Scene {
    /// Reads a `sim.toml` and the scene that it names, whose path is relative to it, and checks that every edit matches the scene.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], [`Error::Description`] with line and column, [`Error::Channel`], [`Error::TooMany`], [`Error::Firmware`], [`Error::Xml`] or [`Error::NoMatch`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|reason| Error::Read {
                path: path.into(),
                reason,
            })
        };
        let description: Description =
            toml::from_str(&read(path)?).map_err(|reason| Error::Description {
                path: path.into(),
                reason: Box::new(reason),
            })?;
        let mjcf = read(&path.with_file_name(&description.scene))?;
        let scene = Self {
            path: path.into(),
            mjcf,
            description,
        };
        scene.firmware()?;
        for terrain in scene.terrains() {
            scene.mjcf_of(Some(terrain), &[])?;
        }
        for change in scene.changes() {
            scene.mjcf_of(None, &[change])?;
        }
        Ok(scene)
    }

    /// The same robot with a firmware that ticks so many times a second; as the file has it, if no rate is given.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`].
    pub fn at_rate(mut self, rate_hz: Option<f64>) -> Result<Self, Error> {
        if let Some(rate_hz) = rate_hz {
            self.description.board.rate_hz = rate_hz;
            self.firmware()?;
        }
        Ok(self)
    }

    /// The observations, in telemetry's order.
    pub fn observations(&self) -> &[Observation] {
        &self.description.observations
    }

    /// The actions, in the command's order.
    pub fn actions(&self) -> &[Action] {
        &self.description.actions
    }

    /// The robot's firmware, just started. It has been checked, so this does not fail for a loaded scene.
    ///
    /// # Errors
    ///
    /// [`Error::Rate`], [`Error::Channel`], [`Error::TooMany`] or [`Error::Firmware`].
    pub fn firmware(&self) -> Result<Firmware, Error> {
        self.description
            .board
            .firmware(&self.path, self.observations(), self.actions())
    }

    /// The tick period of the robot's contract, in microseconds.
    pub fn period_us(&self) -> u64 {
        u64::from(self.description.board.period_us())
    }

    /// The names of the terrains.
    pub fn terrains(&self) -> impl Iterator<Item = &str> {
        self.description.terrains.keys().map(String::as_str)
    }

    /// The names of the changes.
    pub fn changes(&self) -> impl Iterator<Item = &str> {
        self.description.changes.keys().map(String::as_str)
    }

    /// The scene's MJCF text on a terrain (without one, as the file is) after the changes, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], which lists the known names, [`Error::Xml`] or [`Error::NoMatch`].
    pub fn mjcf_of(&self, terrain: Option<&str>, changes: &[&str]) -> Result<String, Error> {
        let description = &self.description;
        let on_terrain = terrain.map(|name| ("terrain", &description.terrains, name));
        let changed = changes
            .iter()
            .map(|name| ("change", &description.changes, *name));
        let mut mjcf = self.mjcf.clone();
        for (kind, conditions, name) in on_terrain.into_iter().chain(changed) {
            let unknown = || {
                let known: Vec<&str> = conditions.keys().map(String::as_str).collect();
                Error::Unknown {
                    kind,
                    name: name.into(),
                    known: known.join(", "),
                }
            };
            let condition = conditions.get(name).ok_or_else(unknown)?;
            mjcf = mjcf::edited(&mjcf, &format!("{kind} `{name}`"), &condition.edits)?;
        }
        Ok(mjcf)
    }
}

fn finite_and_not_negative<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(serde::de::Error::custom(
            "must be a finite number and not negative",
        ))
    }
}
