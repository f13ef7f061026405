//! Set-up and checks: `cargo xtask VERB`.
//!
//! Everything a person or a machine does with this repository besides plain `cargo` is a verb here, so that the README, the
//! continuous integration and a developer run the same commands. Its dependencies are few, so that it compiles in seconds.

mod checks;
mod deny;
mod fetch;
mod lines;
mod native;
mod verb;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use verb::Verb;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let verb = Verb::parse(std::env::args_os().skip(1))?;
    let root = workspace()?;
    match verb {
        Verb::Help => {
            print!("{}", verb::HELP);
            Ok(())
        }
        Verb::Setup => native::setup(&root),
        Verb::Demo(args) => {
            native::setup(&root)?;
            let mut demo = cargo(&root);
            demo.args(["run", "--release", "--bin", "surefoot", "--", "demo"]);
            // Replaces this process, so that signals and the exit code pass through as they are.
            Err(demo.args(args).exec()).context("could not start cargo")
        }
        Verb::Test => {
            native::setup(&root)?;
            checks::run(&root)
        }
        Verb::Lines => lines::check(&root),
        Verb::Deny => deny::check(&root),
    }
}

/// The workspace's root folder, from the variable that `cargo run` sets.
fn workspace() -> Result<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .context("CARGO_MANIFEST_DIR is not set: run this as `cargo xtask VERB`")?;
    let root = Path::new(&package)
        .parent()
        .with_context(|| format!("{} has no parent folder", Path::new(&package).display()))?;
    Ok(root.to_path_buf())
}

/// The cargo that runs this program, in the workspace's root.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
