//! Where the robot went, from above.

use std::ops::Range;

use plotters::prelude::*;

use super::{FINE, INK, NARROW, TARGET, extent, line, mesh, rule_color, svg};
use crate::log::schema::Tick;
use crate::report::{DemoReport, ReportError, timed};

/// One rule's paths from above, on the same ground for every rule.
pub fn paths(report: &DemoReport<'_>, index: usize) -> Result<String, ReportError> {
    let rule = &report.rules[index];
    let [x, y] = ground(report);
    let (left, bottom, top, right) = (44, 40, 26, 12);
    let width = NARROW - left - right;
    let height = (f64::from(width) * (y.end - y.start) / (x.end - x.start)).round() as u32;
    svg("paths", NARROW, height + top + bottom, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(top * FINE)
            .margin_right(right * FINE)
            .x_label_area_size(bottom * FINE)
            .y_label_area_size(left * FINE)
            .build_cartesian_2d(x, y)?;
        mesh(&mut chart, area, "x (m)", "y (m)")?;
        let ground = chart.plotting_area();
        let target: Vec<_> = report.path.iter().map(|&[x, y]| (x, y)).collect();
        ground.draw(&PathElement::new(target, line(TARGET, 7.0)))?;
        for log in &rule.logs {
            let points: Vec<_> = timed(log)
                .filter_map(|(time, tick)| Some((time, position(tick)?)))
                .collect();
            let change = points.partition_point(|(time, _)| *time < report.change_time_s);
            let path = |part: &[(f64, (f64, f64))]| {
                part.iter().map(|(_, point)| *point).collect::<Vec<_>>()
            };
            let before = path(&points[..(change + 1).min(points.len())]);
            ground.draw(&PathElement::new(before, line(rule_color(index), 1.0)))?;
            ground.draw(&PathElement::new(
                path(&points[change..]),
                line(rule_color(index), 2.0),
            ))?;
            if let Some((_, point)) = points.get(change) {
                ground.draw(&Circle::new(*point, 4 * FINE, INK.filled()))?;
            }
        }
        Ok(())
    })
}

/// The part of the ground that all paths of all rules lie in, with a margin, no flatter and no taller than a chart can be.
fn ground(report: &DemoReport<'_>) -> [Range<f64>; 2] {
    let driven = report
        .rules
        .iter()
        .flat_map(|rule| &rule.logs)
        .flat_map(|log| &log.ticks)
        .filter_map(position);
    let points: Vec<(f64, f64)> = report
        .path
        .iter()
        .map(|&[x, y]| (x, y))
        .chain(driven)
        .collect();
    let x = extent(points.iter().map(|point| point.0));
    let y = extent(points.iter().map(|point| point.1));
    let margin = 0.05 * (x.end - x.start).max(y.end - y.start);
    let widen = |range: Range<f64>, least: f64| {
        let more = (0.5 * (least - (range.end - range.start))).max(margin);
        range.start - more..range.end + more
    };
    let (width, height) = (x.end - x.start, y.end - y.start);
    [widen(x, 0.75 * height), widen(y, 0.5 * width)]
}

fn position(tick: &Tick) -> Option<(f64, f64)> {
    let tracking = tick
        .tracking
        .filter(|tracking| tracking.x_m.is_finite() && tracking.y_m.is_finite())?;
    Some((tracking.x_m.into(), tracking.y_m.into()))
}
