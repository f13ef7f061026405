//! `surefoot demo`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use surefoot::log::{Log, schema};
use surefoot::plan;
use surefoot::report::{self, DemoReport, RuleRuns, Summary};
use surefoot::robot::Rule;
use surefoot::run::{self, Options, RunError};
use surefoot::sim::{Pace, Scene, SimulatedRobot, Simulation, TimedChange};

use super::Loaded;

/// Show what adaptation is worth: a simulated hexapod follows a path and loses a leg on the way.
///
/// The robot (MuJoCo, behind the firmware's own logic) is served on a pseudo-terminal that the loop opens as its serial
/// port, in lock-step simulated time. The same course is run with each update rule and the same seeds: no adaptation, one
/// gradient step a tick (GrBAL), and gradient steps carried on (dynamic evaluation). The lost leg is one that the shipped
/// model never saw missing. Writes a log a run, which `surefoot replay` proves, and one page, report.html.
#[derive(Debug, Args)]
pub struct Demo {
    /// The robot; models/roach/robot-20hz.toml is a faster setting.
    #[arg(long, default_value = "models/roach/robot.toml")]
    robot: PathBuf,
    /// Runs of each rule, with the seeds 0, 1, …
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The terrain, one of sim.toml's.
    #[arg(long, default_value = "carpet")]
    terrain: String,
    /// What changes, one of sim.toml's changes, at a simulated time.
    #[arg(long, default_value = "lose-middle-left@6s", value_name = "NAME@TIME")]
    change: TimedChange,
    /// Length of a run, simulated seconds.
    #[arg(long, default_value_t = 26.0, value_parser = seconds)]
    seconds: f64,
    /// The folder for logs and report; logs of an earlier demo in it are replaced.
    #[arg(long, default_value = "target/demo")]
    out: PathBuf,
    /// Print one JSON object: rules {none, one_step, continued: {path_error_before_m, path_error_after_m, …}}, seeds, logs,
    /// report.
    #[arg(long)]
    json: bool,
}

/// A length of a run.
fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    if seconds > 0.0 && seconds <= LONGEST_S {
        Ok(seconds)
    } else {
        Err(format!("must be above 0 and at most {LONGEST_S}"))
    }
}

/// Longest run, s.
const LONGEST_S: f64 = 3600.0;

/// All runs of one rule.
struct Runs {
    rule: Rule,
    logs: Vec<Log>,
    /// Runs in which the robot went safe by itself before the end.
    stopped_early: u64,
}

impl Demo {
    /// Runs the course with every rule and seed, and compares.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut loaded = super::load(&self.robot, None)?;
        let change_s = self.change.at_us as f64 * 1e-6;
        anyhow::ensure!(
            change_s < self.seconds,
            "--change comes at {change_s} s, when the run of {} s is over; raise --seconds",
            self.seconds
        );
        let scene =
            Scene::load(&super::scene_beside(&self.robot))?.at_rate(Some(loaded.robot.rate_hz))?;
        std::fs::create_dir_all(&self.out)
            .with_context(|| format!("cannot create {}", self.out.display()))?;

        let ticks = (self.seconds * loaded.robot.rate_hz) as u64;
        let style = ProgressStyle::with_template(
            "{prefix:>10} [{bar:40}] {percent:>3} % {msg} ({eta} left)",
        )?;
        let bar = ProgressBar::new(ticks * self.seeds * Rule::ALL.len() as u64).with_style(style);
        let (mut all, mut paths) = (Vec::new(), Vec::new());
        for rule in Rule::ALL {
            bar.set_prefix(rule.name());
            loaded.robot.adapt.rule = rule;
            let mut runs = Runs {
                rule,
                logs: Vec::new(),
                stopped_early: 0,
            };
            for seed in 0..self.seeds {
                bar.set_message(format!("seed {seed}"));
                let path = self.out.join(format!("{}-{seed}.mcap", rule.name()));
                runs.stopped_early +=
                    u64::from(!self.drive(&loaded, &scene, seed, ticks, &path, &bar)?);
                runs.logs.push(Log::read(&path)?);
                paths.push(path);
            }
            all.push(runs);
        }
        bar.finish_and_clear();

