//! The pictures of a report as SVG.
//!
//! Colours are those of the light page; the page's style sheet replaces them by value on a dark one, and gives each rule its
//! dashes, so that rules are told apart without colour, too.

use std::cmp::Ordering;
use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ReportError;

mod course;
mod path;
mod tick_time;

pub use course::{path_error, prediction_error};
pub use path::paths;
pub use tick_time::tick_time;

/// Axes and words.
const INK: RGBColor = RGBColor(0x1b, 0x1f, 0x24);
/// Labels of axes.
const MUTED: RGBColor = RGBColor(0x5a, 0x64, 0x72);
/// Grid lines.
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xec);
/// The target path.
const TARGET: RGBColor = RGBColor(0xb4, 0xbd, 0xc8);
/// theta* where it is set against the adapted parameters.
const STAR: RGBColor = RGBColor(0x8a, 0x94, 0xa2);
/// The rules in their order, after Okabe and Ito's palette for all kinds of colour vision.
const RULES: [RGBColor; 3] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
];

/// Units of the drawing to one of the page: plotters places by whole units, which are too coarse on the page.
const FINE: u32 = 4;
/// Width of a time chart on the page.
const WIDE: u32 = 440;
/// Width of a path chart on the page.
const NARROW: u32 = 360;

type Drawn = Result<(), Box<dyn Error + Send + Sync>>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a chart of the given size on the page.
fn svg(
    chart: &'static str,
    width: u32,
    height: u32,
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, ReportError> {
    let mut text = String::new();
    let area =
        SVGBackend::with_string(&mut text, (width * FINE, height * FINE)).into_drawing_area();
    let drawn = draw(&area).and_then(|()| Ok(area.present()?));
    drop(area);
    drawn
        .map_err(|cause| ReportError::Draw { chart, cause })
        .map(|()| text)
}

/// The style of all words.
fn font() -> TextStyle<'static> {
    // 13 on the page; plotters divides by 1.24.
    ("sans-serif", 13.0 * 1.24 * f64::from(FINE))
        .into_font()
        .color(&MUTED)
}

fn line(color: RGBColor, width: f64) -> ShapeStyle {
    color.stroke_width((width * f64::from(FINE)) as u32)
}

fn rule_color(index: usize) -> RGBColor {
    RULES[index % RULES.len()]
}

/// Axes, grid and labels; the axes' names stand where they are read without turning the head.
fn mesh<X, Y>(chart: &mut Chart<'_, '_, X, Y>, area: &Area<'_>, x_name: &str, y_name: &str) -> Drawn
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .x_labels(6)
        .y_labels(6)
        .max_light_lines(0)
        .bold_line_style(line(GRID, 1.0))
        .axis_style(line(MUTED, 1.0))
        .label_style(font())
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .set_all_tick_mark_size(4 * FINE)
        .draw()?;
    area.draw_text(y_name, &font(), (4 * FINE as i32, 2 * FINE as i32))?;
    axis_name(area, x_name)
}

/// The name of the horizontal axis, at its end.
fn axis_name(area: &Area<'_>, name: &str) -> Drawn {
    let (width, height) = area.dim_in_pixel();
    let corner = font().pos(Pos::new(HPos::Right, VPos::Bottom));
    area.draw_text(
        name,
        &corner,
        (
            width as i32 - 12 * FINE as i32,
            height as i32 - 2 * FINE as i32,
        ),
    )?;
    Ok(())
}

type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// A number as short as it can be without a loss that a reader of an axis would notice.
fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

/// From the lowest to the highest finite value, never empty.
fn extent(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    match low.partial_cmp(&high) {
        Some(Ordering::Less) => low..high,
        Some(Ordering::Equal) => low - 1.0..high + 1.0,
        _ => -1.0..1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colour that the style sheet forgets would be unreadable on a dark page.
    #[test]
    fn every_colour_has_its_counterpart_on_a_dark_page() {
        let (_, dark) = include_str!("../page.css")
            .split_once("prefers-color-scheme: dark")
            .unwrap();
        for RGBColor(r, g, b) in [INK, MUTED, GRID, TARGET, STAR].into_iter().chain(RULES) {
            assert!(dark.contains(&format!("[stroke=\"#{r:02X}{g:02X}{b:02X}\"]")));
        }
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!(
            [0.0, -0.00001, 0.5, 12.0, 0.001, 100.0].map(short),
            ["0", "0", "0.5", "12", "0.001", "100"]
        );
    }

    #[test]
    fn an_extent_is_never_empty() {
        assert_eq!(extent([2.0, f64::NAN, -1.0].into_iter()), -1.0..2.0);
        assert_eq!(extent([2.0].into_iter()), 1.0..3.0);
        assert_eq!(extent([].into_iter()), -1.0..1.0);
    }
}
