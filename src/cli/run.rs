//! `surefoot run`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use surefoot::log::schema;
use surefoot::robot::Rule;
use surefoot::run::{self, Options};

/// Drive a robot: adapt and plan every tick, until it is stopped.
///
/// The robot is armed, driven along its path, and brought to its safe state by SIGINT or SIGTERM, at the end, or when
/// something goes wrong; the log is closed in each case. Should this program die, the robot goes safe by itself when the
/// last command's lifetime ends.
#[derive(Debug, Args)]
pub struct Run {
    /// The robot, for example models/roach/robot.toml.
    robot: PathBuf,
    /// The serial port, instead of the one in robot.toml.
    #[arg(long)]
    port: Option<String>,
    /// The model, instead of the one in robot.toml.
    #[arg(long, value_name = "MODEL.onnx")]
    model: Option<PathBuf>,
    /// The update rule, instead of the one in robot.toml: none, one_step or continued.
    #[arg(long, value_parser = rule)]
    rule: Option<Rule>,
    /// Write a log to this file, which must not exist yet.
    #[arg(long, value_name = "RUN.mcap")]
    log: Option<PathBuf>,
    /// Seed of the planner's noise.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop after so many ticks.
    #[arg(long)]
    ticks: Option<u64>,
    /// The port is a simulator in lock-step (`surefoot sim --lock-step`): it waits for every command.
    #[arg(long)]
    lock_step: bool,
    /// Print one JSON object at the end: ticks, late, log {ticks, plans, events, dropped} or null.
    #[arg(long)]
    json: bool,
}

/// A rule by its name.
pub fn rule(name: &str) -> Result<Rule, String> {
    let known = Rule::ALL.map(Rule::name).join(", ");
    Rule::from_name(name).ok_or(format!("known rules: {known}"))
}

impl Run {
    /// Runs until stopped, with a status line a second.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut loaded = super::load(&self.robot, self.model.as_deref())?;
        if let Some(rule) = self.rule {
            loaded.robot.adapt.rule = rule;
        }
        let options = Options {
            port: self.port.unwrap_or_else(|| loaded.robot.link.port.clone()),
            seed: self.seed,
            log: self.log,
            ticks: self.ticks,
            lock_step: self.lock_step,
            extra: BTreeMap::new(),
        };
        let stop = super::stop_on_signal()?;
        let every = loaded.robot.rate_hz.ceil() as u64;
        let mut show = |tick: &schema::Tick| {
            if tick.tick.is_multiple_of(every) {
                tell!("{}", status(tick));
            }
        };
        let summary = run::run(
            &loaded.runtime,
            &loaded.robot,
            &loaded.model,
            &options,
            &stop,
            &mut show,
        )?;
        let log = summary.log.map(|log| {
            json!({ "ticks": log.ticks, "plans": log.plans, "events": log.events, "dropped": log.dropped })
        });
        if self.json {
            say!(
                "{}",
                json!({ "ticks": summary.ticks, "late": summary.late, "log": log })
            );
        } else {
            say!(
                "{} ticks, {} late; the robot is safe",
                summary.ticks,
                summary.late
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn status(tick: &schema::Tick) -> String {
    let tracking = tick.tracking.unwrap_or_default();
    let adaptation = tick.adaptation.clone().unwrap_or_default();
    let error = |value: Option<f32>| value.map_or("-".into(), |value| format!("{value:.2}"));
    let total_ms = tick
        .timing
        .map_or(0.0, |timing| f64::from(timing.total_ns) * 1e-6);
    format!(
        "tick {:>6}  off path {:>+6.1} mm  along {:>6.2} m  prediction error {} (theta* {})  {}  {total_ms:.1} ms",
        tick.tick,
        1e3 * tracking.cross_track_m,
        tracking.progress_m,
        error(adaptation.error_used),
        error(adaptation.error_star),
        adaptation
            .decision()
            .as_str_name()
            .trim_start_matches("DECISION_")
            .to_lowercase(),
    )
}
