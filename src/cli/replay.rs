//! `surefoot replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use surefoot::model::Runtime;
use surefoot::replay;

/// Exit code of a log that is not equal to its replay.
const DIFFERENT: u8 = 3;

/// Compute every tick of a log again and prove that it is equal, byte for byte.
///
/// The log holds the robot.toml, the model, the seed and every tick's inputs. Adapted parameters (by their hash), plan and
/// command are compared by their bits; exit code 0 only when all ticks are equal, 3 when one is not. Results are only
/// comparable on the same kind of processor with the same ONNX Runtime; the log's header names both.
#[derive(Debug, Args)]
pub struct Replay {
    /// The log.
    log: PathBuf,
    /// Print one JSON object: ticks, equal, first_difference (null or {tick, field, recorded, recomputed}), complete (false
    /// for a log that was cut: it is proved up to its cut).
    #[arg(long)]
    json: bool,
}

impl Replay {
    /// Replays the log.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let comparison = replay::replay(&self.log, &Runtime::load()?)?;
        if self.json {
            say!("{}", serde_json::to_string(&comparison)?);
        } else {
            say!("{}: {comparison}", self.log.display());
        }
        Ok(if comparison.is_exact() {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(DIFFERENT)
        })
    }
}
