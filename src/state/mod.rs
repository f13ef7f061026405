//! From an observation to the model state, and the ring of the last M transitions.

mod encoder;
mod window;

pub use encoder::Encoder;
pub use window::{Transition, Window};
