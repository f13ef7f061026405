//! The recipe of a model: what to learn, from which data, and how long.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::MAX_WINDOW;
use crate::robot::{Robot, RobotError};

/// A recipe, as its TOML file has it. Paths are relative to the file's folder. Made by [`Recipe::read`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The robot.toml: channels, units and tick.
    pub robot: PathBuf,
    /// Seed of everything that is drawn: data, initial parameters, tasks.
    pub seed: u64,
    /// The network.
    pub network: Network,
    /// Simulated data; not needed when training from logs.
    pub simulation: Option<Simulation>,
    /// The meta-objective and its optimiser.
    pub meta: Meta,
}

/// `[network]`: an MLP from features of state and action to the change of the state over a tick.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Names of the states, in order; all are `[[observation]]`s of robot.toml.
    pub state: Vec<String>,
    /// The states that are the planar pose: x, y, yaw. They are no features: dynamics do not depend on place and heading, and
    /// the displacement is predicted in the body frame.
    pub pose: [String; 3],
    /// States that are angles: their sine and cosine are the features.
    pub angles: Vec<String>,
    /// Widths of the hidden layers.
    pub hidden: Vec<usize>,
    /// The activation.
    pub activation: Activation,
}

/// Activations of the hidden layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// Rectified linear unit.
    Relu,
}

/// `[simulation]`: random data from simulated robots.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// The sim.toml.
    pub scene: PathBuf,
    /// Episodes to record.
    pub episodes: usize,
    /// Length of an episode, s.
    pub episode_s: f64,
    /// Terrains, drawn alike.
    pub terrains: Vec<String>,
    /// Groups of changes: with its probability, a group adds one of its changes, drawn alike, to an episode.
    pub group: Vec<ChangeGroup>,
    /// An episode whose robot rolls or pitches further than this is dropped, rad.
    pub upright_limit_rad: f64,
    /// Observations that are the roll and pitch.
    pub upright: [String; 2],
}

/// `[[simulation.group]]`: changes of which an episode has one or none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeGroup {
    /// Probability that an episode has one of them.
    pub probability: f64,
    /// Their names in sim.toml.
    pub changes: Vec<String>,
}

/// `[meta]`: second-order MAML with one inner step and a learned step size a tensor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Past transitions that the inner step is made on, M.
    pub window: usize,
    /// Future transitions that it is judged on, K.
    pub future: usize,
    /// Longest prediction that is scored on the future, ticks.
    pub steps: usize,
    /// Tasks of a meta-batch, an even number.
    pub tasks: usize,
    /// Most meta-updates.
    pub updates: usize,
    /// Adam's step size at the start; it falls to 0 along half a cosine.
    pub learning_rate: f64,
    /// Inner step size of every parameter at the start.
    pub inner_step: f64,
    /// Adam's step size for the logarithms of the inner step sizes.
    pub inner_step_learning_rate: f64,
    /// Share of the runs that are kept for validation.
    pub validation: f64,
    /// Meta-updates between two validations.
    pub validate_every: usize,
    /// Validations without a better adapted loss after which training stops.
    pub patience: usize,
}

/// Why a recipe was refused.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file could not be read.
    #[error("{path}: {source}; give the path of a recipe, for example models/roach/recipe.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, or an unknown key; the message holds line, column and caret.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: Box<toml::de::Error>,
    },
    /// A value that cannot be.
    #[error("{path}: {key}: {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The robot.toml was refused.
    #[error(transparent)]
    Robot(#[from] RobotError),
}

