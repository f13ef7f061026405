//! Current, temperature and battery: weaker first, then safe, and armed again only after recovery.

mod bench;

use bench::{Bench, config};
use surefoot_firmware::{Config, ConfigError, Derate, Firmware};
use surefoot_wire::{Cause, EventKind, Mode, Refusal};

/// The bench's robot whose position stands for a motor's temperature.
fn hot() -> Config {
    let mut config = config();
    let derate = Derate {
        channel: 0,
        start: 60.0,
        stop: 80.0,
        resume: 50.0,
    };
    config.derates.push(derate).unwrap();
    config
}

fn armed() -> Bench {
    let mut bench = Bench::new(hot());
    bench.step();
    bench.arm();
    bench.send(&bench.command(1, 250, &[8.0, -8.0]));
    bench
}

#[test]
fn a_ramp_weakens_then_stops() {
    let mut bench = armed();
    for tenth in 0..100u16 {
        bench.observation[0] = 40.0 + 4.0 * f32::from(tenth) / 10.0;
        bench.send(&bench.command(tenth + 2, 250, &[8.0, -8.0]));
        let [left, right] = bench.step()[..] else {
            panic!("two wheels")
        };
        let strength = ((80.0 - bench.observation[0]) / 20.0).min(1.0);
        assert!((left - 8.0 * strength).abs() < 1e-4);
        // The right wheel's safe speed is 0.5: it comes nearer to that.
        assert!((right - (0.5 - 8.5 * strength)).abs() < 1e-4);
    }
    assert_eq!(bench.mode(), Mode::Armed);
    bench.observation[0] = 80.0;
    bench.step();
    assert_eq!(bench.mode(), Mode::Damping);
    assert!(bench.went_safe(Cause::Tripped { channel: 0 }));
    let weakened = |event: &&EventKind| **event == EventKind::Weakened { channel: 0 };
    assert_eq!(bench.events().iter().filter(weakened).count(), 1);
}

#[test]
fn the_weakest_measurement_counts_whichever_it_is() {
    let mut config = hot();
    config.trips.clear();
    // The bench's tilt stands for a battery's voltage.
    let derate = Derate {
        channel: 1,
        start: 7.0,
        stop: 6.0,
        resume: 7.2,
    };
    config.derates.push(derate).unwrap();
    let mut bench = Bench::new(config);
    bench.observation = vec![40.0, 7.5];
    bench.step();
    bench.arm();
    bench.send(&bench.command(1, 250, &[8.0, -8.0]));
    for (temperature, voltage, left) in [(40.0, 7.5, 8.0), (70.0, 7.5, 4.0), (70.0, 6.25, 2.0)] {
        bench.observation = vec![temperature, voltage];
        assert_eq!(bench.step()[0], left);
    }
    bench.observation[1] = 5.0;
    bench.step();
    assert!(bench.went_safe(Cause::Tripped { channel: 1 }));
}

#[test]
fn strength_does_not_flutter() {
    let mut bench = armed();
    bench.observation[0] = 70.0;
    assert_eq!(bench.step()[0], 4.0);
    for value in [61.0, 69.0, 51.0, 60.0] {
        bench.observation[0] = value;
        assert_eq!(bench.step()[0], 4.0);
    }
    bench.observation[0] = 50.0;
    assert_eq!(bench.step()[0], 8.0);
    assert_eq!(
        bench.events().last(),
        Some(&EventKind::Recovered { channel: 0 })
    );
}

#[test]
fn it_is_armed_again_only_after_recovery() {
    let mut bench = armed();
    bench.observation[0] = f32::NAN;
    bench.step_until(Mode::Off);
    for value in [79.0, 51.0] {
        bench.observation[0] = value;
        bench.step();
        bench.arm();
        assert_eq!(bench.mode(), Mode::Off);
    }
    assert_eq!(bench.counters().refused(Refusal::NotRecovered), 2);
    bench.observation[0] = 49.0;
    bench.step();
    bench.arm();
    assert_eq!(bench.mode(), Mode::Armed);
}

#[test]
fn a_robot_that_was_latched_off_is_never_armed() {
    let mut bench = Bench::new(config());
    bench.firmware = Firmware::new(config()).unwrap().latched_off();
    bench.arm();
    assert_eq!(bench.mode(), Mode::Disarmed);
    assert_eq!(bench.counters().refused(Refusal::LatchedOff), 1);
}

#[test]
fn figures_in_no_order_are_refused() {
    let order = |channel, start, stop, resume| Derate {
        channel,
        start,
        stop,
        resume,
    };
    for derate in [
        order(2, 60.0, 80.0, 50.0),
        order(0, 60.0, 60.0, 50.0),
        order(0, 60.0, 60.0, 60.0),
        order(0, 60.0, 80.0, 61.0),
        order(0, 7.0, 6.0, 6.9),
        order(0, f32::NAN, 80.0, 50.0),
        order(0, 60.0, f32::INFINITY, 50.0),
    ] {
        let mut config = config();
        config.derates.push(derate).unwrap();
        let refused = Firmware::new(config).err();
        assert_eq!(
            refused,
            Some(ConfigError::Derate(derate.channel)),
            "{derate:?}"
        );
    }
    let mut config = config();
    config.derates.push(order(0, 7.0, 6.0, 7.0)).unwrap();
    assert!(Firmware::new(config).is_ok());
}
