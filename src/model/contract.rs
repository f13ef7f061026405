//! The contract inside an ONNX file: what its numbers mean and how it wants to be adapted.
//!
//! It travels as JSON in `metadata_props`, one key an item, all under the prefix `surefoot.`:
//!
//! | key | value |
//! |---|---|
//! | `surefoot.version` | 1 |
//! | `surefoot.robot` | name of the robot |
//! | `surefoot.state` | `[{"name", "unit", "scale"}]`, in the order of the model's input `state` |
//! | `surefoot.action` | `[{"name", "unit"}]`, in the order of the model's input `action` |
//! | `surefoot.period_s` | time from state to next state, s |
//! | `surefoot.adapt` | `{"window": M, "steps": {parameter: step size}}`: only the named parameters adapt |
//! | `surefoot.self_check` | `{"state", "action", "next_state"}`: one evaluation, to prove the file and the runtime |
//! | `surefoot.seal` | SHA-256 of the file as `surefoot train` wrote it; not part of the contract, and not needed |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::ModelError;

const VERSION: u32 = 1;
/// Largest window that a model may ask for.
pub const MAX_WINDOW: usize = 1024;

/// What the numbers of a model mean and how it wants to be adapted.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Name of the robot that the model was trained for.
    pub robot: String,
    /// The states, in order.
    pub state: Vec<StateChannel>,
    /// The actions, in order.
    pub action: Vec<Channel>,
    /// Time from state to next state, s.
    pub period_s: f64,
    /// How it wants to be adapted.
    pub adapt: AdaptContract,
    /// One evaluation, to prove the file and the runtime.
    pub self_check: SelfCheck,
}

/// An action of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Name, as robot.toml has it.
    pub name: String,
    /// SI unit, as robot.toml has it.
    pub unit: String,
}

/// A state of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateChannel {
    /// Name, as robot.toml has it.
    pub name: String,
    /// SI unit, as robot.toml has it.
    pub unit: String,
    /// Standard deviation of its change over a period, in `unit`: errors are divided by it.
    pub scale: f32,
}

/// How a model wants to be adapted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptContract {
    /// Transitions in the window, M.
    pub window: usize,
    /// Inner step size of each parameter that adapts.
    pub steps: BTreeMap<String, f32>,
}

/// One evaluation of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfCheck {
    /// State (S).
    pub state: Vec<f32>,
    /// Action (A).
    pub action: Vec<f32>,
    /// What the model must predict (S), to 1e-4 of each state's scale.
    pub next_state: Vec<f32>,
}

impl Contract {
    /// The contract in a file's metadata.
    ///
    /// # Errors
    /// [`ModelError::ContractMissing`] or [`ModelError::Contract`], which name the key.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, ModelError> {
        let version: u32 = item(metadata, "version")?;
        if version != VERSION {
            return Err(fault(
                "version",
                format!("is {version}, this program reads {VERSION}"),
            ));
        }
        let contract = Self {
            robot: item(metadata, "robot")?,
            state: item(metadata, "state")?,
            action: item(metadata, "action")?,
            period_s: item(metadata, "period_s")?,
            adapt: item(metadata, "adapt")?,
            self_check: item(metadata, "self_check")?,
        };
        contract.check()?;
        Ok(contract)
    }

    /// The metadata that holds this contract.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        BTreeMap::from([
            ("surefoot.version".into(), VERSION.to_string()),
            (
                "surefoot.robot".into(),
                json(serde_json::to_string(&self.robot)),
            ),
            (
                "surefoot.state".into(),
                json(serde_json::to_string(&self.state)),
            ),
            (
                "surefoot.action".into(),
                json(serde_json::to_string(&self.action)),
            ),
            (
                "surefoot.period_s".into(),
                json(serde_json::to_string(&self.period_s)),
            ),
            (
                "surefoot.adapt".into(),
                json(serde_json::to_string(&self.adapt)),
            ),
            (
                "surefoot.self_check".into(),
                json(serde_json::to_string(&self.self_check)),
            ),
        ])
    }

    /// The contract as one JSON object, with the keys of the metadata less their prefix.
    pub fn to_json(&self) -> serde_json::Value {
        let value = |(key, text): (String, String)| {
            let key = key.trim_start_matches("surefoot.").to_owned();
            (key, serde_json::from_str(&text).unwrap_or_default())
        };
        serde_json::Value::Object(self.to_metadata().into_iter().map(value).collect())
    }

    /// The states' scales, in order.
    pub fn scales(&self) -> Vec<f32> {
        self.state.iter().map(|channel| channel.scale).collect()
    }

    /// Checks that the contract can be met: sizes, scales and step sizes that make sense.
    ///
    /// # Errors
    /// [`ModelError::Contract`], which names the key.
    pub fn check(&self) -> Result<(), ModelError> {
        let positive = |v: f32| v.is_finite() && v > 0.0;
        let states = self.state.iter().map(|channel| &channel.name);
        let mut names = std::collections::BTreeSet::new();
        for name in states.chain(self.action.iter().map(|channel| &channel.name)) {
            if !names.insert(name) {
                return Err(fault(
                    "state",
                    format!("'{name}' stands twice among states and actions"),
                ));
            }
        }
        if self.state.is_empty() || self.action.is_empty() {
            return Err(fault(
                "state",
                "a model needs at least one state and one action".into(),
            ));
        }
        if let Some(channel) = self.state.iter().find(|channel| !positive(channel.scale)) {
            return Err(fault(
                "state",
                format!("the scale of '{}' must be finite and above 0", channel.name),
            ));
        }
        if !(self.period_s.is_finite() && self.period_s > 0.0) {
            return Err(fault(
                "period_s",
                format!("is {}, but must be finite and above 0", self.period_s),
            ));
        }
        if !(2..=MAX_WINDOW).contains(&self.adapt.window) {
            return Err(fault(
                "adapt",
                format!(
                    "a window of {} is not within 2 to {MAX_WINDOW}",
                    self.adapt.window
                ),
            ));
        }
        if self.adapt.steps.is_empty() {
            return Err(fault("adapt", "names no parameter that adapts".into()));
        }
        if let Some((name, _)) = self.adapt.steps.iter().find(|(_, step)| !positive(**step)) {
            return Err(fault(
                "adapt",
                format!("the step size of '{name}' must be finite and above 0"),
            ));
        }
        let (states, actions) = (self.state.len(), self.action.len());
        let check = &self.self_check;
        if (
            check.state.len(),
            check.action.len(),
            check.next_state.len(),
        ) != (states, actions, states)
        {
            return Err(fault(
                "self_check",
                format!("must hold {states} states and {actions} actions"),
            ));
        }
        let values = check
            .state
            .iter()
            .chain(&check.action)
            .chain(&check.next_state);
        if values.into_iter().any(|value| !value.is_finite()) {
            return Err(fault(
                "self_check",
                "holds a value that is not finite".into(),
            ));
        }
        Ok(())
    }
}

fn item<T: DeserializeOwned>(
    metadata: &BTreeMap<String, String>,
    key: &'static str,
) -> Result<T, ModelError> {
    let text = metadata
        .get(&format!("surefoot.{key}"))
        .ok_or(ModelError::ContractMissing { key })?;
    serde_json::from_str(text).map_err(|error| fault(key, error.to_string()))
}

fn fault(key: &'static str, reason: String) -> ModelError {
    ModelError::Contract { key, reason }
}