impl Recipe {
    /// Reads and checks a recipe and its robot.toml; paths are made relative to the recipe's folder.
    ///
    /// # Errors
    /// [`RecipeError`], which names the file and key.
    pub fn read(path: &Path) -> Result<(Self, Robot), RecipeError> {
        let text = std::fs::read_to_string(path).map_err(|source| RecipeError::Read {
            path: path.into(),
            source,
        })?;
        let mut recipe: Self = toml::from_str(&text).map_err(|source| RecipeError::Syntax {
            path: path.into(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        recipe.robot = folder.join(&recipe.robot);
        if let Some(simulation) = &mut recipe.simulation {
            simulation.scene = folder.join(&simulation.scene);
        }
        let robot = Robot::read(&recipe.robot)?;
        match recipe.first_fault(&robot) {
            None => Ok((recipe, robot)),
            Some((key, reason)) => Err(RecipeError::Value {
                path: path.into(),
                key,
                reason,
            }),
        }
    }

    fn first_fault(&self, robot: &Robot) -> Option<(&'static str, String)> {
        let network = &self.network;
        let mut seen = BTreeSet::new();
        for name in &network.state {
            if !robot
                .observation
                .iter()
                .any(|channel| &channel.name == name)
            {
                return Some((
                    "network.state",
                    format!("'{name}' is no [[observation]] of {}", self.robot.display()),
                ));
            }
            if !seen.insert(name) {
                return Some(("network.state", format!("'{name}' stands there twice")));
            }
        }
        for (key, names) in [
            ("network.pose", &network.pose[..]),
            ("network.angles", &network.angles[..]),
        ] {
            if let Some(name) = names.iter().find(|name| !seen.contains(name)) {
                return Some((key, format!("'{name}' is not among network.state")));
            }
        }
        let plain = |name: &String| !network.pose.contains(name) && !network.angles.contains(name);
        if !network.state.iter().any(plain) {
            let reason = "needs a state that is neither pose nor angle".into();
            return Some(("network.state", reason));
        }
        if network.hidden.is_empty()
            || network
                .hidden
                .iter()
                .any(|width| !(1..=4096).contains(width))
        {
            return Some((
                "network.hidden",
                "needs one width or more, each 1 to 4096".into(),
            ));
        }
        let meta = &self.meta;
        let counts = [
            ("meta.window", meta.window, 2),
            ("meta.future", meta.future, 1),
            ("meta.tasks", meta.tasks, 2),
            ("meta.updates", meta.updates, 1),
            ("meta.validate_every", meta.validate_every, 1),
            ("meta.patience", meta.patience, 1),
        ];
        if let Some((key, value, least)) =
            counts.into_iter().find(|(_, value, least)| value < least)
        {
            return Some((key, format!("is {value}, but must be at least {least}")));
        }
        if !meta.tasks.is_multiple_of(2) {
            return Some(("meta.tasks", format!("is {}, but must be even", meta.tasks)));
        }
        if !(1..=meta.future).contains(&meta.steps) {
            return Some((
                "meta.steps",
                format!("is {}, but must be 1 to meta.future", meta.steps),
            ));
        }
        let positive = [
            ("meta.learning_rate", meta.learning_rate),
            ("meta.inner_step", meta.inner_step),
            (
                "meta.inner_step_learning_rate",
                meta.inner_step_learning_rate,
            ),
        ];
        if let Some((key, value)) = positive
            .into_iter()
            .find(|(_, value)| !(value.is_finite() && *value > 0.0))
        {
            return Some((key, format!("is {value}, but must be finite and above 0")));
        }
        if !(meta.validation > 0.0 && meta.validation < 1.0) {
            return Some((
                "meta.validation",
                format!("is {}, but must be between 0 and 1", meta.validation),
            ));
        }
        if meta.validation > 0.5 {
            return Some((
                "meta.validation",
                format!("is {}, but must be at most 0.5", meta.validation),
            ));
        }
        if meta.window > MAX_WINDOW {
            return Some((
                "meta.window",
                format!("is {}, but must be at most {MAX_WINDOW}", meta.window),
            ));
        }
        let simulation = self.simulation.as_ref()?;
        let missing = |name: &&String| {
            robot
                .observation
                .iter()
                .all(|channel| &channel.name != *name)
        };
        if let Some(name) = simulation.upright.iter().find(missing) {
            let reason = format!("'{name}' is no [[observation]] of {}", self.robot.display());
            return Some(("simulation.upright", reason));
        }
        let sizes = [
            ("simulation.episode_s", simulation.episode_s),
            ("simulation.upright_limit_rad", simulation.upright_limit_rad),
        ];
        let bad = |(_, value): &(&str, f64)| !(value.is_finite() && *value > 0.0);
        if let Some((key, value)) = sizes.into_iter().find(bad) {
            return Some((key, format!("is {value}, but must be finite and above 0")));
        }
        let group = simulation
            .group
            .iter()
            .find(|g| !(0.0..=1.0).contains(&g.probability) || g.changes.is_empty());
        if let Some(group) = group {
            let reason = format!(
                "needs changes and a probability within 0 to 1, has {}",
                group.probability
            );
            return Some(("simulation.group", reason));
        }
        if simulation.terrains.is_empty() {
            return Some(("simulation.terrains", "needs one or more".into()));
        }
        None
    }
}
