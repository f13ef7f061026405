//! Simulated robots and terrains that speak the wire protocol.
//!
//! A [`Scene`] is data: an MJCF file and a `sim.toml` that says what the robot measures, what it can be told to do, and which
//! terrains and changes there are. A [`Plant`] is one seeded run of it in MuJoCo, which data collection uses directly.

mod change;
mod error;
pub mod mjcf;
pub mod mujoco;
mod plant;
mod scene;
mod sensor;
mod source;

pub use change::TimedChange;
pub use error::Error;
pub use plant::Plant;
pub use scene::{Action, Condition, Observation, Scene};
pub use sensor::Pose;
pub use source::Source;