        let page = self.out.join("report.html");
        let (report, summaries) = self.report(&loaded, all)?;
        std::fs::write(&page, report)
            .with_context(|| format!("cannot write {}", page.display()))?;
        if self.json {
            let rules: BTreeMap<_, _> = summaries
                .iter()
                .map(|(rule, figures)| (rule.name(), figures))
                .collect();
            say!(
                "{}",
                json!({ "rules": rules, "seeds": self.seeds, "logs": paths, "report": page })
            );
        } else {
            say!("{}", self.table(&summaries));
            say!(
                "logs   {}/*.mcap (surefoot replay proves them)\nreport {}",
                self.out.display(),
                page.display()
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    /// One run. Returns whether the robot came through it without going safe by itself.
    fn drive(
        &self,
        loaded: &Loaded,
        scene: &Scene,
        seed: u64,
        ticks: u64,
        log: &Path,
        bar: &ProgressBar,
    ) -> anyhow::Result<bool> {
        if log.exists() {
            std::fs::remove_file(log)
                .with_context(|| format!("cannot replace {}", log.display()))?;
        }
        let changes = std::slice::from_ref(&self.change);
        let robot = SimulatedRobot::new(scene, Some(&self.terrain), changes, seed)?;
        let simulation = Simulation::start(robot, Pace::LockStep)?;
        let change = format!(
            "{} at {} s",
            self.change.name,
            self.change.at_us as f64 * 1e-6
        );
        let options = Options {
            port: simulation.port().display().to_string(),
            seed,
            log: Some(log.into()),
            ticks: Some(ticks),
            lock_step: true,
            extra: BTreeMap::from([
                ("terrain".into(), self.terrain.clone()),
                ("change".into(), change),
            ]),
        };
        let mut count = |_: &schema::Tick| bar.inc(1);
        let never = AtomicBool::new(false);
        let ended = run::run(
            &loaded.runtime,
            &loaded.robot,
            &loaded.model,
            &options,
            &never,
            &mut count,
        );
        let outcome = simulation.finish()?;
        if let Some(failure) = outcome.robot.failure() {
            anyhow::bail!("the simulation failed: {failure}");
        }
        match ended {
            Ok(_) => Ok(true),
            Err(RunError::WentSafe { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn report(
        &self,
        loaded: &Loaded,
        all: Vec<Runs>,
    ) -> anyhow::Result<(String, Vec<(Rule, serde_json::Value)>)> {
        let robot = &loaded.robot;
        let first_tick = all
            .iter()
            .flat_map(|runs| &runs.logs)
            .find_map(|log| log.ticks.first());
        let start_us = first_tick.context("no tick was logged")?.robot_time_us;
        let change_time_s = self.change.at_us.saturating_sub(start_us) as f64 * 1e-6;
        let mut summaries = Vec::new();
        for runs in &all {
            let summary = Summary::new(&runs.logs, change_time_s, robot.period_s())
                .context("no tick was logged")?;
            let mut figures = serde_json::to_value(summary)?;
            figures["stopped_early"] = runs.stopped_early.into();
            summaries.push((runs.rule, figures));
        }
        let path = plan::Path::new(robot.path.shape, robot.path.size_m);
        let label = |rule| match rule {
            Rule::None => "no adaptation",
            Rule::OneStep => "one gradient step a tick",
            Rule::Continued => "continued steps",
        };
        let report = DemoReport {
            robot: &format!("{}, simulated", robot.name),
            course: &format!(
                "{} of {} m at {} m/s on {}",
                serde_json::to_value(robot.path.shape)?
                    .as_str()
                    .unwrap_or_default(),
                robot.path.size_m,
                robot.path.speed_m_s,
                self.terrain
            ),
            change: &self.change.name.replace('-', " "),
            change_time_s,
            tick_period_s: robot.period_s(),
            path: path.points().iter().map(|p| [p.x, p.y]).collect(),
            rules: all
                .into_iter()
                .map(|runs| RuleRuns {
                    label: label(runs.rule),
                    logs: runs.logs,
                })
                .collect(),
        };
        Ok((report::demo(&report)?, summaries))
    }

    fn table(&self, summaries: &[(Rule, serde_json::Value)]) -> String {
        let mut table = format!(
            "\n{:<44}",
            format!("{}, {} seeds, means", self.change.name, self.seeds)
        );
        for (rule, _) in summaries {
            table += &format!("{:>14}", rule.name());
        }
        let mut row = |name: &str, unit: f64, digits: usize, key: &str| {
            table += &format!("\n{name:<44}");
            for (_, figures) in summaries {
                let value = key.split('.').fold(figures, |value, key| &value[key]);
                let value = value
                    .as_f64()
                    .map_or("-".into(), |value| format!("{:.digits$}", value * unit));
                table += &format!("{value:>14}");
            }
        };
        row(
            "path error before the change, mm",
            1e3,
            1,
            "path_error_before_m",
        );
        row("path error after it, mm", 1e3, 1, "path_error_after_m");
        row(
            "  standard deviation over seeds, mm",
            1e3,
            1,
            "path_error_after_std_m",
        );
        row("progress before it, m", 1.0, 2, "progress_before_m");
        row("progress after it, m", 1.0, 2, "progress_after_m");
        row(
            "prediction error after it, theta*",
            1.0,
            3,
            "prediction_error_after_star",
        );
        row(
            "prediction error after it, as planned with",
            1.0,
            3,
            "prediction_error_after",
        );
        row("ticks adapted, all runs", 1.0, 0, "adapted_ticks");
        row(
            "ticks refused by the gate, all runs",
            1.0,
            0,
            "refused_ticks",
        );
        row("runs that the robot ended", 1.0, 0, "stopped_early");
        row("tick, p50, ms", 1.0, 2, "tick_ms_p50");
        row("tick, p99, ms", 1.0, 2, "tick_ms_p99");
        row("tick, max, ms", 1.0, 2, "tick_ms_max");
        for phase in ["encode", "adapt", "plan", "guard"] {
            row(
                &format!("  {phase}, p50, ms"),
                1.0,
                3,
                &format!("phases.{phase}.ms_p50"),
            );
        }
        row(
            "outside ONNX Runtime, % of the tick",
            1e2,
            1,
            "own_time_share",
        );
        row("deadline misses, all runs", 1.0, 0, "deadline_misses");
        table + "\n"
    }
}
