//! A line that others can reach: an attacker who hears all and says anything, but does not know the key.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hil_tests::{Robot, config, frame, patience, robot_toml};
use surefoot::{
    guard::Guard,
    link::{Link, LinkError, SerialLink, Session},
    run::contract,
};
use surefoot_firmware::Firmware;
use surefoot_wire::{Key, Mode, PROTOCOL, Refusal, SCHEMA_HASH, ToRobot};

const KEY: Key = Key::new([0x5a; 16]);

/// A line of which an attacker records every frame to the robot.
struct Tapped {
    link: SerialLink,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Link for Tapped {
    fn name(&self) -> &str {
        self.link.name()
    }

    fn read(&mut self, buffer: &mut [u8], deadline: Instant) -> Result<usize, LinkError> {
        self.link.read(buffer, deadline)
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.recorded.lock().unwrap().push(bytes.to_vec());
        self.link.write_all(bytes)
    }
}

fn robot(start: u64) -> Robot {
    Robot::with(Firmware::new(config()).unwrap().keyed(KEY, start))
}

fn session(robot: &Robot, recorded: &Arc<Mutex<Vec<Vec<u8>>>>) -> Session<Tapped> {
    let link = SerialLink::open(robot.port(), 1_000_000).unwrap();
    let link = Tapped {
        link,
        recorded: Arc::clone(recorded),
    };
    Session::connect_keyed(link, KEY, &contract(&robot_toml()), patience()).unwrap()
}

fn bytes_of(frames: &[Vec<u8>]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

#[test]
fn a_robot_is_driven_under_a_key() {
    let robot = robot(1);
    let recorded = Arc::default();
    let mut session = session(&robot, &recorded);
    session.arm(patience()).unwrap();
    let guard = Guard::new(&robot_toml());
    for _ in 0..50 {
        session
            .send(&guard.check(&[2.0, -2.0], &[2.0, -2.0]).0)
            .unwrap();
        let steps = robot.pass(bytes_of(&recorded.lock().unwrap()), 10);
        assert!(steps.iter().all(|step| step.action == [2.0, -2.0]));
        assert_eq!(
            session.next_telemetry(patience()).unwrap().mode,
            Mode::Armed
        );
    }
    assert_eq!(
        session.robot_counters(patience()).unwrap().refused_in_all(),
        0
    );
    assert_eq!(session.counters().forged_frames, 0);
}

#[test]
fn an_attacker_moves_nothing_and_stops_nothing() {
    let mut robot = robot(1);
    let recorded = Arc::default();
    let mut session = session(&robot, &recorded);
    session.arm(patience()).unwrap();
    let guard = Guard::new(&robot_toml());
    session
        .send(&guard.check(&[2.0, 2.0], &[2.0, 2.0]).0)
        .unwrap();
    let mut heard = bytes_of(&recorded.lock().unwrap());
    assert_eq!(robot.pass(heard, 1)[0].action, [2.0, 2.0]);
    // Everything again, plain frames, and every frame with each of its bits flipped.
    let frames = recorded.lock().unwrap().clone();
    let mut attack = frames.clone();
    attack.push(frame(&ToRobot::Disarm));
    attack.push(frame(&ToRobot::Hello {
        protocol: PROTOCOL,
        schema_hash: SCHEMA_HASH,
    }));
    for frame in &frames {
        for bit in 0..(frame.len() - 1) * 8 {
            let mut forged = frame.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            attack.push(forged);
        }
    }
    for frame in &attack {
        robot.noise(frame);
        robot.noise(&[0]);
        heard += frame.len() as u64 + 1;
        // The robot hears each one before the next, as the line has little room.
        assert!(robot.pass(heard, 0).is_empty());
    }
    let steps = robot.pass(heard, 28);
    assert!(
        steps
            .iter()
            .all(|step| step.mode == Mode::Armed && step.action == [2.0, 2.0])
    );
    let counters = &steps[0].counters;
    assert_eq!(counters.accepted, 1);
    // The hello is answered for the host that once asked; all else is refused.
    assert_eq!(
        counters.refused(Refusal::Forged),
        frames.len() as u64 as u32 - 1
    );
    assert!(counters.refused(Refusal::BadFrame) as usize > attack.len() / 2);
    // The host, who knows the key, is heard at once.
    session.disarm().unwrap();
    let last = recorded.lock().unwrap().last().unwrap().len() as u64;
    assert_eq!(robot.pass(heard + last, 1)[0].mode, Mode::Damping);
}

#[test]
fn a_recording_is_worth_nothing_after_a_restart() {
    let recorded = Arc::default();
    let first = robot(1);
    session(&first, &recorded).arm(patience()).unwrap();
    drop(first);
    let mut restarted = robot(2);
    let frames = recorded.lock().unwrap().clone();
    for frame in &frames {
        restarted.noise(frame);
    }
    let steps = restarted.pass(bytes_of(&frames), 5);
    assert!(steps.iter().all(|step| step.mode == Mode::Disarmed));
    assert_eq!(
        steps[0].counters.refused(Refusal::Forged) as usize,
        frames.len() - 1
    );
}

#[test]
fn without_the_key_there_is_silence() {
    let soon = || Instant::now() + Duration::from_millis(50);
    let keyed = robot(1);
    let link = || SerialLink::open(keyed.port(), 1_000_000).unwrap();
    let expected = contract(&robot_toml());
    let plain = Session::connect(link(), &expected, soon()).map(drop);
    assert!(matches!(plain, Err(LinkError::Silent { .. })), "{plain:?}");
    let other = Session::connect_keyed(link(), Key::new([1; 16]), &expected, soon()).map(drop);
    assert!(matches!(other, Err(LinkError::Silent { .. })), "{other:?}");
    let plain = Robot::start(config());
    let link = SerialLink::open(plain.port(), 1_000_000).unwrap();
    let keyed = Session::connect_keyed(link, KEY, &expected, soon()).map(drop);
    assert!(matches!(keyed, Err(LinkError::Silent { .. })), "{keyed:?}");
}
