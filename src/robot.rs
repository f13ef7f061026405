//! robot.toml: the one description of a robot, its limits and its task.
//!
//! A robot.toml names the robot's channels with their units, its limits, the model that drives it and the path that it
//! follows. Everything that is started later is checked against it: the model's contract ([`crate::model::Contract`]) and
//! the robot's own hello ([`crate::link`]).

use std::path::{Path, PathBuf};

use serde::Deserialize;
use surefoot_firmware::limits::Limiter;
use surefoot_wire::Limit;

use crate::plan::PathShape;

/// A robot as its robot.toml describes it. Made by [`Robot::read`], which checks every value; the fields are then trusted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Robot {
    /// The robot's name, as its firmware says it in the hello.
    pub name: String,
    /// The ONNX model, relative to the folder of the robot.toml.
    pub model: PathBuf,
    /// Ticks a second; the model's contract and the firmware must agree.
    pub rate_hz: f64,
    /// The serial line.
    pub link: LinkSettings,
    /// The telemetry channels, in the order of the wire.
    pub observation: Vec<ObservationChannel>,
    /// The action channels, in the order of the wire.
    pub action: Vec<ActionChannel>,
    /// The update rule and its gate.
    #[serde(default)]
    pub adapt: AdaptSettings,
    /// The planner.
    pub plan: PlanSettings,
    /// Weights of the cost's terms.
    pub cost: CostWeights,
    /// What the robot has to follow.
    pub path: PathSettings,
    /// The limits of the action channels, as the microcontroller has them.
    #[serde(skip)]
    pub limiters: Vec<Limiter>,
    /// The text that this was read from, for the log.
    #[serde(skip)]
    pub text: String,
}

/// `[link]`: the serial line.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSettings {
    /// The port, for example `/dev/ttyACM0`; `run --port` overrides it.
    pub port: String,
    /// Symbols a second.
    pub baud: u32,
    /// How long the microcontroller may go on after a command, ms: at least one and a half ticks.
    pub lifetime_ms: u16,
}

/// `[[observation]]`: one telemetry channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservationChannel {
    /// Unique name.
    pub name: String,
    /// SI unit as the firmware and the model name it, `1` for none.
    pub unit: String,
    /// An angle that jumps by 2 pi: it is unwrapped before the model sees it.
    #[serde(default)]
    pub wraps: bool,
}

/// `[[action]]`: one command channel with its limits. The microcontroller holds limits of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionChannel {
    /// Unique name.
    pub name: String,
    /// SI unit.
    pub unit: String,
    /// Least value that may be commanded, in `unit`.
    pub min: f32,
    /// Greatest value that may be commanded, in `unit`.
    pub max: f32,
    /// Greatest change in a second, in `unit`/s.
    pub rate_limit_per_s: f32,
    /// Value in which the robot is safe, in `unit`.
    pub safe: f32,
}

/// Which parameters the plan is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The meta-trained parameters, never changed.
    None,
    /// One gradient step on the window, from the meta-trained parameters, every tick (GrBAL).
    OneStep,
    /// Gradient steps carried on from tick to tick (dynamic evaluation).
    Continued,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 3] = [Rule::None, Rule::OneStep, Rule::Continued];

    /// The rule of a name, as [`Rule::name`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// The rule's name in robot.toml, reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Rule::None => "none",
            Rule::OneStep => "one_step",
            Rule::Continued => "continued",
        }
    }
}

/// `[adapt]`: the update rule and its gate. M and the step sizes come from the model's contract: it was trained for them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptSettings {
    /// The update rule.
    pub rule: Rule,
    /// Newest transitions that the gate holds out of the step to judge it.
    pub gate_holdout: usize,
    /// Largest Euclidean distance from theta* that is accepted.
    pub step_norm_limit: f32,
}

impl Default for AdaptSettings {
    fn default() -> Self {
        Self {
            rule: Rule::OneStep,
            gate_holdout: 8,
            step_norm_limit: 10.0,
        }
    }
}

/// The planners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannerKind {
    /// The best of K random candidates.
    RandomShooting,
    /// Model predictive path integral control: the exponentially weighted mean of K candidates.
    Mppi,
}

