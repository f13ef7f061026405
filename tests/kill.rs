//! `kill -9` of the host in the middle of a course: the robot goes safe within its command's lifetime, and the log is readable.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use surefoot::log::{Ending, Log};

/// The lifetime of the roach's commands, us.
const LIFETIME_US: u64 = 250_000;
/// Ticks a second.
const RATE: usize = 10;

/// A child that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn surefoot(arguments: &[&str]) -> Killed {
    let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Killed(command.spawn().unwrap())
}

fn events(robot: &mut Killed) -> impl Iterator<Item = serde_json::Value> + use<> {
    let lines: Lines<BufReader<ChildStdout>> =
        BufReader::new(robot.0.stdout.take().unwrap()).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Reads the status lines of a run until it has done so many ticks.
fn wait_for_tick(host: &mut Killed, tick: usize) -> BufReader<ChildStderr> {
    let mut lines = BufReader::new(host.0.stderr.take().unwrap());
    let mut text = String::new();
    loop {
        let mut line = String::new();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the run ended early: {text}"
        );
        let number = line
            .strip_prefix("tick")
            .and_then(|rest| rest.split_whitespace().next());
        if number.is_some_and(|number| number.parse::<usize>().unwrap() >= tick) {
            return lines;
        }
        text += &line;
    }
}

fn start(
    folder: &Path,
) -> (
    Killed,
    impl Iterator<Item = serde_json::Value> + use<>,
    Killed,
    std::path::PathBuf,
) {
    let mut robot = surefoot(&["sim", "--lock-step", "--lose", "middle-left@3s"]);
    let mut said = events(&mut robot);
    let port = said.next().unwrap()["port"].as_str().unwrap().to_owned();
    let log = folder.join("run.mcap");
    let path = log.to_str().unwrap();
    let host = surefoot(&[
        "run",
        "models/roach/robot.toml",
        "--port",
        &port,
        "--lock-step",
        "--log",
        path,
    ]);
    (robot, said, host, log)
}

#[test]
fn a_killed_host_leaves_a_safe_robot_and_a_readable_log() {
    let folder = tempfile::tempdir().unwrap();
    let (_robot, mut said, mut host, log) = start(folder.path());
    let _stderr = wait_for_tick(&mut host, 6 * RATE);
    host.0.kill().unwrap();
    host.0.wait().unwrap();

    let mut time_us = |event: &str, mode: &str| {
        let found = said.find(|e| e["event"] == event && e["mode"] == mode);
        found.unwrap()["time_us"].as_u64().unwrap()
    };
    let went = time_us("host_went", "armed");
    let damping = time_us("mode_changed", "damping");
    let off = time_us("mode_changed", "off");
    assert!(
        damping >= went && damping - went <= LIFETIME_US,
        "safe {} us after the host died",
        damping - went
    );
    assert!(
        off - damping <= 500_000,
        "drivers off {} us later",
        off - damping
    );

    let log = Log::read(&log).unwrap();
    assert!(matches!(log.ending, Ending::Cut { .. }));
    assert!(log.damage.is_empty(), "{:?}", log.damage);
    // The host had done at least 6 s of ticks, in which the robot was under way before it died.
    assert!(log.ticks.len() > 5 * RATE, "{} ticks", log.ticks.len());
}

#[test]
fn a_terminated_host_brings_the_robot_to_its_safe_state_and_closes_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let (_robot, mut said, mut host, log) = start(folder.path());
    let _stderr = wait_for_tick(&mut host, RATE);
    let id = nix::unistd::Pid::from_raw(host.0.id() as i32);
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(host.0.wait().unwrap().success());
    assert!(said.any(|event| event["event"] == "mode_changed" && event["mode"] == "off"));
    let log = Log::read(&log).unwrap();
    assert!(
        matches!(log.ending, Ending::Closed(summary) if summary.ticks as usize == log.ticks.len())
    );
    assert_eq!(log.ticks.len() as u64, log.ticks.last().unwrap().tick + 1);
}
