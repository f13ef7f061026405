//! Trouble in the middle of a run: the robot is safe, the log is closed, and one message says what happened.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use support::{drive, roach, runtime};
use surefoot::log::schema::{Degradation, EventKind};
use surefoot::log::{Ending, Log};
use surefoot::replay::replay;
use surefoot::robot::{Robot, Rule};
use surefoot::run::{self, Options, RunError};
use surefoot::sim::{Pace, Scene, SimulatedRobot, Simulation};
use surefoot_wire::Mode;

/// A scene whose physics blow up at a change: from there on every measurement is NaN.
fn bomb(folder: &Path, trips: bool) -> Simulation {
    std::fs::copy(roach("scene.xml"), folder.join("scene.xml")).unwrap();
    let shipped = std::fs::read_to_string(roach("sim.toml")).unwrap();
    let kept = |line: &&str| trips || !line.starts_with("trip = ");
    let lines: Vec<&str> = shipped.lines().filter(kept).collect();
    let bomb = "\n[change.bomb]\nedits = [{ element = \"velocity\", set = { gear = \"1e9\" } }]\n";
    std::fs::write(folder.join("sim.toml"), lines.join("\n") + bomb).unwrap();
    let scene = Scene::load(&folder.join("sim.toml")).unwrap();
    let changes = ["bomb@3s".parse().unwrap()];
    let robot = SimulatedRobot::new(&scene, None, &changes, 0).unwrap();
    Simulation::start(robot, Pace::LockStep).unwrap()
}

/// The log was closed and ends with the reason for the end of the run.
fn assert_closed(log: &Log, error: &RunError) {
    assert!(matches!(log.ending, Ending::Closed(summary) if summary.dropped == 0));
    assert!(log.damage.is_empty());
    let stopped = log
        .events
        .iter()
        .find(|e| e.kind() == EventKind::RunStopped);
    assert_eq!(stopped.unwrap().text, error.to_string());
}

#[test]
fn a_robot_whose_sensors_fail_is_brought_to_its_safe_state() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = bomb(folder.path(), false);
    let port = simulation.port().display().to_string();
    let log = folder.path().join("run.mcap");
    let error = drive(&port, Rule::OneStep, 0, 100, &log, &mut |_| ()).unwrap_err();
    let message = error.to_string();
    for part in [
        "observation 'x' is NaN",
        "told to go safe",
        "check that sensor",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.modes.last().unwrap().1, Mode::Off);

    let read = Log::read(&log).unwrap();
    assert_closed(&read, &error);
    let (sound, blind) = read.ticks.split_at(read.ticks.len() - 3);
    assert!(sound.len() > 20);
    assert!(
        sound
            .iter()
            .all(|tick| tick.degradation() == Degradation::None)
    );
    let rungs: Vec<Degradation> = blind.iter().map(|tick| tick.degradation()).collect();
    let (reused, safe) = (Degradation::ReusedPlan, Degradation::Safe);
    assert_eq!(rungs, [reused, reused, safe]);
    let actions = read.ticks.iter().flat_map(|tick| &tick.action);
    assert!(actions.clone().all(|value| value.is_finite()));
    assert!(replay(&log, &runtime()).unwrap().is_exact());
}

#[test]
fn a_robot_that_trips_ends_the_run_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = bomb(folder.path(), true);
    let port = simulation.port().display().to_string();
    let log = folder.path().join("run.mcap");
    let error = drive(&port, Rule::OneStep, 0, 100, &log, &mut |_| ()).unwrap_err();
    let message = error.to_string();
    for part in ["roach went to its safe state", "see to it"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("did not say why"), "{message}");
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.modes.last().unwrap().1, Mode::Off);
    assert_closed(&Log::read(&log).unwrap(), &error);
    assert!(replay(&log, &runtime()).unwrap().is_exact());
}

/// A simulator in a process of its own, which does not outlive the test.
struct Simulator(Child);

impl Drop for Simulator {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_port_that_vanishes_ends_the_run_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
    command.args(["sim", "--lock-step"]).arg(roach("sim.toml"));
    let mut simulator = Simulator(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    let mut said = BufReader::new(simulator.0.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let port: serde_json::Value = serde_json::from_str(&line).unwrap();
    let port = port["port"].as_str().unwrap();

    let log = folder.path().join("run.mcap");
    let mut unplug = |tick: &surefoot::log::schema::Tick| {
        if tick.tick == 20 {
            simulator.0.kill().unwrap();
            simulator.0.wait().unwrap();
        }
    };
    let error = drive(port, Rule::OneStep, 0, 100, &log, &mut unplug).unwrap_err();
    let message = error.to_string();
    for part in [port, "vanished", "check the cable"] {
        assert!(message.contains(part), "{message}");
    }
    let read = Log::read(&log).unwrap();
    assert_closed(&read, &error);
    assert!(
        (21..=22).contains(&read.ticks.len()),
        "{} ticks",
        read.ticks.len()
    );
    assert!(replay(&log, &runtime()).unwrap().is_exact());
}

#[test]
fn a_run_that_was_stopped_before_it_began_arms_nothing() {
    let simulated = SimulatedRobot::new(&support::scene(), None, &[], 0).unwrap();
    let simulation = Simulation::start(simulated, Pace::LockStep).unwrap();
    let robot = support::robot(Rule::None);
    let runtime = runtime();
    let (model, stop) = (support::model(&runtime), AtomicBool::new(true));
    let options = options(&simulation);
    let summary = run::run(&runtime, &robot, &model, &options, &stop, &mut |_| ()).unwrap();
    assert_eq!(summary.ticks, 0);
    let outcome = simulation.finish().unwrap();
    assert!(
        outcome
            .modes
            .iter()
            .all(|(_, mode)| *mode == Mode::Disarmed),
        "{:?}",
        outcome.modes
    );
}

#[test]
fn limits_that_the_robot_does_not_allow_are_refused_before_it_is_armed() {
    let simulated = SimulatedRobot::new(&support::scene(), None, &[], 0).unwrap();
    let simulation = Simulation::start(simulated, Pace::LockStep).unwrap();
    let text = std::fs::read_to_string(roach("robot.toml")).unwrap();
    let wide = text.replacen("max = 60.0", "max = 600.0", 1);
    let robot = Robot::parse(&wide, &roach("robot.toml")).unwrap();
    let runtime = runtime();
    let (model, never) = (support::model(&runtime), AtomicBool::new(false));
    let options = options(&simulation);
    let refused = run::run(&runtime, &robot, &model, &options, &never, &mut |_| ());
    let message = refused.unwrap_err().to_string();
    for part in ["left_speed", "600", "80", "narrow"] {
        assert!(message.contains(part), "{message}");
    }
    let outcome = simulation.finish().unwrap();
    assert!(outcome.modes.iter().all(|(_, mode)| *mode != Mode::Armed));
}

fn options(simulation: &Simulation) -> Options {
    Options {
        port: simulation.port().display().to_string(),
        seed: 0,
        log: None,
        ticks: Some(10),
        lock_step: true,
        extra: Default::default(),
    }
}
