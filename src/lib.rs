//! Surefoot: online adaptation for legged robots. One ONNX dynamics model in, an adapting robot out.
//!
//! A robot's user gives one ONNX file, a meta-trained model `(state, action) -> next_state`. Every tick of the control loop,
//! Surefoot adapts the model to the last M transitions with one gradient step, plans with it, and sends a command that has
//! passed the safety limits. The folders are the way of the data:
//!
//! ```text
//!              theta* (model.onnx)
//!                    |  derived at load: predict, adapt, rollout            model/  onnx-grad
//!                    v
//!  +--> state --> adapt --> plan --> guard --+      one tick: a pure function     tick
//!  |   last M     theta'    K x H    limits  |      of its inputs and the seed
//!  |  transitions  gate     costs            v
//! telemetry                               command   frames with a lifetime        link/   firmware/wire
//!  |                                         |
//!  +---- observation <-- robot <-- limits <--+      the last guard                firmware/core
//!                          |
//!                      MuJoCo, or motors                                          sim/
//! ```
//!
//! # A tick
//!
//! 1. [`link`] receives telemetry: what the robot measured, and the action that it really applied.
//! 2. [`state`] turns it into the model's state and adds the transition to the window.
//! 3. [`adapt`] makes one step, `theta' = theta* - alpha * grad L(window; theta*)`, always from theta*. A gate holds the
//!    newest transitions out of a trial step and keeps theta* where the step would not have helped.
//! 4. [`plan`] rolls out K candidates over H ticks with the model's own graph, with theta' as an input, and makes one plan.
//! 5. [`guard`] brings it within the limits. Only it can make a [`guard::SafeCommand`], and only that can be sent.
//! 6. [`log`] keeps every input and output of the tick; [`replay`] computes them again and proves that they are equal.
//!
//! [`tick`] composes 2 to 5 and reads neither a clock nor a port. [`run`] drives it on a serial port in real time, [`replay`]
//! from a log, and a simulated robot ([`sim`]) speaks to `run` as a real one does.
//!
//! # Around it
//!
//! - [`model`] reads the ONNX file, checks its contract, and derives every graph by differentiation in memory
//!   (`onnx-grad`); ONNX Runtime runs them.
//! - [`train`] makes such a model from logs or from simulated robots: the same file, the same derivation, one more graph.
//! - [`robot`] is robot.toml, [`report`] the page that a person reads, [`native`] where the libraries are.
//!
//! `adapt` and `plan` stand on `model`, `adapt` on `state` too; otherwise the steps of a tick do not know each other, and `tick`
//! alone composes them (tests/layers.rs checks it).

pub mod adapt;
pub mod guard;
pub mod hash;
pub mod link;
pub mod log;
pub mod model;
pub mod native;
pub mod plan;
pub mod replay;
pub mod report;
pub mod robot;
pub mod run;
pub mod sim;
pub mod state;
pub mod tick;
pub mod train;
