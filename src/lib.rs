//! Surefoot: online adaptation for legged robots.

pub mod adapt;
pub mod guard;
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
