//! Everything that a change must pass, in one list.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A check is a command that anyone can repeat by hand.
struct Check {
    name: &'static str,
    env: Option<(&'static str, &'static str)>,
    /// The arguments of `cargo`, separated by blanks.
    args: &'static str,
}

/// The quick ones first. All that compile use the dev profile, so that nothing compiles twice.
const CHECKS: [Check; 5] = [
    Check {
        name: "format",
        env: None,
        args: "fmt --all --check",
    },
    Check {
        name: "file sizes",
        env: None,
        args: "xtask lines",
    },
    Check {
        name: "lints",
        env: None,
        args: "clippy --workspace --all-targets -- -D warnings",
    },
    Check {
        name: "documentation",
        env: Some(("RUSTDOCFLAGS", "-D warnings")),
        args: "doc --no-deps --workspace",
    },
    Check {
        name: "tests",
        env: None,
        args: "test --workspace",
    },
];

/// Runs every check, announcing each, and prints their times at the end.
///
/// # Errors
/// Stops at the first check that fails; names it and the command that repeats it.
pub fn run(root: &Path) -> Result<()> {
    let mut times = Vec::new();
    for (index, check) in CHECKS.iter().enumerate() {
        eprintln!("\n[{}/{}] {}: {check}", index + 1, CHECKS.len(), check.name);
        times.push((check.name, check.run(root)?));
    }
    eprintln!("\nall checks passed");
    for (name, time) in times {
        eprintln!("  {name:<14}{:>7.1} s", time.as_secs_f64());
    }
    Ok(())
}

impl Check {
    fn run(&self, root: &Path) -> Result<Duration> {
        let start = Instant::now();
        let mut command = crate::cargo(root);
        command.args(self.args.split(' ')).envs(self.env);
        let status = command.status().context("could not start cargo")?;
        let time = start.elapsed();
        if !status.success() {
            bail!(
                "the check of {} failed after {:.1} s; repeat it with\n  {self}",
                self.name,
                time.as_secs_f64()
            );
        }
        Ok(time)
    }
}

/// The command line, as a shell takes it.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, value)) = self.env {
            write!(f, "{name}=\"{value}\" ")?;
        }
        write!(f, "cargo {}", self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_reads_as_the_command_that_repeats_it() {
        let documentation = CHECKS.iter().find(|check| check.env.is_some()).unwrap();
        assert_eq!(
            documentation.to_string(),
            "RUSTDOCFLAGS=\"-D warnings\" cargo doc --no-deps --workspace"
        );
    }
}
