//! The figures of one rule over its runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::timed;
use crate::log::Log;
use crate::log::schema::{Decision, Tick, Timing};

/// Means over the runs of one rule, before and after the change. Errors of prediction are mean squared, in units of the model
/// contract's scales.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Runs.
    pub runs: usize,
    /// Ticks of all runs.
    pub ticks: usize,
    /// Mean distance from the target path before the change, m.
    pub path_error_before_m: f64,
    /// Mean distance from the target path after the change, m.
    pub path_error_after_m: f64,
    /// Standard deviation of `path_error_after_m` between runs, m.
    pub path_error_after_std_m: f64,
    /// Distance covered along the path before the change, m.
    pub progress_before_m: f64,
    /// Distance covered along the path after the change, m.
    pub progress_after_m: f64,
    /// Error of one-step prediction by the parameters planned with, before the change.
    pub prediction_error_before: f64,
    /// Error of one-step prediction by the parameters planned with, after the change.
    pub prediction_error_after: f64,
    /// Error on the same transitions by theta*, as if there were no adaptation.
    pub prediction_error_after_star: f64,
    /// Ticks that planned with adapted parameters.
    pub adapted_ticks: usize,
    /// Ticks in which the gate refused the step.
    pub refused_ticks: usize,
    /// Ticks that took longer than the control period.
    pub deadline_misses: usize,
    /// Median time of a tick, ms.
    pub tick_ms_p50: f64,
    /// Time that 99 % of ticks stay below, ms.
    pub tick_ms_p99: f64,
    /// The slowest tick, ms.
    pub tick_ms_max: f64,
    /// The same for each phase of a tick.
    pub phases: BTreeMap<&'static str, PhaseTime>,
    /// Share of all tick time spent outside ONNX Runtime.
    pub own_time_share: f64,
}

/// How long a phase takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PhaseTime {
    /// Median, ms.
    pub ms_p50: f64,
    /// 99th percentile, ms.
    pub ms_p99: f64,
    /// Slowest, ms.
    pub ms_max: f64,
}

/// A phase's time in a tick, ns.
type PhaseOf = fn(&Timing) -> u32;

/// The phases of a tick in their order.
pub(super) const PHASES: [(&str, PhaseOf); 4] = [
    ("encode", |timing| timing.encode_ns),
    ("adapt", |timing| timing.adapt_ns),
    ("plan", |timing| timing.plan_ns),
    ("guard", |timing| timing.guard_ns),
];

impl Summary {
    /// Summarises the runs of a rule; `None` if there is no tick in them.
    pub fn new(logs: &[Log], change_time_s: f64, tick_period_s: f64) -> Option<Self> {
        let ticks: Vec<&Tick> = logs.iter().flat_map(|log| &log.ticks).collect();
        let timings: Vec<Timing> = ticks.iter().filter_map(|tick| tick.timing).collect();
        let decided = |decision| {
            ticks
                .iter()
                .filter(|tick| {
                    tick.adaptation
                        .as_ref()
                        .is_some_and(|adaptation| adaptation.decision() == decision)
                })
                .count()
        };
        let runs: Vec<Halves> = logs
            .iter()
            .map(|log| Halves::new(log, change_time_s))
            .collect();
        let over_runs = |figure: fn(&Halves) -> Option<f64>| mean(runs.iter().filter_map(figure));
        let path_error_after_m = over_runs(|run| mean_of(&run.after.path_error));
        let tick_time = PhaseTime::new(&timings, |timing| timing.total_ns);
        let total: f64 = timings
            .iter()
            .map(|timing| f64::from(timing.total_ns))
            .sum();
        let inference: f64 = timings
            .iter()
            .map(|timing| f64::from(timing.inference_ns))
            .sum();
        (!ticks.is_empty()).then(|| Self {
            runs: logs.len(),
            ticks: ticks.len(),
            path_error_before_m: over_runs(|run| mean_of(&run.before.path_error)),
            path_error_after_m,
            path_error_after_std_m: deviation(
                runs.iter().filter_map(|run| mean_of(&run.after.path_error)),
                path_error_after_m,
            ),
            progress_before_m: over_runs(|run| run.before.progress()),
            progress_after_m: over_runs(|run| run.after.progress()),
            prediction_error_before: over_runs(|run| mean_of(&run.before.error_used)),
            prediction_error_after: over_runs(|run| mean_of(&run.after.error_used)),
            prediction_error_after_star: over_runs(|run| mean_of(&run.after.error_star)),
            adapted_ticks: decided(Decision::Adapted),
            refused_ticks: decided(Decision::Refused),
            deadline_misses: timings
                .iter()
                .filter(|timing| f64::from(timing.total_ns) > tick_period_s * 1e9)
                .count(),
            tick_ms_p50: tick_time.ms_p50,
            tick_ms_p99: tick_time.ms_p99,
            tick_ms_max: tick_time.ms_max,
            phases: PHASES
                .into_iter()
                .map(|(name, phase)| (name, PhaseTime::new(&timings, phase)))
                .collect(),
            own_time_share: if total > 0.0 {
                1.0 - inference / total
            } else {
                0.0
            },
        })
    }
}

impl PhaseTime {
    fn new(timings: &[Timing], phase: PhaseOf) -> Self {
        let mut sorted: Vec<u32> = timings.iter().map(phase).collect();
        sorted.sort_unstable();
        // Nearest rank: the smallest time that at least this share of ticks does not exceed.
        let at = |share: f64| {
            let rank = (share * sorted.len() as f64).ceil() as usize;
            sorted
                .get(rank.saturating_sub(1))
                .map_or(0.0, |&ns| f64::from(ns) * 1e-6)
        };
        Self {
            ms_p50: at(0.5),
            ms_p99: at(0.99),
            ms_max: at(1.0),
        }
    }
}

/// A run before and after the change.
#[derive(Default)]
struct Halves {
    before: Half,
    after: Half,
}

#[derive(Default)]
struct Half {
    path_error: Vec<f64>,
    progress: Vec<f64>,
    error_star: Vec<f64>,
    error_used: Vec<f64>,
}

impl Halves {
    fn new(log: &Log, change_time_s: f64) -> Self {
        let mut halves = Self::default();
        for (time, tick) in timed(log) {
            let half = if time < change_time_s {
                &mut halves.before
            } else {
                &mut halves.after
            };
            if let Some(tracking) = &tick.tracking {
                half.path_error
                    .push(f64::from(tracking.cross_track_m).abs());
                half.progress.push(tracking.progress_m.into());
            }
            if let Some(adaptation) = &tick.adaptation {
                half.error_star.extend(adaptation.error_star.map(f64::from));
                half.error_used.extend(adaptation.error_used.map(f64::from));
            }
        }
        halves
    }
}

impl Half {
    fn progress(&self) -> Option<f64> {
        Some(self.progress.last()? - self.progress.first()?)
    }
}

fn mean_of(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The mean; NaN, which JSON and the page show as missing, where there is nothing to take it of.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    mean_of(&values.collect::<Vec<_>>()).unwrap_or(f64::NAN)
}

fn deviation(values: impl Iterator<Item = f64>, mean: f64) -> f64 {
    let squares: Vec<f64> = values.map(|value| (value - mean).powi(2)).collect();
    if squares.len() < 2 {
        0.0
    } else {
        (squares.iter().sum::<f64>() / (squares.len() - 1) as f64).sqrt()
    }
}
