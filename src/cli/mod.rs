//! The command line: one file a verb.
//!
//! Exit codes: 0 all went well, 1 something failed (one line on standard error says what), 2 the command line is wrong,
//! 3 a log is not equal to its replay.

/// Prints a line to standard output. A reader that has gone, as `head -1` goes, is no reason to stop.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stdout(), $($argument)*).ok();
    }};
}

/// Prints a line to standard error, likewise.
macro_rules! tell {
    ($($argument:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stderr(), $($argument)*).ok();
    }};
}

mod demo;
mod inspect;
mod replay;
mod run;
mod sim;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{Parser, Subcommand};
use surefoot::model::{DynamicsModel, Runtime};
use surefoot::robot::Robot;

/// Online adaptation for legged robots: one ONNX dynamics model in, an adapting robot out.
#[derive(Debug, Parser)]
#[command(name = "surefoot", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Demo),
    Run(run::Run),
    Sim(sim::Sim),
    Replay(replay::Replay),
    Train(train::Train),
    Inspect(inspect::Inspect),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Demo(verb) => verb.run(),
        Verb::Run(verb) => verb.run(),
        Verb::Sim(verb) => verb.run(),
        Verb::Replay(verb) => verb.run(),
        Verb::Train(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(),
    };
    result.unwrap_or_else(|error| {
        tell!("surefoot: {}", sentence(&error));
        ExitCode::FAILURE
    })
}

/// An error and its causes, less those that the text before them tells already.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        let cause = cause.trim_end();
        if !text.contains(cause) {
            let colon = if text.is_empty() { "" } else { ": " };
            text = text + colon + cause;
        }
    }
    text
}

/// A flag that SIGINT, SIGTERM and SIGHUP set.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    ctrlc::set_handler(move || set.store(true, Ordering::Relaxed))
        .context("cannot handle signals")?;
    Ok(stop)
}

/// A robot with its model, both checked.
struct Loaded {
    robot: Robot,
    model: DynamicsModel,
    runtime: Runtime,
}

fn load(robot_path: &Path, model: Option<&Path>) -> anyhow::Result<Loaded> {
    let robot = Robot::read(robot_path)?;
    let runtime = Runtime::load()?;
    let model = DynamicsModel::load(model.unwrap_or(&robot.model), &runtime)?;
    Ok(Loaded {
        robot,
        model,
        runtime,
    })
}

/// The default place of a simulated robot's scene: sim.toml beside its robot.toml.
fn scene_beside(robot: &Path) -> PathBuf {
    robot.with_file_name("sim.toml")
}
