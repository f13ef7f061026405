//! A line that loses, damages, repeats, delays and invents: the robot does only what was meant, or goes safe.

use hil_tests::{Desk, PERIOD_MS, patience};
use surefoot::link::{FaultInjector, Faults};
use surefoot_wire::{Mode, Refusal};

/// What happened in a drive over a bad line.
#[derive(Debug, PartialEq)]
struct Drive {
    /// Ticks in which the robot was armed all the time.
    armed: usize,
    /// How often it went safe and had to be armed again.
    rearmed: usize,
    /// What the robot did, each millisecond.
    left: Vec<f32>,
}

/// Drives some ticks. Each command carries three actions; tick `n` wants the left wheel at `n % 16 + 1` halves, and one more in each
/// tick that no command comes.
fn drive(seed: u64, ticks: usize, to_robot: Faults, to_host: Faults) -> Drive {
    let mut desk = Desk::with(|link| FaultInjector::new(link, seed, to_robot, to_host)).armed();
    let mut drive = Drive {
        armed: 0,
        rearmed: 0,
        left: Vec::new(),
    };
    for tick in 0..ticks {
        let plan: Vec<f32> = (0..3)
            .flat_map(|ahead| [(tick % 16 + 1 + ahead) as f32 / 2.0, 0.0])
            .collect();
        desk.command(&plan);
        let steps = desk.pass(PERIOD_MS);
        drive.armed += usize::from(steps.iter().all(|step| step.mode == Mode::Armed));
        drive.left.extend(steps.iter().map(|step| step.action[0]));
        if steps.last().is_some_and(|step| step.mode != Mode::Armed) {
            let _ = desk.pass(500);
            desk.session.arm(patience()).unwrap();
            drive.rearmed += 1;
        }
        // What the robot has to say is read, whatever has become of it.
        while desk
            .session
            .next_telemetry(std::time::Instant::now())
            .is_ok()
        {}
    }
    drive
}

fn loss(drop: f64) -> Faults {
    Faults {
        drop,
        ..Faults::default()
    }
}

#[test]
fn without_faults_every_tick_is_driven() {
    let drive = drive(1, 300, Faults::default(), Faults::default());
    assert_eq!((drive.armed, drive.rearmed), (300, 0));
}

#[test]
fn a_few_lost_commands_are_bridged_by_the_plan() {
    for percent in [1, 5, 10] {
        let drive = drive(2, 300, loss(f64::from(percent) / 100.0), Faults::default());
        // Three in a row end the lifetime: 1 in 1000 ticks at 10 %.
        assert!(
            drive.rearmed <= percent as usize / 5,
            "{percent} %: {} times safe",
            drive.rearmed
        );
        assert!(drive.armed >= 290);
    }
}

#[test]
fn half_of_the_commands_lost_degrades_to_the_safe_state_and_back() {
    let drive = drive(3, 100, loss(0.5), Faults::default());
    assert!(
        drive.rearmed > 5 && drive.armed > 50,
        "{} armed, {} times safe",
        drive.armed,
        drive.rearmed
    );
}

#[test]
fn nothing_is_executed_that_was_not_meant() {
    let faults = Faults {
        drop: 0.02,
        flip: 0.05,
        truncate: 0.02,
        duplicate: 0.1,
        delay: 0.05,
        delay_frames: 4,
        garbage: 0.05,
    };
    for seed in 0..4 {
        let drive = drive(seed, 300, faults, faults);
        // Halves of whole numbers while under command; damping is the only other thing that moves.
        let meant = |value: &f32| (2.0 * value).fract() == 0.0 && (0.0..=9.0).contains(value);
        let odd = drive.left.iter().filter(|value| !meant(value)).count();
        assert!(
            odd <= 500 * (drive.rearmed + 1),
            "seed {seed}: {odd} of {}",
            drive.left.len()
        );
        assert!(drive.left.iter().all(|value| (0.0..=9.0).contains(value)));
        assert!(drive.armed > 200, "seed {seed}: {} armed", drive.armed);
    }
}

#[test]
fn old_commands_are_refused_as_stale() {
    let faults = Faults {
        duplicate: 0.2,
        delay: 0.2,
        delay_frames: 1,
        ..Faults::default()
    };
    let mut desk =
        Desk::with(|link| FaultInjector::new(link, 5, faults, Faults::default())).armed();
    let mut newest = 0.0;
    for tick in 0..500u16 {
        desk.command(&[f32::from(tick) / 64.0, 0.0]);
        for step in desk.pass(PERIOD_MS) {
            if step.mode == Mode::Armed {
                assert!(step.action[0] >= newest, "an older command was executed");
                newest = step.action[0];
            }
        }
        while desk
            .session
            .next_telemetry(std::time::Instant::now())
            .is_ok()
        {}
    }
    let steps = desk.pass(1);
    let counters = &steps[0].counters;
    let [injected, _] = desk.session.link().injected();
    assert!(injected.duplicated > 50 && injected.delayed > 50);
    assert!(counters.refused(Refusal::Stale) > 100);
    assert_eq!(
        counters.refused_in_all(),
        counters.refused(Refusal::Stale) + counters.refused(Refusal::NotArmed),
    );
}
