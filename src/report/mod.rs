//! The page that a person reads after a run: one HTML file, readable on a desk, on a phone and on paper, without network or script.
//!
//! [`summary`] makes a rule's figures out of its runs, for the table and for `--json`; `chart` draws the pictures, as SVG; `page` puts
//! both together with the words around them.

mod chart;
mod page;
pub mod summary;

pub use page::demo;
pub use summary::Summary;

use crate::log::Log;
use crate::log::schema::Tick;

/// Runs of one course under several update rules, with the same seeds.
#[derive(Debug)]
pub struct DemoReport<'a> {
    /// What the robot is: "VelociRoACH-like hexapod, simulated".
    pub robot: &'a str,
    /// What it was to do: "figure eight of 2 m at 0.25 m/s on carpet".
    pub course: &'a str,
    /// What changed on the way: "middle left leg lost".
    pub change: &'a str,
    /// When it changed, seconds on the robot's clock since the first tick.
    pub change_time_s: f64,
    /// Control period, seconds: the deadline of a tick.
    pub tick_period_s: f64,
    /// The target path in the ground plane, metres.
    pub path: Vec<[f64; 2]>,
    /// The rules, the one to compare with (no adaptation) first.
    pub rules: Vec<RuleRuns<'a>>,
}

/// The runs of one rule, one log a seed.
#[derive(Debug)]
pub struct RuleRuns<'a> {
    /// The rule's name to a person: "one gradient step".
    pub label: &'a str,
    /// The logs.
    pub logs: Vec<Log>,
}

/// Why no page could be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A rule without a single tick has no figures.
    #[error("no ticks were logged for the rule {label}; run it before reporting on it")]
    NoTicks {
        /// The rule.
        label: String,
    },
    /// The drawing library refused a picture.
    #[error("cannot draw the chart {chart}: {cause}")]
    Draw {
        /// Which picture.
        chart: &'static str,
        /// What the library said.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Seconds on the robot's clock since the log's first tick.
fn seconds(log: &Log, robot_time_us: u64) -> f64 {
    let start = log.ticks.first().map_or(0, |tick| tick.robot_time_us);
    robot_time_us.saturating_sub(start) as f64 * 1e-6
}

/// The log's ticks with their time in seconds.
fn timed(log: &Log) -> impl Iterator<Item = (f64, &Tick)> {
    log.ticks
        .iter()
        .map(|tick| (seconds(log, tick.robot_time_us), tick))
}
