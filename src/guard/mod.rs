//! Limits, fallback, and the only place that makes a [`SafeCommand`].

mod command;
mod limits;

pub use command::SafeCommand;
pub use limits::Guard;
