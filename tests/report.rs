//! The page of a demo, from runs with the shape of real ones.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use surefoot::log::schema::{
    Adaptation, Decision, Event, EventKind, Severity, Tick, Timing, Tracking,
};
use surefoot::log::{Ending, Log, LogSummary, Run};
use surefoot::report::{self, DemoReport, RuleRuns, Summary};

const PERIOD_S: f64 = 0.1;
const TICKS: u64 = 240;
const CHANGE_S: f64 = 8.0;

/// The target: a figure eight.
fn target(share: f64) -> [f64; 2] {
    let angle = std::f64::consts::TAU * share;
    [angle.sin(), 0.5 * (2.0 * angle).sin()]
}

/// A run that keeps to the path within `calm` before the change and within `rough` after it, m.
fn run(seed: u64, calm: f64, rough: f64, gain: f32) -> Log {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut offset = 0.0;
    let ticks = (0..TICKS)
        .map(|tick| {
            let time = tick as f64 * PERIOD_S;
            let changed = time >= CHANGE_S;
            offset += 0.15
                * ((if changed { rough } else { calm }) * random.random_range(-0.6..1.4) - offset);
            let share = time / 24.0;
            let ([x, y], [next_x, next_y]) = (target(share), target(share + 1e-4));
            let length = (next_x - x).hypot(next_y - y);
            let (x, y) = (
                x - offset * (next_y - y) / length,
                y + offset * (next_x - x) / length,
            );
            let star = (if changed { 0.9 } else { 0.12 }) * random.random_range(0.3..3.0f32);
            let spike = if tick % 97 == 50 { 2.0 } else { 1.0 };
            Tick {
                tick,
                robot_time_us: 5_000_000 + tick * 100_000,
                tracking: Some(Tracking {
                    x_m: x as f32,
                    y_m: y as f32,
                    cross_track_m: offset as f32,
                    progress_m: (0.25 * time) as f32,
                    ..Tracking::default()
                }),
                adaptation: Some(Adaptation {
                    decision: if tick % 11 == 3 {
                        Decision::Refused
                    } else {
                        Decision::Adapted
                    }
                    .into(),
                    error_star: (tick > 0).then_some(star),
                    error_used: (tick > 0).then_some(if changed {
                        star * gain
                    } else {
                        star * (0.5 + 0.5 * gain)
                    }),
                    ..Adaptation::default()
                }),
                timing: Some(Timing {
                    encode_ns: random.random_range(4_000..9_000),
                    adapt_ns: random.random_range(600_000..900_000),
                    plan_ns: (random.random_range(4_000_000..6_000_000) as f64 * spike) as u32,
                    guard_ns: random.random_range(900..2_000),
                    inference_ns: 5_000_000,
                    total_ns: (random.random_range(5_200_000..7_000_000) as f64 * spike) as u32,
                }),
                ..Tick::default()
            }
        })
        .collect();
    let event = |robot_time_us, severity: Severity, kind: EventKind, text: &str| Event {
        tick: 0,
        robot_time_us,
        severity: severity.into(),
        kind: kind.into(),
        text: text.into(),
    };
    Log {
        run: Run {
            robot: "roach".into(),
            surefoot_version: "0.1.0".into(),
            onnxruntime_version: "1.31.1".into(),
            threads: 2,
            cpu: "Cortex-A76".into(),
            model: vec![1],
            ..Run::default()
        },
        ticks,
        plans: vec![],
        events: vec![
            event(5_000_000, Severity::Info, EventKind::RunStarted, "armed"),
            event(
                13_000_000,
                Severity::Info,
                EventKind::Environment,
                "middle left leg lost",
            ),
            event(
                14_200_000 + seed * 100_000,
                Severity::Warning,
                EventKind::Adaptation,
                "the gate refused the step: 1.2 > 0.9 & \"worse\"",
            ),
            event(
                29_000_000,
                Severity::Info,
                EventKind::RunStopped,
                "robot in its safe state",
            ),
        ],
        ending: Ending::Closed(LogSummary::default()),
        damage: vec![],
    }
}