/// `[plan]`: the planner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSettings {
    /// The planner.
    pub planner: PlannerKind,
    /// Candidates a tick, K.
    pub candidates: usize,
    /// Ticks ahead, H.
    pub horizon: usize,
    /// Standard deviation of the noise, as a fraction of each action's range.
    pub noise: f32,
    /// Correlation of the noise from one step of the horizon to the next, 0 (white) to below 1.
    pub noise_correlation: f32,
    /// MPPI: temperature as a fraction of the standard deviation of the costs.
    #[serde(default = "default_temperature")]
    pub temperature: f32,
}

fn default_temperature() -> f32 {
    0.1
}

/// `[cost]`: weights of the cost's terms; each is summed over the horizon.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostWeights {
    /// Squared distance to the reference point, per m^2.
    pub position: f32,
    /// 1 - cos of the heading error.
    pub heading: f32,
    /// Squared change of the action from step to step, as a fraction of its range.
    pub action_rate: f32,
}

/// `[path]`: what the robot has to follow, and which observations are its planar pose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathSettings {
    /// Observation that is the position along x, m.
    pub x: String,
    /// Observation that is the position along y, m.
    pub y: String,
    /// Observation that is the heading, rad, anticlockwise from x.
    pub yaw: String,
    /// Wanted speed along the path, m/s.
    pub speed_m_s: f64,
    /// Its shape.
    pub shape: PathShape,
    /// Its size, m: as the shape says.
    pub size_m: f64,
}

/// Why a robot.toml was refused.
#[derive(Debug, thiserror::Error)]
pub enum RobotError {
    /// The file could not be read.
    #[error("{path}: {source}; give the path of a robot.toml, for example models/roach/robot.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, or a key that robot.toml does not have; the message holds line, column and caret.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: Box<toml::de::Error>,
    },
    /// A value out of its range.
    #[error("{path}: {key} is {value}, but must be {expected}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: String,
        /// What was found.
        value: String,
        /// What is allowed.
        expected: String,
    },
}

impl Robot {
    /// Reads and checks a robot.toml. The `model` path is made relative to the file's folder.
    ///
    /// # Errors
    /// [`RobotError`], which names the file, the key and what is expected.
    pub fn read(path: &Path) -> Result<Self, RobotError> {
        let text = std::fs::read_to_string(path).map_err(|source| RobotError::Read {
            path: path.into(),
            source,
        })?;
        let mut robot = Self::parse(&text, path)?;
        robot.model = path.parent().unwrap_or(Path::new("")).join(&robot.model);
        Ok(robot)
    }

