//! `surefoot train`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use surefoot::train::{self, Progress};

const EPISODES: &str = "episodes";
const UPDATES: &str = "updates";

/// Meta-train a model from logs, or from simulated robots when no logs are given.
///
/// Writes one ONNX file with its contract. An interrupted training goes on where it stopped when the same command is given
/// again. Early stopping watches the adapted validation loss.
#[derive(Debug, Args)]
pub struct Train {
    /// The recipe, for example models/roach/recipe.toml.
    recipe: PathBuf,
    /// Logs of the robot to learn from, instead of the recipe's simulation.
    logs: Vec<PathBuf>,
    /// The model file to write.
    #[arg(long, short, value_name = "MODEL.onnx")]
    out: PathBuf,
    /// Print one JSON object at the end: model_sha256, updates, transitions, validation {before, after}.
    #[arg(long)]
    json: bool,
}

impl Train {
    /// Trains, showing the losses before and after the inner step.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let bar = Mutex::new(ProgressBar::new(0));
        let style =
            ProgressStyle::with_template("{prefix:>10} [{bar:40}] {pos}/{len} {msg} ({eta} left)")?;
        let show = |progress: Progress| {
            let Ok(mut bar) = bar.lock() else { return };
            let start = |bar: &mut ProgressBar, prefix: &'static str, length: usize| {
                *bar = ProgressBar::new(length as u64)
                    .with_style(style.clone())
                    .with_prefix(prefix);
            };
            match progress {
                Progress::Episode { of } => {
                    if bar.prefix() != EPISODES {
                        start(&mut bar, EPISODES, of);
                    }
                    bar.inc(1);
                }
                Progress::Data(data) => {
                    bar.finish_and_clear();
                    tell!(
                        "{} transitions in {} runs, {} runs kept for validation",
                        data.transitions(),
                        data.training.len(),
                        data.validation.len()
                    );
                }
                Progress::Update { update, of, losses } => {
                    if bar.prefix() != UPDATES {
                        start(&mut bar, UPDATES, of);
                    }
                    bar.set_position(update as u64);
                    bar.set_message(format!(
                        "loss {:.4} -> {:.4} by one step",
                        losses.before, losses.after
                    ));
                }
                Progress::Validation(checkpoint) => {
                    if let Some((update, losses)) = checkpoint.curve.last() {
                        let best = checkpoint
                            .best
                            .as_ref()
                            .is_some_and(|(_, best)| best == losses);
                        let mark = if best { "  best" } else { "" };
                        let line = format!(
                            "{update:>7} updates: validation {:.4} -> {:.4}{mark}",
                            losses.before, losses.after
                        );
                        bar.suspend(|| tell!("{line}"));
                    }
                }
            }
        };
        let trained = train::train(&self.recipe, &self.logs, &self.out, threads, &show)?;
        if let Ok(bar) = bar.lock() {
            bar.finish_and_clear();
        }
        if self.json {
            say!("{}", serde_json::to_string(&trained)?);
        } else {
            say!(
                "{}: {} updates on {} transitions, validation loss {:.4} -> {:.4} by one step",
                self.out.display(),
                trained.updates,
                trained.transitions,
                trained.validation.before,
                trained.validation.after
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
