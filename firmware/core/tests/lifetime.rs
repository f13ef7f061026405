//! A command is the heartbeat for its own lifetime, to the millisecond; what follows is latched.

mod bench;

use bench::{Bench, PERIOD_MS, config, frame};
use proptest::{prelude::*, test_runner::RngSeed};
use surefoot_wire::{Cause, Limit, Mode, Refusal, Sequence, ToRobot};

#[test]
fn a_lifetime_ends_to_the_millisecond() {
    for lifetime_ms in [1, 2, 9, 10, 11, 30, 250] {
        let mut bench = Bench::armed();
        bench.send(&bench.command(1, lifetime_ms, &[2.0, 2.0]));
        for _ in 1..lifetime_ms {
            assert_eq!(bench.step(), [2.0, 2.0]);
            assert_eq!(bench.mode(), Mode::Armed);
        }
        bench.step();
        assert_eq!(bench.mode(), Mode::Damping, "{lifetime_ms} ms");
        assert!(bench.went_safe(Cause::LifetimeEnded));
    }
}

#[test]
fn a_command_that_comes_when_the_lifetime_has_ended_is_too_late() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 30, &[2.0, 2.0]));
    // No step in between: the late command itself must not find the robot armed.
    bench.now_us += 30_000;
    bench.send(&bench.command(2, 30, &[2.0, 2.0]));
    assert_eq!(bench.mode(), Mode::Damping);
    assert_eq!(bench.counters().refused(Refusal::NotArmed), 1);
}

#[test]
fn each_command_renews_the_heartbeat() {
    let mut bench = Bench::armed();
    for sequence in 0..200 {
        bench.send(&bench.command(sequence, 11, &[1.0, 1.0]));
        for _ in 0..10 {
            assert_eq!(bench.step(), [1.0, 1.0]);
        }
    }
    assert_eq!(bench.counters().accepted, 200);
}

#[test]
fn going_safe_damps_then_sits_then_stops_and_stays_so() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 50, &[4.0, 4.5]));
    bench.step_until(Mode::Damping);
    let before = [4.0, 4.5];
    for ms in 1..200 {
        let [left, right] = bench.step()[..] else {
            panic!("two wheels")
        };
        let done = ms as f32 / 200.0;
        assert!((left - before[0] * (1.0 - done)).abs() < 1e-5);
        assert!((right - (before[1] + (0.5 - before[1]) * done)).abs() < 1e-5);
    }
    assert_eq!(bench.step_until(Mode::Sitting), 1);
    assert_eq!(bench.step(), [0.0, 0.5]);
    assert_eq!(bench.step_until(Mode::Off), 99);
    for sequence in 2..1000 {
        bench.send(&bench.command(sequence, 250, &[4.0, 4.0]));
        assert_eq!(bench.step(), [0.0, 0.5]);
        assert_eq!(bench.mode(), Mode::Off);
    }
    assert_eq!(bench.counters().refused(Refusal::NotArmed), 998);
}

#[test]
fn a_robot_that_slept_through_it_all_is_off() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 50, &[4.0, 4.0]));
    bench.step();
    bench.now_us += 10_000_000;
    assert_eq!(bench.step(), [0.0, 0.5]);
    assert_eq!(bench.mode(), Mode::Off);
}

#[test]
fn a_stop_needs_no_session_and_acts_at_once() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 250, &[4.0, 4.0]));
    bench.step();
    bench.send(&ToRobot::Disarm);
    assert_eq!(bench.mode(), Mode::Damping);
    assert!(bench.went_safe(Cause::Stopped));
}

#[test]
fn a_robot_that_tips_over_acts_alone_within_a_step() {
    for tilt in [0.51, -0.6, f32::NAN, f32::INFINITY] {
        let mut bench = Bench::armed();
        bench.send(&bench.command(1, 250, &[4.0, 4.0]));
        bench.observation[1] = 0.5;
        bench.step();
        assert_eq!(bench.mode(), Mode::Armed);
        bench.observation[1] = tilt;
        bench.step();
        assert_eq!(bench.mode(), Mode::Damping, "{tilt}");
        assert!(bench.went_safe(Cause::Tripped { channel: 1 }));
    }
}

#[test]
fn a_missing_measurement_trips_and_is_told_as_nan() {
    let mut bench = Bench::armed();
    bench.observation.pop();
    bench.step();
    assert_eq!(bench.mode(), Mode::Damping);
    (0..PERIOD_MS).for_each(|_| drop(bench.step()));
    let telemetry = bench.telemetry();
    assert_eq!(telemetry[0].observation.len(), 2);
    assert!(telemetry[0].observation[1].is_nan());
}

#[test]
fn a_setpoint_is_the_commanded_value_bit_for_bit() {
    let mut bench = Bench::armed();
    for (sequence, value) in (1..).zip([0.1, -0.3, 1e-7, 7.7]) {
        bench.send(&bench.command(sequence, 50, &[value, value]));
        assert_eq!(bench.step(), [value, value]);
    }
}

