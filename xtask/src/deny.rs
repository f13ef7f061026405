//! The dependencies' licences, sources and known vulnerabilities, by cargo-deny.
//!
//! Not among the checks of every change: cargo-deny takes minutes to build, and its list of vulnerabilities, which is not in
//! a package registry, changes from day to day.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Runs cargo-deny over `deny.toml`.
///
/// # Errors
/// cargo-deny is not installed, cannot get the list of vulnerabilities, or refuses a dependency.
pub fn check(root: &Path) -> Result<()> {
    let mut version = crate::cargo(root);
    let installed = version.args(["deny", "--version"]).output();
    let installed = installed.context("could not start cargo")?.status.success();
    ensure!(
        installed,
        "cargo-deny is not installed; `cargo install cargo-deny --locked` gets it, in some minutes"
    );
    let mut deny = crate::cargo(root);
    let status = deny.args(["deny", "check"]).status()?;
    ensure!(status.success(), "`cargo deny check` failed");
    Ok(())
}
