//! A robot that is driven over a real serial port.

use hil_tests::{Desk, PERIOD_MS, config, frame, patience, robot_toml};
use surefoot::{
    link::{Contract, LineCounters, LinkError},
    run::contract,
};
use surefoot_firmware::Config;
use surefoot_wire::{Cause, ChannelKind, EventKind, Mode, Refusal, Sequence, ToRobot};

fn telemetry_of(desk: &mut Desk, observation: &[f32]) -> Vec<u32> {
    desk.robot.observe(observation);
    let (_, telemetry) = desk.tick(&[0.0, 0.0]);
    telemetry
        .observation
        .iter()
        .map(|value| value.to_bits())
        .collect()
}

#[test]
fn a_hundred_ticks_arrive_as_they_were_sent() {
    let mut desk = Desk::greeted().armed();
    for tick in 0..100u16 {
        let planned = [f32::from(tick) / 16.0, -f32::from(tick) / 16.0];
        desk.robot.observe(&[f32::from(tick), 0.0, 0.0, 0.0]);
        let (steps, telemetry) = desk.tick(&planned);
        assert!(
            steps
                .iter()
                .all(|step| step.mode == Mode::Armed && step.action == planned)
        );
        assert_eq!(telemetry.last_command, Some(Sequence(tick + 1)));
        assert_eq!(telemetry.observation[0], f32::from(tick));
        // A command takes effect in the firmware's next loop, a millisecond later.
        let before = f32::from(tick.saturating_sub(1)) / 16.0;
        let mean = before + 0.9 * (planned[0] - before);
        assert!(
            (telemetry.applied[0] - mean).abs() < 1e-6
                && telemetry.applied[1] == -telemetry.applied[0]
        );
        assert_eq!(telemetry.time_us, 1000 * PERIOD_MS * (u64::from(tick) + 1));
    }
    desk.session.disarm().unwrap();
    let steps = desk.pass(301);
    assert_eq!(steps[0].mode, Mode::Damping);
    assert_eq!(steps[300].mode, Mode::Off);
    let counters = desk.session.robot_counters(patience()).unwrap();
    assert_eq!(counters, steps[300].counters);
    assert_eq!((counters.accepted, counters.refused_in_all()), (100, 0));
    assert_eq!(desk.session.counters(), LineCounters::default());
}

#[test]
fn a_command_before_arming_is_refused_on_the_host() {
    let mut desk = Desk::greeted();
    let guard = surefoot::guard::Guard::new(&robot_toml());
    let (command, _) = guard.safe();
    assert!(matches!(
        desk.session.send(&command),
        Err(LinkError::NotArmed { .. })
    ));
    let steps = desk.pass(1);
    assert_eq!(steps[0].counters.accepted, 0);
}

#[test]
fn a_robot_that_is_not_at_rest_refuses_to_be_armed() {
    let mut desk = Desk::greeted().armed();
    desk.session.disarm().unwrap();
    let refused = desk.session.arm(patience());
    assert!(
        matches!(
            refused,
            Err(LinkError::ArmRefused {
                reason: Refusal::NotAtRest,
                ..
            })
        ),
        "{refused:?}"
    );
    let _ = desk.pass(500);
    desk.session.arm(patience()).unwrap();
}

#[test]
fn a_robot_that_trips_says_so_and_stays_safe() {
    let mut desk = Desk::greeted().armed();
    desk.tick(&[1.0, 1.0]);
    desk.robot.observe(&[0.0, 0.0, 0.0, f32::NAN]);
    let (steps, telemetry) = desk.tick(&[1.0, 1.0]);
    assert_eq!(steps[0].mode, Mode::Damping);
    assert_eq!(telemetry.mode, Mode::Damping);
    assert!(telemetry.observation[3].is_nan());
    let events: Vec<EventKind> = std::iter::from_fn(|| desk.session.next_event())
        .map(|event| event.kind)
        .collect();
    let tripped = EventKind::Mode {
        mode: Mode::Damping,
        cause: Cause::Tripped { channel: 3 },
    };
    assert!(events.contains(&tripped), "{events:?}");
    desk.robot.observe(&[0.0; 4]);
    let (steps, _) = desk.tick(&[1.0, 1.0]);
    assert_ne!(steps[0].mode, Mode::Armed);
    assert!(steps[0].counters.refused(Refusal::NotArmed) > 0);
}