#[test]
fn a_late_command_leaves_the_next_of_the_planned_actions() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 45, &[1.0, -1.0, 2.0, -2.0, 3.0, -3.0]));
    for ms in 1..45 {
        let row = (ms / PERIOD_MS).min(2) as f32 + 1.0;
        assert_eq!(bench.step(), [row, -row], "{ms} ms");
    }
    bench.step();
    assert_eq!(bench.mode(), Mode::Damping);
    // A newer command replaces the rest of the plan.
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 45, &[1.0, -1.0, 2.0, -2.0]));
    bench.step();
    bench.send(&bench.command(2, 45, &[5.0, -5.0]));
    (0..20).for_each(|_| assert_eq!(bench.step(), [5.0, -5.0]));
}

#[test]
fn telemetry_tells_the_mean_of_what_was_applied() {
    let mut config = config();
    for action in &mut config.action {
        action.limit.rate = 500.0;
    }
    let mut bench = Bench::new(config);
    bench.step();
    bench.arm();
    bench.send(&bench.command(7, 250, &[0.1, 5.5]));
    for _ in 0..3 * PERIOD_MS {
        bench.observation[0] += 1.0;
        bench.step();
    }
    let telemetry = bench.telemetry();
    assert_eq!(telemetry.len(), 3);
    // The first period began with one millisecond at the safe action; the right wheel took ten steps of 0.5.
    assert!((telemetry[0].applied[0] - 0.09).abs() < 1e-6);
    assert!((telemetry[0].applied[1] - (0.5 + 0.5 * 4.5)).abs() < 1e-5);
    // A constant action comes back bit for bit.
    assert_eq!(telemetry[2].applied[..], [0.1, 5.5]);
    for (index, telemetry) in telemetry.iter().enumerate() {
        assert_eq!(telemetry.sequence, Sequence(index as u16));
        assert_eq!(telemetry.time_us, 1000 + 10_000 * (index as u64 + 1));
        assert_eq!(telemetry.mode, Mode::Armed);
        assert_eq!(telemetry.last_command, Some(Sequence(7)));
        assert_eq!(telemetry.observation[0], 10.0 * (index as f32 + 1.0));
    }
}

#[test]
fn telemetry_that_was_late_is_back_on_its_grid() {
    let mut bench = Bench::armed();
    for stall_us in [9_999, 10_000, 10_001, 35_000, 3_999] {
        bench.now_us += stall_us;
        bench.step();
    }
    (0..100).for_each(|_| drop(bench.step()));
    let times: Vec<u64> = bench
        .telemetry()
        .iter()
        .map(|telemetry| telemetry.time_us)
        .collect();
    // One for each stall that a period ended in, and then one in each period that began at 1 ms.
    assert_eq!(times[..4], [11_999, 22_999, 34_000, 70_000]);
    for (before, after) in times[5..].iter().zip(&times[6..]) {
        assert_eq!(after - before, 10_000);
    }
    for (index, telemetry) in bench.telemetry().iter().enumerate() {
        assert_eq!(telemetry.sequence, Sequence(index as u16));
    }
}

/// Whatever a host sends and whenever: no setpoint leaves its bounds or its rate, and a robot that moves is under a live
/// command or on its way to rest.
#[derive(Clone, Debug)]
enum Move {
    Command(u16, u16, [f32; 2]),
    Stop,
    Arm,
    Wait(u64),
    Tilt(f32),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let value = any::<u32>().prop_map(f32::from_bits);
    let value = prop_oneof![-12f32..12.0, value];
    let one = prop_oneof![
        8 => (any::<u16>(), 0u16..300, [value.clone(), value])
            .prop_map(|(ahead, lifetime, action)| Move::Command(ahead % 4, lifetime, action)),
        1 => Just(Move::Stop),
        2 => Just(Move::Arm),
        6 => (0u64..400).prop_map(Move::Wait),
        1 => (-0.6f32..0.6).prop_map(Move::Tilt),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
#![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn setpoints_keep_their_limits_whatever_the_host_does(moves in moves()) {
        let rate = 800.0;
        let mut config = config();
        for action in &mut config.action {
            action.limit = Limit { min: -3.0, max: 5.0, rate };
        }
        let mut bench = Bench::new(config);
        let mut sequence = Sequence(0);
        let mut last = vec![0.0, 0.5];
        for what in moves {
            let ms = match what {
                Move::Command(ahead, lifetime_ms, action) => {
                    sequence = Sequence(sequence.0.wrapping_add(ahead));
                    bench.give(&frame(&bench.command(sequence.0, lifetime_ms, &action)));
                    1
                }
                Move::Stop => { bench.send(&ToRobot::Disarm); 1 }
                Move::Arm => { bench.arm(); 1 }
                Move::Tilt(tilt) => { bench.observation[1] = tilt; 1 }
                Move::Wait(ms) => ms,
            };
            for _ in 0..ms {
                let setpoints = bench.step();
                let mode = bench.mode();
                for (now, before) in setpoints.iter().zip(&last) {
                    prop_assert!((-3.0..=5.0).contains(now));
                    let allowed = rate * 1e-3 * 1.0001;
                    prop_assert!(!mode.drivers_enabled() || (now - before).abs() <= allowed);
                }
                last = setpoints;
            }
        }
        (0..1600).for_each(|_| drop(bench.step()));
        prop_assert!(matches!(bench.mode(), Mode::Off | Mode::Disarmed));
    }
}
