//! The command line: one file a verb.

mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Online adaptation for legged robots: one ONNX dynamics model in, an adapting robot out.
#[derive(Debug, Parser)]
#[command(name = "surefoot", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Train(train::Train),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Train(verb) => verb.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("surefoot: {error:#}");
            ExitCode::FAILURE
        }
    }
}
