//! Nothing moves before a handshake of the same version and an arming of the same contract.

mod bench;

use bench::{Bench, config, frame};
use surefoot_firmware::{ARMED_WAIT_MS, ConfigError, Firmware, limits::LimitError};
use surefoot_wire::{
    Cause, ChannelKind, EventKind, Limit, Mode, PROTOCOL, Refusal, SCHEMA_HASH, ToHost, ToRobot,
    contract_hash,
};

#[test]
fn a_robot_says_nothing_before_it_is_greeted() {
    let mut bench = Bench::new(config());
    for _ in 0..100 {
        bench.step();
    }
    bench.give(&[1, 2, 3, 0]);
    bench.send(&ToRobot::ReadCounters);
    assert_eq!(bench.heard, []);
    bench.hello();
    (0..bench::PERIOD_MS).for_each(|_| drop(bench.step()));
    assert_eq!(bench.telemetry().len(), 1);
}

#[test]
fn a_hello_tells_what_the_robot_is() {
    let mut bench = Bench::new(config());
    let contract_hash = bench.hello();
    assert_eq!(contract_hash, config().contract_hash());
    let [
        ToHost::Hello {
            protocol,
            schema_hash,
            robot,
            period_us,
            n_observation,
            limits,
            session,
            ..
        },
    ] = &bench.heard[..]
    else {
        panic!("one hello");
    };
    assert_eq!((*protocol, *schema_hash), (PROTOCOL, SCHEMA_HASH));
    assert_eq!(
        (robot.as_str(), *period_us, *n_observation),
        ("bench", 10_000, 2)
    );
    let known = config().action;
    assert!(limits.iter().eq(known.iter().map(|action| &action.limit)));
    assert_ne!(*session, 0);
}

#[test]
fn channels_are_described_and_others_refused() {
    let mut bench = Bench::new(config());
    bench.hello();
    for (kind, index, name) in [
        (ChannelKind::Observation, 0, "position"),
        (ChannelKind::Observation, 1, "tilt"),
        (ChannelKind::Action, 1, "right"),
    ] {
        bench.send(&ToRobot::DescribeChannel { kind, index });
        let Some(ToHost::Channel { channel, .. }) = bench.heard.last() else {
            panic!("the channel");
        };
        assert_eq!(channel.name, name);
    }
    bench.send(&ToRobot::DescribeChannel {
        kind: ChannelKind::Action,
        index: 2,
    });
    assert_eq!(bench.counters().refused(Refusal::NoSuchChannel), 1);
}

#[test]
fn another_version_is_answered_but_never_armed() {
    let others = (0..=u16::MAX).map(|protocol| (protocol, SCHEMA_HASH ^ 1));
    let versions = (0..=u16::MAX).map(|protocol| (protocol, SCHEMA_HASH));
    for (protocol, schema_hash) in versions.chain(others) {
        if (protocol, schema_hash) == (PROTOCOL, SCHEMA_HASH) {
            continue;
        }
        let mut bench = Bench::new(config());
        bench.send(&ToRobot::Hello {
            protocol,
            schema_hash,
        });
        let [
            ToHost::Hello {
                session,
                contract_hash,
                ..
            },
        ] = bench.heard[..]
        else {
            panic!("a hello, so that the host can say what differs");
        };
        bench.send(&ToRobot::Arm {
            contract_hash,
            session,
        });
        assert_eq!(bench.mode(), Mode::Disarmed);
        let counters = bench.firmware.counters();
        assert_eq!(counters.refused(Refusal::Version), 1);
        assert_eq!(counters.refused(Refusal::Session), 1);
    }
}

#[test]
fn another_contract_is_never_armed() {
    let mut bench = Bench::new(config());
    let contract_hash = bench.hello() ^ 1;
    let session = bench.session;
    bench.send(&ToRobot::Arm {
        contract_hash,
        session,
    });
    assert_eq!(bench.mode(), Mode::Disarmed);
    assert_eq!(bench.counters().refused(Refusal::Contract), 1);
}

#[test]
fn a_session_is_taken_up_once() {
    let mut bench = Bench::armed();
    let arm = ToRobot::Arm {
        contract_hash: config().contract_hash(),
        session: bench.session,
    };
    bench.send(&ToRobot::Disarm);
    bench.step_until(Mode::Off);
    bench.send(&arm);
    assert_eq!(bench.mode(), Mode::Off);
    assert_eq!(bench.counters().refused(Refusal::Session), 1);
    // A new hello offers another session.
    bench.arm();
    assert_eq!(bench.mode(), Mode::Armed);
    assert_ne!(
        arm,
        ToRobot::Arm {
            contract_hash: config().contract_hash(),
            session: bench.session
        }
    );
}

#[test]
fn robots_that_start_at_other_times_offer_other_sessions() {
    let offered = |now_us| {
        let mut bench = Bench::new(config());
        bench.now_us = now_us;
        bench.hello();
        bench.session
    };
    let sessions: Vec<u32> = (0..100).map(|index| offered(1 + index * 1_003)).collect();
    for (index, session) in sessions.iter().enumerate() {
        assert!(!sessions[..index].contains(session));
    }
}

#[test]
fn arming_again_in_the_running_session_changes_nothing() {
    let mut bench = Bench::armed();
    let session = bench.session;
    let contract_hash = config().contract_hash();
    let confirmed = EventKind::Mode {
        mode: Mode::Armed,
        cause: Cause::Armed { session },
    };
    bench.send(&bench.command(5, 30, &[1.0, 1.0]));
    bench.send(&ToRobot::Arm {
        contract_hash,
        session,
    });
    assert_eq!(bench.events(), [confirmed; 2]);
    bench.send(&bench.command(5, 30, &[2.0, 2.0]));
    assert_eq!(bench.step(), [1.0, 1.0]);
    assert_eq!(bench.step_until(Mode::Damping), 29);
}

