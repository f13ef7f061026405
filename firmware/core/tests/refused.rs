//! What must never be executed: cut, damaged, stale, duplicated, reordered, foreign and non-finite commands.

mod bench;

use bench::{Bench, config, frame};
use proptest::{collection::vec, prelude::*, test_runner::RngSeed};
use surefoot_wire::{Mode, Refusal, Sequence, ToRobot};

#[test]
fn a_command_cut_at_any_byte_is_not_executed() {
    let bench = Bench::armed();
    let whole = frame(&bench.command(2, 250, &[9.0, 9.0]));
    for cut in 0..whole.len() {
        let mut bench = Bench::armed();
        bench.send(&bench.command(1, 30, &[1.0, 1.0]));
        bench.give(&whole[..cut]);
        for _ in 1..30 {
            assert_eq!(bench.step(), [1.0, 1.0], "cut at byte {cut}");
        }
        bench.step();
        assert_eq!(bench.mode(), Mode::Damping, "cut at byte {cut}");
        bench.step_until(Mode::Off);
    }
}

#[test]
fn a_hello_or_arming_cut_at_any_byte_arms_nothing() {
    let mut greeted = Bench::new(config());
    let contract_hash = greeted.hello();
    let arm = frame(&ToRobot::Arm {
        contract_hash,
        session: greeted.session,
    });
    for cut in 0..arm.len() {
        let mut bench = Bench::new(config());
        bench.hello();
        assert_eq!(bench.session, greeted.session);
        bench.give(&arm[..cut]);
        bench.step();
        assert_eq!(bench.mode(), Mode::Disarmed, "cut at byte {cut}");
    }
}

#[test]
fn commands_that_are_not_what_the_contract_says_are_refused() {
    let nine_rows = [0.0; 18];
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 30, &[1.0, 1.0]));
    let session = bench.session;
    for (command, reason) in [
        (bench.command(2, 30, &[]), Refusal::Shape),
        (bench.command(2, 30, &[2.0]), Refusal::Shape),
        (bench.command(2, 30, &[2.0, 2.0, 2.0]), Refusal::Shape),
        (bench.command(2, 30, &nine_rows), Refusal::Shape),
        (bench.command(2, 30, &[f32::NAN, 2.0]), Refusal::NotFinite),
        (
            bench.command(2, 30, &[2.0, 2.0, 2.0, f32::INFINITY]),
            Refusal::NotFinite,
        ),
        (bench.command(2, 0, &[2.0, 2.0]), Refusal::Lifetime),
        (bench.command(2, 251, &[2.0, 2.0]), Refusal::Lifetime),
        (bench.command(1, 30, &[2.0, 2.0]), Refusal::Stale),
        (bench.command(0, 30, &[2.0, 2.0]), Refusal::Stale),
        (
            ToRobot::Command {
                session: session.wrapping_add(1),
                sequence: Sequence(2),
                lifetime_ms: 30,
                actions: [2.0, 2.0].into_iter().collect(),
            },
            Refusal::Session,
        ),
    ] {
        let before = bench.firmware.counters().refused(reason);
        bench.send(&command);
        assert_eq!(bench.counters().refused(reason), before + 1, "{reason}");
        assert_eq!(bench.step(), [1.0, 1.0], "{reason}");
    }
    assert_eq!(bench.counters().accepted, 1);
}

#[test]
fn a_command_beyond_the_limits_is_executed_at_the_limit_and_counted() {
    let mut bench = Bench::armed();
    bench.send(&bench.command(1, 30, &[11.0, -1e30]));
    assert_eq!(bench.step(), [10.0, -10.0]);
    assert_eq!(bench.counters().clamped, 1);
    bench.send(&bench.command(2, 30, &[10.0, -10.0]));
    assert_eq!(bench.counters().clamped, 1);
}

#[test]
fn commands_of_an_earlier_session_are_foreign() {
    let mut bench = Bench::armed();
    let old = bench.command(9, 250, &[9.0, 9.0]);
    bench.send(&ToRobot::Disarm);
    bench.step_until(Mode::Off);
    bench.arm();
    bench.send(&old);
    assert_eq!(bench.step(), [0.0, 0.5]);
    assert_eq!(bench.counters().refused(Refusal::Session), 1);
}

proptest! {
#![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    /// The model: a command is executed exactly if its number is newer than every one executed before.
    #[test]
    fn only_newer_commands_are_executed(
        start in any::<u16>(),
        order in vec((0u16..40, any::<bool>()), 1..120),
    ) {
        let mut bench = Bench::armed();
        let mut newest: Option<u16> = None;
        let mut executed = 0;
        for (offset, repeat) in order {
            let command = bench.command(start.wrapping_add(offset), 250, &[f32::from(offset) / 8.0, 0.0]);
            for _ in 0..=usize::from(repeat) {
                bench.send(&command);
                if newest.is_none_or(|newest| offset > newest) {
                    newest = Some(offset);
                    executed += 1;
                }
                let applied = bench.step()[0];
                prop_assert_eq!(Some(applied), newest.map(|newest| f32::from(newest) / 8.0));
            }
        }
        prop_assert_eq!(bench.counters().accepted, executed);
    }

    #[test]
    fn a_line_that_splices_and_flips_executes_only_what_was_sent(
        pieces in vec((0u16..50, 0usize..30, 0usize..30, any::<Option<u8>>()), 1..60),
    ) {
        let mut bench = Bench::armed();
        let sent = |bench: &Bench, sequence: u16| bench.command(sequence, 250, &[f32::from(sequence), -1.0]);
        for (sequence, from, length, flip) in pieces {
            let mut bytes = frame(&sent(&bench, sequence % 10));
            if let Some(bit) = flip {
                let place = usize::from(bit) % (bytes.len() * 8);
                bytes[place / 8] ^= 1 << (place % 8);
            }
            let from = from.min(bytes.len());
            let to = (from + length).min(bytes.len());
            bench.give(&bytes[from..to]);
            let left = bench.step()[0];
            prop_assert!(left == 0.0 || (left.fract() == 0.0 && (0.0..10.0).contains(&left)), "{left}");
        }
    }
}