#[test]
fn measurements_that_are_not_numbers_reach_the_host_as_they_are() {
    let mut desk = Desk::greeted().armed();
    let odd = [f32::NAN, f32::INFINITY, -f32::NAN, 0.0];
    assert_eq!(telemetry_of(&mut desk, &odd), odd.map(f32::to_bits));
    assert_eq!(desk.session.counters(), LineCounters::default());
}

#[test]
fn another_robot_is_refused_and_the_difference_named() {
    type Change = fn(&mut Config);
    let cases: [(Change, &str); 8] = [
        (
            |robot| robot.robot = "roach".try_into().unwrap(),
            "the robot 'roach', not 'desk'",
        ),
        (
            |robot| robot.period_us = 20_000,
            "tick period is 20000 us, not 10000 us",
        ),
        (
            |robot| robot.observation[1].name = "z".try_into().unwrap(),
            "observation 1 is 'z' (m) on the robot, but 'y' (m) was expected",
        ),
        (
            |robot| robot.observation[2].unit = "deg".try_into().unwrap(),
            "observation 2 is 'yaw' (deg) on the robot, but 'yaw' (rad) was expected",
        ),
        (
            |robot| robot.observation.swap(0, 1),
            "observation 0 is 'y' (m) on the robot, but 'x' (m) was expected",
        ),
        (
            |robot| {
                robot.trips.clear();
                robot.observation.pop();
            },
            "observation 3 is missing on the robot, but 'tilt' (rad) was expected",
        ),
        (
            |robot| {
                let extra = surefoot_firmware::ActionChannel {
                    channel: surefoot_wire::Channel::new("tail", "").unwrap(),
                    ..robot.action[0].clone()
                };
                robot.action.push(extra).unwrap();
            },
            "action 2 is 'tail' on the robot, but missing was expected",
        ),
        (
            |robot| robot.action.swap(0, 1),
            "action 0 is 'right' (rad/s) on the robot, but 'left' (rad/s) was expected",
        ),
    ];
    for (change, difference) in cases {
        let mut other = config();
        change(&mut other);
        let error = Desk::connect(other, &contract(&robot_toml())).unwrap_err();
        assert!(error.to_string().contains(difference), "{error}");
    }
}

#[test]
fn a_contract_that_the_wire_cannot_carry_is_refused_all_the_same() {
    let mut expected: Contract = contract(&robot_toml());
    expected.action[1].0 = "a name that is longer than any name on the wire".to_owned();
    let refused = Desk::connect(config(), &expected);
    assert!(
        matches!(
            refused,
            Err(LinkError::Channel {
                kind: ChannelKind::Action,
                index: 1,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn garbage_on_the_line_changes_nothing() {
    let mut desk = Desk::greeted().armed();
    let noise: Vec<u8> = (0..2000u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for tick in 0..20 {
        desk.noise(&noise[tick * 100..][..100]);
        desk.noise(&[0]);
        let (steps, _) = desk.tick(&[2.0, -2.0]);
        assert_eq!(steps[9].mode, Mode::Armed);
        assert!(steps.iter().all(|step| step.action == [2.0, -2.0]));
    }
    let counters = desk.session.robot_counters(patience()).unwrap();
    assert!(counters.refused(Refusal::BadFrame) >= 20);
    assert_eq!(
        counters.refused(Refusal::BadFrame),
        counters.refused_in_all()
    );
}

#[test]
fn a_foreign_stop_is_obeyed() {
    let mut desk = Desk::greeted().armed();
    desk.tick(&[2.0, 2.0]);
    desk.noise(&frame(&ToRobot::Disarm));
    assert_eq!(desk.pass(1)[0].mode, Mode::Damping);
}
