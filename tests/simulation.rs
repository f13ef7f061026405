//! A host drives the simulated hexapod over a real pseudoterminal.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serialport::TTYPort;
use surefoot::sim::{Pace, Scene, SimulatedRobot, Simulation, TimedChange};
use surefoot_wire::{
    Cause, Decoder, EventKind, MAX_FRAME, Mode, PROTOCOL, Refusal, SCHEMA_HASH, Sequence,
    Telemetry, ToHost, ToRobot, encode,
};

const PERIOD_US: u64 = 100_000;
const LIFETIME_MS: u16 = 250;

fn scene() -> Scene {
    Scene::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/roach/sim.toml")).unwrap()
}

fn start(pace: Pace, changes: &[TimedChange]) -> Simulation {
    let robot = SimulatedRobot::new(&scene(), Some("carpet"), changes, 5).unwrap();
    Simulation::start(robot, pace).unwrap()
}

/// A host that remembers every telemetry message that it heard.
struct Host {
    port: TTYPort,
    /// How many bytes it writes at once.
    burst: usize,
    /// How often it says hello before it listens.
    hellos: usize,
    decoder: Decoder<ToHost>,
    unread: Vec<u8>,
    heard: Vec<Telemetry>,
    session: u32,
    sequence: Sequence,
}

impl Host {
    fn open(simulation: &Simulation, burst: usize) -> Self {
        let path = simulation.port().to_str().unwrap();
        let port = serialport::new(path, 115_200).timeout(Duration::from_secs(60));
        Self {
            port: TTYPort::open(&port).unwrap(),
            burst,
            hellos: 1,
            decoder: Decoder::new(),
            unread: Vec::new(),
            heard: Vec::new(),
            session: 0,
            sequence: Sequence(0),
        }
    }

    fn say(&mut self, message: &ToRobot) {
        let mut buffer = [0; MAX_FRAME];
        for part in encode(message, &mut buffer).unwrap().chunks(self.burst) {
            self.port.write_all(part).unwrap();
        }
    }

    fn hear(&mut self) -> ToHost {
        loop {
            while !self.unread.is_empty() {
                let byte = self.unread.remove(0);
                if let Some(message) = self.decoder.push(byte) {
                    return message.unwrap();
                }
            }
            let mut bytes = [0; 256];
            let length = self.port.read(&mut bytes).unwrap();
            self.unread.extend_from_slice(&bytes[..length]);
        }
    }

    fn telemetry(&mut self) -> Telemetry {
        loop {
            if let ToHost::Telemetry(telemetry) = self.hear() {
                self.heard.push(telemetry.clone());
                return telemetry;
            }
        }
    }

    /// Shakes hands, asking more than once as on a slow line, and arms; returns the first telemetry of the armed robot.
    fn arm(&mut self) -> Telemetry {
        for _ in 0..self.hellos {
            self.say(&ToRobot::Hello {
                protocol: PROTOCOL,
                schema_hash: SCHEMA_HASH,
            });
        }
        let contract_hash = loop {
            if let ToHost::Hello {
                robot,
                contract_hash,
                session,
                ..
            } = self.hear()
            {
                assert_eq!(robot.as_str(), "roach");
                self.session = session;
                break contract_hash;
            }
        };
        self.say(&ToRobot::Arm {
            contract_hash,
            session: self.session,
        });
        loop {
            let telemetry = self.telemetry();
            if telemetry.mode == Mode::Armed {
                return telemetry;
            }
        }
    }

    fn command(&mut self, actions: [f32; 2]) {
        self.sequence = self.sequence.next();
        self.say(&ToRobot::Command {
            session: self.session,
            sequence: self.sequence,
            lifetime_ms: LIFETIME_MS,
            actions: actions.into_iter().collect(),
        });
    }

    /// Walks along the x axis for some ticks, and returns the last telemetry.
    fn walk(&mut self, ticks: usize) -> Telemetry {
        let mut telemetry = self.arm();
        for _ in 0..ticks {
            let yaw = telemetry.observation[5];
            self.command([38.0 + 20.0 * yaw, 38.0 - 20.0 * yaw]);
            telemetry = self.telemetry();
        }
        telemetry
    }
}

fn lose_a_leg() -> [TimedChange; 1] {
    [TimedChange::lose("middle-left@1s").unwrap()]
}

#[test]
fn in_lock_step_every_command_is_one_tick() {
    let simulation = start(Pace::LockStep, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    let armed = host.arm();
    let mut last = armed.clone();
    for tick in 1..=30 {
        host.command([30.0, 30.0]);
        last = host.telemetry();
        assert_eq!(last.time_us, armed.time_us + tick * PERIOD_US);
        assert_eq!(last.last_command, Some(Sequence(tick as u16)));
    }
    assert_eq!(last.applied.as_slice(), [30.0, 30.0]);
    assert!(
        last.observation[0] - armed.observation[0] > 0.3,
        "it walks: {last:?}"
    );
    drop(host);
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.robot.counters().accepted, 30);
    assert_eq!(outcome.robot.counters().refused_in_all(), 0);
    let times: Vec<u64> = outcome
        .trajectory
        .iter()
        .map(|(time_us, _)| *time_us)
        .collect();
    assert_eq!(
        times,
        (1..=times.len() as u64)
            .map(|tick| tick * PERIOD_US)
            .collect::<Vec<_>>()
    );
}