    /// Checks the text of a robot.toml; `path` is only named in errors.
    ///
    /// # Errors
    /// [`RobotError`], as [`Robot::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, RobotError> {
        let mut robot: Self = toml::from_str(text).map_err(|source| RobotError::Syntax {
            path: path.into(),
            source: Box::new(source),
        })?;
        if let Some((key, value, expected)) = robot.first_fault() {
            return Err(RobotError::Value {
                path: path.into(),
                key,
                value,
                expected,
            });
        }
        for action in &robot.action {
            let limit = Limit {
                min: action.min,
                max: action.max,
                rate: action.rate_limit_per_s,
            };
            let limiter = Limiter::new(limit).map_err(|fault| RobotError::Value {
                path: path.into(),
                key: format!("action '{}'", action.name),
                value: format!("{limit:?}"),
                expected: fault.to_string(),
            })?;
            robot.limiters.push(limiter);
        }
        robot.text = text.to_owned();
        Ok(robot)
    }

    /// The tick's period, s.
    pub fn period_s(&self) -> f64 {
        1.0 / self.rate_hz
    }

    /// The tick's period, us, as firmware and host agree on it.
    pub fn period_us(&self) -> u32 {
        (1e6 / self.rate_hz).round() as u32
    }

    /// Actions that a command carries: as many as its lifetime covers, at most the plan's horizon.
    pub fn future_actions(&self) -> usize {
        let covered = (f64::from(self.link.lifetime_ms) * 1e-3 * self.rate_hz).ceil() as usize;
        covered.clamp(1, self.plan.horizon.min(surefoot_wire::MAX_FUTURE))
    }

    fn first_fault(&self) -> Option<(String, String, String)> {
        let mut checks = Checks(None);
        let range = |low: f64, high: f64| move |v: f64| v.is_finite() && v >= low && v <= high;
        checks.number(
            "rate_hz",
            self.rate_hz,
            range(0.5, 1000.0),
            "between 0.5 and 1000",
        );
        let period_ms = 1e3 / self.rate_hz;
        checks.number(
            "link.lifetime_ms",
            f64::from(self.link.lifetime_ms),
            range(1.5 * period_ms, 1000.0),
            &format!(
                "between one and a half ticks ({} ms) and 1000",
                1.5 * period_ms
            ),
        );
        checks.count(
            "observation",
            self.observation.len(),
            1,
            surefoot_wire::MAX_OBSERVATION,
        );
        checks.count("action", self.action.len(), 1, surefoot_wire::MAX_ACTION);
        let names = self
            .observation
            .iter()
            .map(|c| &c.name)
            .chain(self.action.iter().map(|c| &c.name));
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            checks.require(
                seen.insert(name),
                "name",
                name,
                "unique among observations and actions",
            );
        }
        let observed = self.observation.iter().map(|c| (&c.name, &c.unit));
        for (name, unit) in observed.chain(self.action.iter().map(|c| (&c.name, &c.unit))) {
            let fits = !name.is_empty() && surefoot_wire::Channel::new(name, unit).is_ok();
            let limits = format!(
                "a name of 1 to {} bytes with a unit of at most {}",
                surefoot_wire::MAX_NAME,
                surefoot_wire::MAX_UNIT
            );
            checks.require(fits, "name", &format!("{name} ({unit})"), &limits);
        }
        for action in &self.action {
            let key = |field: &str| format!("action '{}'.{field}", action.name);
            let within = |v: f64| v >= f64::from(action.min) && v <= f64::from(action.max);
            checks.number(
                &key("safe"),
                f64::from(action.safe),
                within,
                "within min and max",
            );
        }
        checks.number(
            "adapt.step_norm_limit",
            f64::from(self.adapt.step_norm_limit),
            |v| v.is_finite() && v > 0.0,
            "finite and above 0",
        );
        checks.count("adapt.gate_holdout", self.adapt.gate_holdout, 1, 1024);
        checks.count("plan.candidates", self.plan.candidates, 2, 100_000);
        checks.count("plan.horizon", self.plan.horizon, 1, 200);
        checks.number(
            "plan.noise",
            f64::from(self.plan.noise),
            |v| v > 0.0 && v <= 2.0,
            "above 0, at most 2",
        );
        let correlation = f64::from(self.plan.noise_correlation);
        checks.number(
            "plan.noise_correlation",
            correlation,
            |v| (0.0..1.0).contains(&v),
            "at least 0 and below 1",
        );
        checks.number(
            "plan.temperature",
            f64::from(self.plan.temperature),
            |v| v.is_finite() && v > 0.0,
            "finite and above 0",
        );
        for (key, weight) in [
            ("cost.position", self.cost.position),
            ("cost.heading", self.cost.heading),
            ("cost.action_rate", self.cost.action_rate),
        ] {
            checks.number(
                key,
                f64::from(weight),
                |v| v.is_finite() && v >= 0.0,
                "finite and not negative",
            );
        }
        checks.number(
            "path.speed_m_s",
            self.path.speed_m_s,
            |v| v.is_finite() && v > 0.0,
            "finite and above 0",
        );
        checks.number(
            "path.size_m",
            self.path.size_m,
            |v| v.is_finite() && v > 0.0,
            "finite and above 0",
        );
        for (key, name, unit, wraps) in [
            ("path.x", &self.path.x, "m", false),
            ("path.y", &self.path.y, "m", false),
            ("path.yaw", &self.path.yaw, "rad", true),
        ] {
            let is_it =
                |c: &&ObservationChannel| &c.name == name && c.unit == unit && c.wraps == wraps;
            let known = self.observation.iter().find(is_it).is_some();
            let expected = format!("an [[observation]] in {unit} with wraps = {wraps}");
            checks.require(known, key, name, &expected);
        }
        checks.0
    }
}

/// Keeps the first fault found.
struct Checks(Option<(String, String, String)>);

impl Checks {
    fn require(&mut self, holds: bool, key: &str, value: &str, expected: &str) {
        if !holds && self.0.is_none() {
            self.0 = Some((key.into(), format!("'{value}'"), expected.into()));
        }
    }

    fn number(&mut self, key: &str, value: f64, holds: impl Fn(f64) -> bool, expected: &str) {
        if !holds(value) && self.0.is_none() {
            self.0 = Some((key.into(), value.to_string(), expected.into()));
        }
    }

    fn count(&mut self, key: &str, value: usize, least: usize, most: usize) {
        if !(least..=most).contains(&value) && self.0.is_none() {
            self.0 = Some((key.into(), value.to_string(), format!("{least} to {most}")));
        }
    }
}
