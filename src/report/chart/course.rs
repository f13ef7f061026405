//! Signals over time: the mean over the runs of a rule, in the band that all its runs lie in.

use std::collections::BTreeMap;
use std::ops::Range;

use plotters::coord::ranged1d::Ranged;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{
    Chart, Drawn, FINE, INK, NARROW, STAR, WIDE, extent, font, line, mesh, rule_color, svg,
};
use crate::log::schema::Tick;
use crate::report::{DemoReport, ReportError, RuleRuns};

/// Height of a wide chart on the page.
const HEIGHT: u32 = 280;
/// Errors of prediction are averaged over this time, seconds: from tick to tick they scatter over decades.
const SMOOTHING_S: f64 = 1.0;

/// A signal of a tick.
type Signal = fn(&Tick) -> Option<f64>;

/// A signal over time: mean over the runs, and the runs' lowest and highest.
#[derive(Default)]
struct Course {
    time_s: Vec<f64>,
    mean: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
}

impl Course {
    /// Collects a signal over the runs of a rule, averaged over the last `span_s` of each run first.
    fn new(rule: &RuleRuns<'_>, tick_period_s: f64, span_s: f64, signal: Signal) -> Self {
        let span = ((span_s / tick_period_s).round() as usize).max(1);
        let mut at_tick: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for log in &rule.logs {
            let first = log.ticks.first().map_or(0, |tick| tick.tick);
            let values: Vec<Option<f64>> = log.ticks.iter().map(signal).collect();
            for (tick, value) in log.ticks.iter().zip(smooth(&values, span)) {
                at_tick
                    .entry(tick.tick.saturating_sub(first))
                    .or_default()
                    .extend(value);
            }
        }
        let mut course = Self::default();
        for (tick, values) in at_tick.into_iter().filter(|(_, values)| !values.is_empty()) {
            course.time_s.push(tick as f64 * tick_period_s);
            course
                .mean
                .push(values.iter().sum::<f64>() / values.len() as f64);
            course
                .low
                .push(values.iter().copied().fold(f64::INFINITY, f64::min));
            course
                .high
                .push(values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
        course
    }

    fn line<'a>(&'a self, values: &'a [f64]) -> impl DoubleEndedIterator<Item = (f64, f64)> + 'a {
        self.time_s.iter().copied().zip(values.iter().copied())
    }

    fn draw<Y: Ranged<ValueType = f64>>(
        &self,
        chart: &Chart<'_, '_, RangedCoordf64, Y>,
        color: RGBColor,
        floor: f64,
    ) -> Drawn {
        let above = |(time, value): (f64, f64)| (time, value.max(floor));
        let band: Vec<_> = self
            .line(&self.low)
            .chain(self.line(&self.high).rev())
            .map(above)
            .collect();
        chart
            .plotting_area()
            .draw(&Polygon::new(band, color.mix(0.14).filled()))?;
        let mean: Vec<_> = self.line(&self.mean).map(above).collect();
        chart
            .plotting_area()
            .draw(&PathElement::new(mean, line(color, 2.0)))?;
        Ok(())
    }
}

/// The mean of each value and those before it, `span` in all, of those that are there.
fn smooth(values: &[Option<f64>], span: usize) -> Vec<Option<f64>> {
    (0..values.len())
        .map(|at| {
            let window = &values[(at + 1).saturating_sub(span)..=at];
            let present: Vec<f64> = window
                .iter()
                .copied()
                .flatten()
                .filter(|value| value.is_finite())
                .collect();
            (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
        })
        .collect()
}

/// The longest run.
fn duration_s(report: &DemoReport<'_>) -> f64 {
    let logs = report.rules.iter().flat_map(|rule| &rule.logs);
    let last = logs
        .filter_map(|log| {
            Some(
                log.ticks
                    .last()?
                    .tick
                    .saturating_sub(log.ticks.first()?.tick),
            )
        })
        .max();
    (last.unwrap_or(0) + 1) as f64 * report.tick_period_s
}

/// Distance from the target path over time, every rule.
pub fn path_error(report: &DemoReport<'_>) -> Result<String, ReportError> {
    let error: Signal = |tick| {
        tick.tracking
            .map(|tracking| f64::from(tracking.cross_track_m).abs())
    };
    let courses: Vec<Course> = report
        .rules
        .iter()
        .map(|rule| Course::new(rule, report.tick_period_s, 0.0, error))
        .collect();
    let highest = extent(
        courses
            .iter()
            .flat_map(|course| course.high.iter().copied()),
    )
    .end;
    let y = 0.0..1.1 * highest;
    svg("path error", WIDE, HEIGHT, |area| {
        let mut chart = margins(area).build_cartesian_2d(0.0..duration_s(report), y.clone())?;
        mesh(&mut chart, area, "time (s)", "distance from the path (m)")?;
        mark_change(&chart, report, &y)?;
        for (index, course) in courses.iter().enumerate() {
            course.draw(&chart, rule_color(index), 0.0)?;
        }
        Ok(())
    })
}

/// Error of one-step prediction over time under one rule: theta* against the parameters planned with, on the same transitions.
pub fn prediction_error(report: &DemoReport<'_>, index: usize) -> Result<String, ReportError> {
    let star: Signal = |tick| tick.adaptation.as_ref()?.error_star.map(f64::from);
    let used: Signal = |tick| tick.adaptation.as_ref()?.error_used.map(f64::from);
    let course =
        |rule: &RuleRuns<'_>, signal| Course::new(rule, report.tick_period_s, SMOOTHING_S, signal);
    let y = decades(
        report
            .rules
            .iter()
            .flat_map(|rule| [course(rule, star), course(rule, used)]),
    );
    let rule = &report.rules[index];
    svg("prediction error", NARROW, 250, |area| {
        let mut chart =
            margins(area).build_cartesian_2d(0.0..duration_s(report), y.clone().log_scale())?;
        mesh(
            &mut chart,
            area,
            "time (s)",
            "squared error, in units of the scales",
        )?;
        mark_change(&chart, report, &y)?;
        course(rule, star).draw(&chart, STAR, y.start)?;
        course(rule, used).draw(&chart, rule_color(index), y.start)
    })
}

/// Whole decades around the means of the courses.
fn decades(courses: impl Iterator<Item = Course>) -> Range<f64> {
    let means: Vec<f64> = courses
        .flat_map(|course| course.mean)
        .filter(|mean| *mean > 0.0)
        .collect();
    let Range { start, end } = extent(means.into_iter().map(f64::log10));
    0.99 * 10f64.powf(start.floor())..10f64.powf(end.ceil())
}

fn margins<'a, 'b>(area: &'a super::Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .margin_top(30 * FINE)
        .margin_right(12 * FINE)
        .x_label_area_size(42 * FINE)
        .y_label_area_size(52 * FINE);
    builder
}

/// A line that marks the change, with its name at the top.
fn mark_change<Y: Ranged<ValueType = f64>>(
    chart: &Chart<'_, '_, RangedCoordf64, Y>,
    report: &DemoReport<'_>,
    y: &Range<f64>,
) -> Drawn {
    let at = report.change_time_s;
    let area = chart.plotting_area();
    area.draw(&PathElement::new(
        vec![(at, y.start), (at, y.end)],
        line(INK, 1.0),
    ))?;
    // On the side where there is more room.
    let (side, gap) = if at < 0.5 * duration_s(report) {
        (HPos::Left, 5)
    } else {
        (HPos::Right, -5)
    };
    let style = font().color(&INK).pos(Pos::new(side, VPos::Top));
    let offset = (gap * FINE as i32, 2 * FINE as i32);
    area.draw(
        &(EmptyElement::at((at, y.end)) + Text::new(report.change.to_owned(), offset, style)),
    )?;
    Ok(())
}
