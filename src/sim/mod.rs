//! Simulated robots and terrains that speak the wire protocol.
//!
//! A [`Scene`] is data: an MJCF file and a `sim.toml` that says what the robot measures, what it can be told to do, and which
//! terrains and changes there are. A [`Plant`] is one seeded run of it in MuJoCo, which data collection uses directly. A
//! [`SimulatedRobot`] is a plant behind the firmware that boards run, and [`serve`] puts it on a serial port; a [`Simulation`]
//! does that on a thread of its own.
//!
//! ```text
//!                      SimulatedRobot
//! serial port <-bytes-> Firmware <-observations, actions-> Plant (MuJoCo)
//! ```
//!
//! ```no_run
//! use surefoot::sim::{Pace, Scene, SimulatedRobot, Simulation, TimedChange};
//!
//! let scene = Scene::load("models/roach/sim.toml".as_ref())?;
//! let robot = SimulatedRobot::new(&scene, Some("turf"), &[TimedChange::lose("middle-left@4s")?], 1)?;
//! let simulation = Simulation::start(robot, Pace::LockStep)?;
//! println!("a host may open {}", simulation.port().display());
//! let outcome = simulation.finish()?;
//! println!("it walked {:.2} m", outcome.robot.pose().position[0]);
//! # Ok::<(), surefoot::sim::Error>(())
//! ```

mod board;
mod change;
mod error;
pub mod mjcf;
pub mod mujoco;
mod plant;
mod pty;
mod robot;
mod scene;
mod sensor;
mod serve;
mod simulation;
mod source;

pub use change::TimedChange;
pub use error::Error;
pub use plant::Plant;
pub use pty::Pty;
pub use robot::SimulatedRobot;
pub use scene::{Action, Condition, Observation, Range, Scene};
pub use sensor::Pose;
pub use serve::{Event, Pace, serve};
pub use simulation::{Outcome, Simulation};
pub use source::Source;