fn demo() -> DemoReport<'static> {
    let runs = |calm, rough, gain| (0..5).map(|seed| run(seed, calm, rough, gain)).collect();
    DemoReport {
        robot: "VelociRoACH-like hexapod <simulated>",
        course: "Figure eight, 2 m wide, on carpet",
        change: "middle left leg lost",
        change_time_s: CHANGE_S,
        tick_period_s: PERIOD_S,
        path: (0..=200).map(|at| target(f64::from(at) / 200.0)).collect(),
        rules: vec![
            RuleRuns {
                label: "no adaptation",
                logs: runs(0.03, 0.22, 1.0),
            },
            RuleRuns {
                label: "one gradient step a tick",
                logs: runs(0.025, 0.07, 0.35),
            },
            RuleRuns {
                label: "continued gradient steps",
                logs: runs(0.03, 0.12, 0.6),
            },
        ],
    }
}

/// Numbers that are none have no place in a page, least of all in a drawing's coordinates.
fn has_only_numbers(page: &str) -> bool {
    let page = page.replace("class=\"info\"", "");
    !page.contains("NaN") && !page.contains("inf")
}

#[test]
fn the_page_stands_alone() {
    let page = report::demo(&demo()).unwrap();
    assert!(has_only_numbers(&page));
    for outside in ["<script", "<link", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(
        !page
            .replace("http://www.w3.org/2000/svg", "")
            .contains("http")
    );
    for word in [
        "no adaptation",
        "one gradient step a tick",
        "continued gradient steps",
        "middle left leg lost",
        "(m)",
        "(s)",
        "(ms)",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(
        page.contains("hexapod &lt;simulated&gt;")
            && page.contains("1.2 &gt; 0.9 &amp; &quot;worse&quot;")
    );
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
}

/// Runs that stop early, without tracking, adaptation or timing, or with values that are no numbers, still give a page.
#[test]
fn poor_runs_still_give_a_page() {
    let mut report = demo();
    report.rules[0].logs[0].ticks.truncate(3);
    for tick in &mut report.rules[1].logs[1].ticks {
        (tick.tracking, tick.adaptation, tick.timing) = (None, None, None);
    }
    if let Some(tracking) = &mut report.rules[2].logs[2].ticks[9].tracking {
        (tracking.x_m, tracking.cross_track_m) = (f32::NAN, f32::INFINITY);
    }
    report.rules[2].logs.truncate(1);
    let page = report::demo(&report).unwrap();
    assert!(has_only_numbers(&page));

    report.rules[0].logs.clear();
    assert!(
        report::demo(&report)
            .unwrap_err()
            .to_string()
            .contains("no adaptation")
    );
}

#[test]
fn a_summary_takes_means_over_runs_and_percentiles_over_ticks() {
    let tick = |tick: u64, cross_track_m: f32, total_ns: u32| Tick {
        tick,
        robot_time_us: 7_000_000 + tick * 1_000_000,
        tracking: Some(Tracking {
            cross_track_m,
            progress_m: tick as f32,
            ..Tracking::default()
        }),
        timing: Some(Timing {
            total_ns,
            inference_ns: total_ns / 2,
            ..Timing::default()
        }),
        adaptation: Some(Adaptation {
            decision: Decision::Refused.into(),
            error_star: Some(4.0),
            error_used: (tick > 0).then_some(tick as f32),
            ..Adaptation::default()
        }),
        ..Tick::default()
    };
    let log = |after: f32| Log {
        ticks: vec![
            tick(0, 0.1, 1_000_000),
            tick(1, -0.3, 2_000_000),
            tick(2, -after, 3_000_000),
            tick(3, after, 40_000_000),
        ],
        ..run(0, 0.0, 0.0, 1.0)
    };
    let summary = Summary::new(&[log(1.0), log(2.0)], 2.0, 0.02).unwrap();
    assert_eq!(
        (
            summary.runs,
            summary.ticks,
            summary.refused_ticks,
            summary.deadline_misses
        ),
        (2, 8, 8, 2)
    );
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    close(summary.path_error_before_m, 0.2);
    close(summary.path_error_after_m, 1.5);
    close(summary.path_error_after_std_m, 0.5f64.sqrt());
    close(summary.progress_after_m, 1.0);
    close(summary.prediction_error_before, 1.0);
    close(summary.prediction_error_after, 2.5);
    close(summary.prediction_error_after_star, 4.0);
    close(summary.tick_ms_p50, 2.0);
    close(summary.tick_ms_p99, 40.0);
    close(summary.own_time_share, 0.5);
    assert!(Summary::new(&[], 2.0, 0.02).is_none());
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["tick_ms_p50"], 2.0);
}