#[test]
fn in_lock_step_the_same_seed_gives_the_same_telemetry_however_it_is_scheduled() {
    let run = |burst, hellos| {
        let simulation = start(Pace::LockStep, &lose_a_leg());
        let mut host = Host::open(&simulation, burst);
        host.hellos = hellos;
        host.walk(30);
        let heard = std::mem::take(&mut host.heard);
        drop(host);
        (heard, simulation.finish().unwrap().trajectory)
    };
    let at_once = run(usize::MAX, 1);
    assert_eq!(at_once.0.len(), 31);
    assert!(at_once == run(1, 1));
    assert!(at_once == run(7, 3));
}

#[test]
fn a_host_that_vanishes_leaves_a_robot_that_is_safe_within_the_lifetime() {
    let simulation = start(Pace::LockStep, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    let last = host.walk(10);
    drop(host);
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.host_went_us, Some(last.time_us));
    let commanded_us = last.time_us - PERIOD_US;
    let damping_us = commanded_us + u64::from(LIFETIME_MS) * 1_000;
    let expected = [
        (damping_us, Mode::Damping),
        (damping_us + 200_000, Mode::Sitting),
        (damping_us + 300_000, Mode::Off),
    ];
    assert_eq!(outcome.modes[0].1, Mode::Armed);
    assert_eq!(outcome.modes[1..], expected);
}

#[test]
fn a_disarmed_robot_reaches_its_rest_without_further_frames() {
    let simulation = start(Pace::LockStep, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    let last = host.walk(3);
    host.say(&ToRobot::Disarm);
    let off = std::iter::repeat_with(|| host.telemetry())
        .find(|telemetry| telemetry.mode == Mode::Off)
        .unwrap();
    assert_eq!(off.time_us, last.time_us + 3 * PERIOD_US);
    drop(host);
    let modes = simulation.finish().unwrap().modes;
    assert_eq!(modes.last(), Some(&(last.time_us + 300_000, Mode::Off)));
}

#[test]
fn the_next_host_starts_afresh() {
    let simulation = start(Pace::LockStep, &[]);
    let mut first = Host::open(&simulation, usize::MAX);
    let last = first.walk(3);
    let session = first.session;
    // What this asks for is never read.
    first.say(&ToRobot::ReadCounters);
    drop(first);
    let mut second = Host::open(&simulation, usize::MAX);
    let telemetry = second.walk(3);
    assert_ne!(second.session, session);
    assert!(telemetry.time_us > last.time_us && telemetry.mode == Mode::Armed);
}

#[test]
fn a_host_that_never_reads_cannot_hold_the_robot() {
    let simulation = start(Pace::LockStep, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    host.arm();
    for _ in 0..100 {
        host.command([38.0, 38.0]);
    }
    drop(host);
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.modes.last().unwrap().1, Mode::Off);
}

#[test]
fn garbage_is_counted_and_harmless() {
    let simulation = start(Pace::LockStep, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    host.port.write_all(&[7; 2_000]).unwrap();
    host.port.write_all(&[0, 1, 2, 3, 0, 0]).unwrap();
    host.walk(2);
    drop(host);
    let outcome = simulation.finish().unwrap();
    assert_eq!(outcome.robot.counters().refused(Refusal::OverlongFrame), 1);
    assert_eq!(outcome.robot.counters().refused(Refusal::BadFrame), 1);
    assert_eq!(outcome.robot.counters().accepted, 2);
}

#[test]
fn a_simulation_that_fails_is_told_by_nan_and_trips_the_robot() {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/roach");
    std::fs::copy(shipped.join("scene.xml"), folder.path().join("scene.xml")).unwrap();
    let description = std::fs::read_to_string(shipped.join("sim.toml")).unwrap();
    let bomb = "[change.bomb]\nedits = [{ element = \"velocity\", set = { gear = \"1e9\" } }]\n";
    std::fs::write(folder.path().join("sim.toml"), description + bomb).unwrap();
    let scene = Scene::load(&folder.path().join("sim.toml")).unwrap();
    let robot = SimulatedRobot::new(&scene, None, &["bomb@500ms".parse().unwrap()], 0).unwrap();
    let simulation = Simulation::start(robot, Pace::LockStep).unwrap();

    let mut host = Host::open(&simulation, usize::MAX);
    host.walk(2);
    host.command([38.0, 38.0]);
    let cause = loop {
        if let ToHost::Event {
            kind:
                EventKind::Mode {
                    mode: Mode::Damping,
                    cause,
                },
            ..
        } = host.hear()
        {
            break cause;
        }
        host.command([38.0, 38.0]);
    };
    assert_eq!(cause, Cause::Tripped { channel: 3 });
    let telemetry = host.telemetry();
    assert!(
        telemetry.observation.iter().all(|value| value.is_nan()),
        "{telemetry:?}"
    );
    drop(host);
    let outcome = simulation.finish().unwrap();
    assert!(
        outcome
            .robot
            .failure()
            .unwrap()
            .to_string()
            .contains("failed at 0.50")
    );
    assert_eq!(outcome.modes.last().unwrap().1, Mode::Off);
}

#[test]
fn in_real_time_telemetry_comes_by_itself() {
    let simulation = start(Pace::RealTime, &[]);
    let mut host = Host::open(&simulation, usize::MAX);
    host.arm();
    let safe =
        std::iter::repeat_with(|| host.telemetry()).find(|telemetry| telemetry.mode != Mode::Armed);
    assert!(safe.is_some(), "without a command it goes safe");
    drop(host);
    let outcome = simulation.finish().unwrap();
    let modes: Vec<Mode> = outcome.modes.iter().map(|(_, mode)| *mode).collect();
    assert_eq!(
        modes,
        [Mode::Armed, Mode::Damping, Mode::Sitting, Mode::Off]
    );
}
