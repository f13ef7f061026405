//! The command line: which verb, with which arguments.

use std::ffi::OsString;

use anyhow::{Result, bail};

/// What `cargo xtask help` prints.
pub const HELP: &str = "\
Set-up and checks of Surefoot.

Usage: cargo xtask VERB

  setup         Fetch the native libraries that are loaded at run time, ONNX Runtime and MuJoCo, into target/native:
                the official builds of a pinned version, checked by SHA-256. Once; later calls only check the files.
                Needs python3 with pip. `cargo run` and `cargo test` find the libraries there afterwards.
  demo [ARGS]   setup, then the demo: a simulated robot loses a leg, with and without adaptation. ARGS go to it
                (`cargo xtask demo --help` lists them), and its exit code comes back.
  test          setup, then every check that a change must pass, the quick ones first: format, file sizes, lints,
                documentation, tests. Stops at the first that fails and says how to repeat it.
  lines         Check that no Rust file is longer than 800 lines (generated files excepted).
  deny          Check the dependencies' licences, sources and known vulnerabilities with cargo-deny (deny.toml).
  help          This text.

Environment:
  ORT_DYLIB_PATH, MUJOCO_DYLIB_PATH   Use this library file instead; nothing is fetched for it.
  PIP_INDEX_URL and pip's other settings hold for the fetch: a mirror or a folder of wheels will do.

Exit codes: 0 done, 1 failed; `demo`: the demo's own.
";

/// A parsed command line.
#[derive(Debug, PartialEq)]
pub enum Verb {
    /// Print [`HELP`].
    Help,
    /// Fetch the native libraries.
    Setup,
    /// Run the demo with these arguments.
    Demo(Vec<OsString>),
    /// Run every check.
    Test,
    /// Check the length of the Rust files.
    Lines,
    /// Check the dependencies.
    Deny,
}

impl Verb {
    /// Parses the arguments after the program's name; none at all asks for help.
    ///
    /// # Errors
    /// An unknown verb, or an argument to a verb that takes none.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut args = args.into_iter();
        let Some(name) = args.next() else {
            return Ok(Self::Help);
        };
        let verb = match name.to_str() {
            Some("demo") => return Ok(Self::Demo(args.collect())),
            Some("setup") => Self::Setup,
            Some("test") => Self::Test,
            Some("lines") => Self::Lines,
            Some("deny") => Self::Deny,
            Some("help" | "--help" | "-h") => Self::Help,
            _ => bail!(
                "no verb `{}`; `cargo xtask help` lists them",
                name.display()
            ),
        };
        match args.next() {
            None => Ok(verb),
            Some(extra) => bail!(
                "`{}` takes no argument, but was given `{}`",
                name.display(),
                extra.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Verb, String> {
        Verb::parse(args.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_follows_demo_passes_through_unread() {
        let args = ["--seeds", "10", "--help", "setup"].map(OsString::from);
        assert_eq!(
            parse(&["demo", "--seeds", "10", "--help", "setup"]),
            Ok(Verb::Demo(args.into()))
        );
    }

    #[test]
    fn help_is_there_for_whoever_asks_or_does_not() {
        for args in [&[][..], &["help"], &["--help"], &["-h"]] {
            assert_eq!(parse(args), Ok(Verb::Help));
        }
    }

    #[test]
    fn a_wrong_command_line_is_refused_by_name() {
        assert_eq!(
            parse(&["tset"]),
            Err("no verb `tset`; `cargo xtask help` lists them".into())
        );
        assert_eq!(
            parse(&["test", "--fast"]),
            Err("`test` takes no argument, but was given `--fast`".into())
        );
    }
}
