//! Fetching a wheel by pip and taking the library out of it.
//!
//! pip is used, and not a download of our own, so that its configured index, proxy and certificates hold.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::native::{Build, Library, PYTHON, file_name};

/// Extracts the members `argv[3..]` of the wheel `argv[1]` into the folder `argv[2]`.
const EXTRACT: &str =
    "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2], sys.argv[3:])";

/// Fetches one build of a library into a folder, with its notices beside it.
///
/// The library appears whole or not at all, also when two processes install it at once.
///
/// # Errors
/// python3 or pip is missing, pip fails, or a file's SHA-256 is not the pinned one.
pub fn install(library: &Library, build: &Build, folder: &Path) -> Result<()> {
    let scratch = Scratch::new(folder)?;
    let wheel = download(library, build, &scratch.0)?;
    verify(&wheel, build.wheel_sha256)?;

    let mut extract = python(&["-c", EXTRACT]);
    extract.arg(&wheel).arg(&scratch.0);
    extract.args(library.notices).arg(build.member);
    output(&mut extract)?;
    verify(&scratch.0.join(build.member), build.sha256)?;

    for notice in library.notices {
        let name = format!("{}-{}", library.package, file_name(notice));
        rename(&scratch.0.join(notice), &folder.join(name))?;
    }
    let target = folder.join(file_name(build.member));
    rename(&scratch.0.join(build.member), &target)
}

/// The SHA-256 of a file, in lower-case hexadecimal digits.
///
/// # Errors
/// The file cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    let digest = Sha256::digest(bytes);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Refuses a file that is not the pinned one.
fn verify(path: &Path, expected: &str) -> Result<()> {
    let actual = sha256(path)?;
    ensure!(
        actual == expected,
        "{} is not the pinned file and was removed: its SHA-256 is {actual}, expected {expected}",
        path.file_name().unwrap_or_default().display()
    );
    Ok(())
}

/// Downloads the wheel into an empty folder and returns its path.
fn download(library: &Library, build: &Build, folder: &Path) -> Result<PathBuf> {
    let mut pip = python(&["-m", "pip", "download", "--quiet", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--python-version", PYTHON])
        .args(["--platform", build.tag, "--dest"])
        .arg(folder)
        .arg(format!("{}=={}", library.package, library.version));
    output(&mut pip)?;
    let entry = fs::read_dir(folder)?.next();
    let entry = entry.context("pip succeeded, but left no wheel")?;
    Ok(entry?.path())
}

fn python(args: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(args);
    command
}

/// Runs Python to its end; a failure carries the last lines that it wrote to standard error, which name the cause.
fn output(command: &mut Command) -> Result<()> {
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("python3 was not found; install Python 3 with pip and run this again")
        }
        output => output.context("could not start python3")?,
    };
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !message.contains("No module named pip"),
        "python3 has no pip; install it (the system's python3-pip package, or `python3 -m ensurepip`) and run this again"
    );
    let lines: Vec<&str> = message.lines().collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    ensure!(output.status.success(), "{}", last.join("\n"));
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("could not write {}", to.display()))
}

/// A folder for files in the making, removed with all it holds when dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Inside `folder`, so that a rename out of it stays on one file system.
    fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(format!(".fetch-{}", std::process::id()));
        fs::create_dir_all(&path)
            .with_context(|| format!("could not create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover is harmless: nothing looks into it.
        let _ = fs::remove_dir_all(&self.0);
    }
}
