//! The shipped robot and model, and the simulated robot that they walk with.
#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use surefoot::log::schema::{self, Degradation};
use surefoot::model::{DynamicsModel, Runtime};
use surefoot::robot::{Robot, Rule};
use surefoot::run::{self, Options, RunError, Summary};
use surefoot::sim::{Pace, Plant, Scene, SimulatedRobot, Simulation, TimedChange};
use surefoot::tick::{Observation, Outcome, Tick};

/// A file of the shipped robot's folder.
pub fn roach(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("models/roach")
        .join(file)
}

/// ONNX Runtime, as the tests of this process share it.
pub fn runtime() -> Runtime {
    Runtime::load().unwrap()
}

/// The shipped robot with so few candidates that a tick is cheap.
pub fn robot(rule: Rule) -> Robot {
    let mut robot = Robot::read(&roach("robot.toml")).unwrap();
    robot.plan.candidates = 32;
    robot.adapt.rule = rule;
    robot
}

/// The shipped model.
pub fn model(runtime: &Runtime) -> DynamicsModel {
    DynamicsModel::load(&roach("model.onnx"), runtime).unwrap()
}

/// The loop of a robot on its own clock, which stands still.
pub fn tick(runtime: &Runtime, robot: &Robot, seed: u64) -> Tick {
    Tick::new(runtime, &model(runtime), robot, seed, || 0).unwrap()
}

/// The shipped robot's scene.
pub fn scene() -> Scene {
    Scene::load(&roach("sim.toml")).unwrap()
}

fn timed(changes: &[&str]) -> Vec<TimedChange> {
    let parse = |change: &&str| change.parse().unwrap();
    changes.iter().map(parse).collect()
}

/// Runs the whole loop in lock-step against a robot on a port, and logs it.
pub fn drive(
    port: &str,
    rule: Rule,
    seed: u64,
    ticks: u64,
    log: &Path,
    on_tick: &mut dyn FnMut(&schema::Tick),
) -> Result<Summary, RunError> {
    let toml = std::fs::read_to_string(roach("robot.toml")).unwrap();
    let robot_toml = toml.replace("candidates = 500", "candidates = 32");
    let mut robot = Robot::parse(&robot_toml, &roach("robot.toml")).unwrap();
    robot.adapt.rule = rule;
    let options = Options {
        port: port.into(),
        seed,
        log: Some(log.into()),
        ticks: Some(ticks),
        lock_step: true,
        extra: BTreeMap::new(),
    };
    let (runtime, never) = (runtime(), AtomicBool::new(false));
    let model = model(&runtime);
    run::run(&runtime, &robot, &model, &options, &never, on_tick)
}

/// Logs a run of the simulated robot, which is reached over a pseudo-terminal.
pub fn record(rule: Rule, changes: &[&str], seed: u64, ticks: u64, log: &Path) {
    let simulated = SimulatedRobot::new(&scene(), Some("carpet"), &timed(changes), seed).unwrap();
    let simulation = Simulation::start(simulated, Pace::LockStep).unwrap();
    let port = simulation.port().display().to_string();
    let summary = drive(&port, rule, seed, ticks, log, &mut |_| ()).unwrap();
    assert_eq!(summary.ticks, ticks);
    simulation.finish().unwrap();
}

/// The simulated robot without its microcontroller, which does what it is told at once.
pub struct Walker {
    plant: Plant,
    period_us: u64,
    tick: u64,
    applied: Vec<f32>,
}

/// What a tick is given, kept to be given again.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub tick: u64,
    pub robot_time_us: u64,
    pub values: Vec<f32>,
    pub applied: Vec<f32>,
}

impl Input {
    /// Does the tick in full with this input.
    pub fn step(&self, tick: &mut Tick) -> Outcome {
        self.step_at(tick, Degradation::None)
    }

    /// Does the tick with this input on a rung of the deadline ladder.
    pub fn step_at(&self, tick: &mut Tick, wanted: Degradation) -> Outcome {
        let observation = Observation {
            tick: self.tick,
            robot_time_us: self.robot_time_us,
            armed: true,
            values: &self.values,
            applied: &self.applied,
        };
        tick.step(&observation, wanted)
    }
}

impl Walker {
    /// A robot on carpet with changes such as `lose-middle-left@0s`.
    pub fn new(robot: &Robot, changes: &[&str], seed: u64) -> Self {
        let plant = Plant::new(&scene(), Some("carpet"), &timed(changes), seed);
        Self {
            plant: plant.unwrap(),
            period_us: robot.period_us().into(),
            tick: 0,
            applied: robot.action.iter().map(|action| action.safe).collect(),
        }
    }

    /// What the next tick is given.
    pub fn input(&mut self) -> Input {
        Input {
            tick: self.tick,
            robot_time_us: self.plant.time_us(),
            values: self.plant.observe().to_vec(),
            applied: self.applied.clone(),
        }
    }

    /// Lets an action act for a tick.
    pub fn apply(&mut self, action: &[f32]) {
        self.plant.step(action, self.period_us).unwrap();
        self.applied = action.to_vec();
        self.tick += 1;
    }

    /// Walks some ticks as the loop commands, and returns what it was given and what it gave.
    pub fn walk(&mut self, tick: &mut Tick, ticks: usize) -> Vec<(Input, Outcome)> {
        let one = |_| {
            let input = self.input();
            let outcome = input.step(tick);
            self.apply(outcome.command.first());
            (input, outcome)
        };
        (0..ticks).map(one).collect()
    }
}
