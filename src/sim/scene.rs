//! A simulated robot as data: `sim.toml` beside an MJCF scene.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use super::mjcf::{self, Edit};
use super::{Error, Source};

/// A scene, what its robot measures and does, and the conditions that it can be put in.
#[derive(Debug, Clone)]
pub struct Scene {
    mjcf: String,
    description: Description,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    scene: PathBuf,
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
}

/// One number of the robot's commands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name on the wire.
    pub name: String,
    /// Its unit on the wire.
    pub unit: String,
    /// The scene's actuator, whose input it is.
    pub actuator: String,
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
    /// [`Error::Read`], [`Error::Description`] with line and column, [`Error::Duplicate`], [`Error::Xml`] or [`Error::NoMatch`].
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
        let observed = repeated(
            description
                .observations
                .iter()
                .map(|observation| &observation.name),
        );
        let acted = repeated(description.actions.iter().map(|action| &action.name));
        if let Some(name) = observed.or(acted) {
            return Err(Error::Duplicate {
                path: path.into(),
                name: name.clone(),
            });
        }
        let mjcf = read(&path.with_file_name(&description.scene))?;
        let scene = Self { mjcf, description };
        for terrain in scene.terrains() {
            scene.mjcf_of(Some(terrain), &[])?;
        }
        for change in scene.changes() {
            scene.mjcf_of(None, &[change])?;
        }
        Ok(scene)
    }

    /// The observations, in telemetry's order.
    pub fn observations(&self) -> &[Observation] {
        &self.description.observations
    }

    /// The actions, in the command's order.
    pub fn actions(&self) -> &[Action] {
        &self.description.actions
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
        let on_terrain = terrain.map(|name| ("terrain", &self.description.terrains, name));
        let changed = changes
            .iter()
            .map(|name| ("change", &self.description.changes, *name));
        on_terrain.into_iter().chain(changed).try_fold(
            self.mjcf.clone(),
            |mjcf, (kind, conditions, name)| {
                let unknown = || {
                    let known = conditions
                        .keys()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(", ");
                    Error::Unknown {
                        kind,
                        name: name.into(),
                        known,
                    }
                };
                let condition = conditions.get(name).ok_or_else(unknown)?;
                mjcf::edited(&mjcf, &format!("{kind} `{name}`"), &condition.edits)
            },
        )
    }
}

/// The first name that comes a second time.
fn repeated<'a>(mut names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(*name))
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
