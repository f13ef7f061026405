//! Why a simulated robot cannot be built or go on.

use std::path::PathBuf;

use super::mujoco;

/// An error of the simulation; its message names the thing and, where there is one, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The description of the simulation has a wrong key or value.
    #[error("{}: {reason}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The reason, with line and column.
        reason: Box<toml::de::Error>,
    },
    /// The rate's period is not a whole number of the microcontroller's loops.
    #[error("{}: rate_hz is {rate_hz}, but must be 0.5 to 1000 with a period of whole milliseconds", path.display())]
    Rate {
        /// The file.
        path: PathBuf,
        /// The rate.
        rate_hz: f64,
    },
    /// A name or unit does not fit on the wire.
    #[error("{}: `{name}`: {reason}", path.display())]
    Channel {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The reason, with the greatest length.
        reason: surefoot_wire::TooLong,
    },
    /// More channels or trips than the wire or the firmware holds.
    #[error("{}: too many {kind} for the robot's firmware", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
        /// Of what.
        kind: &'static str,
    },
    /// The firmware refuses its configuration.
    #[error("{}: {reason}", path.display())]
    Firmware {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: surefoot_firmware::ConfigError,
    },
    /// The scene is not well-formed XML.
    #[error("the scene is not well-formed XML: {0}")]
    Xml(#[from] quick_xml::Error),
    /// An edit names an element that the scene does not have.
    #[error("{condition}: the scene has no element {element}: an edit must match at least one")]
    NoMatch {
        /// The terrain or change that the edit belongs to.
        condition: String,
        /// The element that it looks for, as in the scene.
        element: String,
    },
    /// A terrain or change that the scene does not have.
    #[error("there is no {kind} `{name}`; known are: {known}")]
    Unknown {
        /// `terrain` or `change`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A timed change that is not written as `NAME@TIME`.
    #[error(
        "`{0}` is not a timed change: write NAME@TIME with a unit, such as lose-middle-left@4s or slow-left@2500ms"
    )]
    TimedChange(String),
    /// The scene's first joint is not the robot's free joint.
    #[error("the scene's first joint must be the robot's free joint: the pose is read from it")]
    NoFreeJoint,
    /// The scene's joints cannot be told from its text.
    #[error(
        "MuJoCo finds other joints in the scene than its text lists in order: write every joint out, without includes or replication"
    )]
    JointOrder,
    /// An observation or action names an object that the scene does not have, or one of another kind.
    #[error("`{user}` needs the {kind} `{name}`, which the scene does not have")]
    NoObject {
        /// The observation or action.
        user: String,
        /// What it needs.
        kind: &'static str,
        /// The object's name.
        name: String,
    },
    /// The scene's time step is not a whole number of microseconds.
    #[error("the scene's time step must be a whole number of microseconds, and is {0} s")]
    TimeStep(f64),
    /// MuJoCo is absent, or refuses the scene under a condition.
    #[error("{condition}: {reason}")]
    MuJoCo {
        /// The scene, terrain or change.
        condition: String,
        /// MuJoCo's reason.
        reason: mujoco::Error,
    },
    /// A change alters the number of joints or actuators, other state, or the time step.
    #[error(
        "the change `{0}` alters the size of the state or the time step, so a running simulation cannot go on with it"
    )]
    NotCarried(String),
    /// The system gives no serial port, or one that does not work.
    #[error("the simulated robot's serial port: {0}")]
    Port(std::io::Error),
    /// An action is not a finite number.
    #[error("the action `{name}` is {value}, which is not a finite number")]
    Action {
        /// The action's name.
        name: String,
        /// Its value.
        value: f32,
    },
    /// The physics left the finite numbers, or MuJoCo warned; the simulation stays failed from there on.
    #[error("the simulation failed at {:.3} s: {reason}", *at_us as f64 * 1e-6)]
    Failed {
        /// The simulated time, in microseconds.
        at_us: u64,
        /// The reason.
        reason: mujoco::Error,
    },
}
