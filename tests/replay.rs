//! A recorded run can be proved bit for bit, and a log that was tampered with cannot.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{record, runtime};
use surefoot::log::schema::Degradation;
use surefoot::log::{Ending, Log, LogWriter, WhenFull};
use surefoot::replay::{Comparison, replay};
use surefoot::robot::Rule;

const TICKS: u64 = 40;

/// A log of a run in a new folder.
fn recorded(rule: Rule) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("run.mcap");
    record(rule, &["lose-middle-left@1s"], 2, TICKS, &log);
    (folder, log)
}

/// Writes a log again beside itself, changed.
fn rewritten(path: &Path, change: impl FnOnce(&mut Log)) -> PathBuf {
    let mut log = Log::read(path).unwrap();
    change(&mut log);
    let changed = path.with_extension("changed.mcap");
    std::fs::remove_file(&changed).ok();
    let mut writer = LogWriter::create(&changed, &log.run, WhenFull::Block).unwrap();
    for tick in &log.ticks {
        writer.tick(tick, tick.robot_time_us * 1000);
    }
    for plan in &log.plans {
        writer.plan(plan, plan.tick * 100_000_000);
    }
    writer.finish().unwrap();
    changed
}

fn flip(value: &mut f32) {
    *value = f32::from_bits(value.to_bits() ^ 1);
}

fn in_a_fresh_process(log: &Path) -> (Output, serde_json::Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_surefoot"))
        .args(["replay", "--json"])
        .arg(log)
        .output()
        .unwrap();
    let json = serde_json::from_slice(&output.stdout).unwrap();
    (output, json)
}

#[test]
fn every_tick_of_every_rule_is_equal_here_and_in_a_fresh_process() {
    for rule in Rule::ALL {
        let (_folder, log) = recorded(rule);
        let comparison = replay(&log, &runtime()).unwrap();
        let exact = Comparison {
            ticks: TICKS,
            equal: TICKS,
            first_difference: None,
            complete: true,
        };
        assert_eq!(comparison, exact, "{rule:?}");
        let (output, json) = in_a_fresh_process(&log);
        assert_eq!(output.status.code(), Some(0), "{rule:?}");
        let expected = serde_json::json!({ "ticks": TICKS, "equal": TICKS, "first_difference": null, "complete": true });
        assert_eq!(json, expected);
    }
}

#[test]
fn a_run_is_repeated_bit_for_bit() {
    let ((_a, first), (_b, second)) = (recorded(Rule::OneStep), recorded(Rule::OneStep));
    let decided = |path: &Path| {
        let mut log = Log::read(path).unwrap();
        for tick in &mut log.ticks {
            tick.timing = None;
        }
        (log.ticks, log.plans)
    };
    assert!(decided(&first) == decided(&second));
}

#[test]
fn a_flipped_bit_of_an_action_is_named_by_its_tick_and_field() {
    let (_folder, log) = recorded(Rule::OneStep);
    let changed = rewritten(&log, |log| flip(&mut log.ticks[17].action[1]));
    let comparison = replay(&changed, &runtime()).unwrap();
    assert_eq!((comparison.ticks, comparison.equal), (TICKS, TICKS - 1));
    let difference = comparison.first_difference.unwrap();
    assert_eq!((difference.tick, difference.field), (17, "action"));
    assert!(difference.recorded.starts_with("[1] = "), "{difference:?}");

    let (output, json) = in_a_fresh_process(&changed);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(json["equal"], TICKS - 1);
    assert_eq!(json["first_difference"]["tick"], 17);
    assert_eq!(json["first_difference"]["field"], "action");
}

#[test]
fn a_flipped_bit_of_an_input_shows_in_what_was_computed_from_it() {
    let (_folder, log) = recorded(Rule::OneStep);
    let changed = rewritten(&log, |log| flip(&mut log.ticks[20].applied[0]));
    let difference = replay(&changed, &runtime())
        .unwrap()
        .first_difference
        .unwrap();
    assert_eq!(difference.tick, 20);
    assert!(
        difference.field.starts_with("adaptation."),
        "{difference:?}"
    );

    let changed = rewritten(&changed, |log| flip(&mut log.ticks[9].observation[0]));
    let difference = replay(&changed, &runtime())
        .unwrap()
        .first_difference
        .unwrap();
    assert_eq!((difference.tick, difference.field), (9, "state"));
}

#[test]
fn another_seed_is_another_run() {
    let (_folder, log) = recorded(Rule::None);
    let changed = rewritten(&log, |log| log.run.seed += 1);
    let difference = replay(&changed, &runtime())
        .unwrap()
        .first_difference
        .unwrap();
    assert_eq!((difference.tick, difference.field), (0, "plan.actions"));
}

#[test]
fn a_log_that_was_cut_is_proved_up_to_its_cut() {
    let (_folder, log) = recorded(Rule::OneStep);
    let bytes = std::fs::read(&log).unwrap();
    let header = Log::read(&log).unwrap().run.model.len();
    std::fs::write(&log, &bytes[..(header + bytes.len()) / 2]).unwrap();
    let cut = Log::read(&log).unwrap();
    assert!(matches!(cut.ending, Ending::Cut { .. }));
    let ticks = cut.ticks.len() as u64;
    assert!((1..TICKS).contains(&ticks), "{ticks} ticks are left");
    let comparison = replay(&log, &runtime()).unwrap();
    assert_eq!((comparison.ticks, comparison.equal), (ticks, ticks));
}

#[test]
fn a_log_with_a_missing_start_is_refused() {
    let (_folder, log) = recorded(Rule::None);
    let changed = rewritten(&log, |log| {
        log.ticks.remove(0);
        log.plans.remove(0);
    });
    let message = replay(&changed, &runtime()).unwrap_err().to_string();
    assert!(message.contains("tick 1 stands where tick 0"), "{message}");
}

#[test]
fn plans_are_proved_too() {
    let (_folder, log) = recorded(Rule::None);
    let missing = rewritten(&log, |log| drop(log.plans.remove(7)));
    let comparison = replay(&missing, &runtime()).unwrap();
    let difference = comparison.first_difference.unwrap();
    assert_eq!((difference.tick, difference.field), (7, "plan"));

    let stray = rewritten(&log, |log| log.plans.insert(1, log.plans[0].clone()));
    let error = replay(&stray, &runtime()).unwrap_err().to_string();
    assert!(error.contains("a plan of tick 0"), "{error}");

    let degraded = rewritten(&log, |log| {
        log.ticks[5].set_degradation(Degradation::ThetaStar);
    });
    let difference = replay(&degraded, &runtime())
        .unwrap()
        .first_difference
        .unwrap();
    assert_eq!((difference.tick, difference.field), (5, "degradation"));
}