#[test]
fn a_hello_in_mid_run_disturbs_nothing() {
    let mut bench = Bench::armed();
    let command = bench.command(1, 100, &[1.0, 1.0]);
    bench.hello();
    bench.send(&command);
    bench.send(&ToRobot::Hello {
        protocol: 9,
        schema_hash: 9,
    });
    assert_eq!(bench.step(), [1.0, 1.0]);
}

#[test]
fn arming_needs_a_robot_at_rest() {
    let mut bench = Bench::armed();
    let contract_hash = bench.hello();
    let arm = ToRobot::Arm {
        contract_hash,
        session: bench.session,
    };
    bench.send(&arm);
    for mode in [Mode::Damping, Mode::Sitting] {
        bench.send(&ToRobot::Disarm);
        bench.step_until(mode);
        bench.send(&arm);
        assert_eq!(bench.mode(), mode);
    }
    assert_eq!(bench.counters().refused(Refusal::NotAtRest), 3);
    bench.step_until(Mode::Off);
    bench.send(&arm);
    assert_eq!(bench.mode(), Mode::Armed);
}

#[test]
fn an_armed_robot_that_hears_no_command_goes_safe() {
    let mut bench = Bench::armed();
    assert_eq!(bench.step_until(Mode::Damping), u64::from(ARMED_WAIT_MS));
    assert!(bench.went_safe(Cause::LifetimeEnded));
}

#[test]
fn refusals_are_told_once_a_period_and_all_counted() {
    let mut bench = Bench::armed();
    let refused = |bench: &Bench| {
        let refusal = |event: &&EventKind| matches!(event, EventKind::Refused(_));
        bench.events().iter().filter(refusal).count()
    };
    for _ in 0..50 {
        bench.give(&frame(&bench.command(1, 10, &[1.0, f32::NAN])));
    }
    assert_eq!(refused(&bench), 1);
    (0..=bench::PERIOD_MS).for_each(|_| drop(bench.step()));
    bench.give(&[9, 9, 0]);
    assert_eq!(refused(&bench), 2);
    bench.give(&[9; 2000]);
    bench.give(&[0]);
    let counters = bench.counters();
    assert_eq!(counters.refused(Refusal::NotFinite), 50);
    assert_eq!(counters.refused(Refusal::BadFrame), 1);
    assert_eq!(counters.refused(Refusal::OverlongFrame), 1);
    assert_eq!(counters.refused_in_all(), 52);
    let last = bench.telemetry().last().map(|telemetry| telemetry.refused);
    assert_eq!(last, Some(50));
}

#[test]
fn a_host_that_does_not_read_costs_messages_not_safety() {
    let mut bench = Bench::armed();
    bench.give(&frame(&bench.command(1, 250, &[1.0, 1.0])));
    for _ in 0..100_000 {
        bench.now_us += 1000;
        bench.firmware.step(bench.now_us, &[0.0, 0.0]);
    }
    assert_eq!(bench.mode(), Mode::Off);
    assert!(bench.firmware.counters().unsent > 0);
    // What was not lost is whole.
    let heard = bench.heard.len();
    bench.give(&[]);
    assert!(bench.heard.len() > heard + 10);
    let heard = bench.telemetry().len();
    (0..5 * bench::PERIOD_MS).for_each(|_| drop(bench.step()));
    assert_eq!(bench.telemetry().len(), heard + 5);
}

#[test]
fn the_contract_is_names_units_order_and_period() {
    let expected = contract_hash(
        10_000,
        [("position", "m"), ("tilt", "rad")],
        [("left", "rad/s"), ("right", "rad/s")],
    );
    assert_eq!(config().contract_hash(), expected);
}

#[test]
fn configurations_at_the_edge_are_accepted() {
    let mut config = config();
    config.damping_ms = 400;
    config.trips[0].max = config.trips[0].min;
    config.max_lifetime_ms = 1;
    config.period_us = 1;
    assert_eq!(Firmware::new(config).err(), None);
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    type Change = fn(&mut surefoot_firmware::Config);
    let left = || surefoot_wire::Name::try_from("left").unwrap();
    let cases: [(Change, ConfigError); 13] = [
        (|config| config.period_us = 0, ConfigError::Period),
        (|config| config.action.clear(), ConfigError::NoChannel),
        (|config| config.observation.clear(), ConfigError::NoChannel),
        (
            |config| config.action[1].channel.name = config.action[0].channel.name.clone(),
            ConfigError::SameName(left()),
        ),
        (
            |config| {
                config.action[0].limit = Limit {
                    min: 1.0,
                    max: -1.0,
                    rate: 1.0,
                }
            },
            ConfigError::Limit(left(), LimitError::Bounds),
        ),
        (
            |config| config.action[0].safe = f32::NAN,
            ConfigError::Safe(left()),
        ),
        (|config| config.max_lifetime_ms = 0, ConfigError::Lifetime),
        (|config| config.damping_ms = 450, ConfigError::SafeTime),
        (|config| config.sitting_ms = u16::MAX, ConfigError::SafeTime),
        (|config| config.trips[0].channel = 2, ConfigError::Trip(2)),
        (
            |config| config.trips[0].min = f32::NAN,
            ConfigError::Trip(1),
        ),
        (
            |config| config.trips[0].max = f32::NAN,
            ConfigError::Trip(1),
        ),
        (|config| config.trips[0].max = -0.6, ConfigError::Trip(1)),
    ];
    for (change, error) in cases {
        let mut config = config();
        change(&mut config);
        assert_eq!(Firmware::new(config).err(), Some(error));
    }
}
