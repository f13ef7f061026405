//! How long ticks take, phase by phase, against their deadline.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{FINE, GRID, INK, MUTED, WIDE, axis_name, extent, font, line, rule_color, short, svg};
use crate::report::summary::{PHASES, PhaseTime};
use crate::report::{DemoReport, ReportError, Summary};

/// Height of a phase on the page.
const ROW: u32 = 41;

/// One row a phase and the whole tick, in it one line a rule: from the median (dot) to 99 % of ticks (line) and the slowest
/// (bar), on a logarithmic axis that holds the deadline.
pub fn tick_time(report: &DemoReport<'_>, summaries: &[Summary]) -> Result<String, ReportError> {
    let whole = |summary: &Summary| PhaseTime {
        ms_p50: summary.tick_ms_p50,
        ms_p99: summary.tick_ms_p99,
        ms_max: summary.tick_ms_max,
    };
    let names = PHASES
        .map(|(name, _)| name)
        .into_iter()
        .chain(["whole tick"]);
    let rows: Vec<(&str, Vec<PhaseTime>)> = names
        .map(|name| {
            (
                name,
                summaries
                    .iter()
                    .map(|summary| summary.phases.get(name).copied().unwrap_or(whole(summary)))
                    .collect(),
            )
        })
        .collect();
    let deadline_ms = report.tick_period_s * 1e3;
    let times = rows
        .iter()
        .flat_map(|(_, times)| times)
        .flat_map(|time| [time.ms_p50, time.ms_max]);
    let x = extent(
        times
            .filter(|ms| *ms > 0.0)
            .chain([deadline_ms])
            .map(f64::log10),
    );
    let x = 0.99 * 10f64.powf(x.start.floor())..10f64.powf(x.end.ceil());
    svg("tick time", WIDE, ROW * rows.len() as u32 + 72, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_top(30 * FINE)
            .margin_right(12 * FINE)
            .x_label_area_size(42 * FINE)
            .y_label_area_size(86 * FINE)
            .build_cartesian_2d(x.clone().log_scale(), rows.len() as f64..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .max_light_lines(0)
            .bold_line_style(line(GRID, 1.0))
            .axis_style(line(MUTED, 1.0))
            .label_style(font())
            .x_label_formatter(&|ms| short(*ms))
            .draw()?;
        axis_name(area, "time (ms)")?;
        let plot = chart.plotting_area();
        plot.draw(&PathElement::new(
            vec![(deadline_ms, 0.0), (deadline_ms, rows.len() as f64)],
            line(INK, 1.0),
        ))?;
        let style = font().color(&INK).pos(Pos::new(HPos::Right, VPos::Bottom));
        plot.draw(
            &(EmptyElement::at((deadline_ms, 0.0))
                + Text::new("deadline", (0, -4 * FINE as i32), style)),
        )?;
        for (row, (name, times)) in rows.iter().enumerate() {
            let style = font().color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
            plot.draw(
                &(EmptyElement::at((x.start, row as f64 + 0.5))
                    + Text::new(*name, (-8 * FINE as i32, 0), style)),
            )?;
            for (index, time) in times.iter().enumerate() {
                let y = row as f64 + (index + 1) as f64 / (times.len() + 1) as f64;
                let [median, most, slowest] =
                    [time.ms_p50, time.ms_p99, time.ms_max].map(|ms| ms.max(x.start));
                let color = rule_color(index);
                plot.draw(&PathElement::new(
                    vec![(median, y), (most, y)],
                    line(color, 2.0),
                ))?;
                plot.draw(&Circle::new((median, y), 4 * FINE, color.filled()))?;
                plot.draw(&PathElement::new(
                    vec![(slowest, y - 0.08), (slowest, y + 0.08)],
                    line(color, 2.0),
                ))?;
            }
        }
        Ok(())
    })
}
