//! The path to follow: its shapes, the projection of a position on it, the reference that runs along it.

use nalgebra::{Point2, Vector2};
use serde::Deserialize;

/// The shapes of the paper's terrain runs, and a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PathShape {
    /// Along x.
    Straight,
    /// Anticlockwise, starting along x; the size is the radius.
    Circle,
    /// Legs that turn by 60 degrees left and right about x; the size is a leg's length.
    ZigZag,
    /// Two circles that touch, the left one first; the size is the length over both.
    #[serde(rename = "figure-8")]
    Figure8,
}

/// A path from the origin as a polyline, with the arc length at each corner. A closed shape is followed round and round.
#[derive(Debug, Clone)]
pub struct Path {
    points: Vec<Point2<f64>>,
    arc: Vec<f64>,
    closed: bool,
}

/// A point of the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathPoint {
    /// Position, m.
    pub position: Point2<f64>,
    /// Direction of travel, rad.
    pub heading: f64,
}

const CIRCLE_SIDES: usize = 360;
const ZIG_ZAG_LEGS: usize = 40;

/// From the origin, first along x, anticlockwise.
fn circle(radius_m: f64) -> impl Iterator<Item = Point2<f64>> {
    let turn = |i: usize| std::f64::consts::TAU * i as f64 / CIRCLE_SIDES as f64;
    (0..=CIRCLE_SIDES)
        .map(move |i| Point2::new(radius_m * turn(i).sin(), radius_m * (1.0 - turn(i).cos())))
}

impl Path {
    /// The path of a shape and size (m), moved and turned so that it starts at the origin along x.
    pub fn new(shape: PathShape, size_m: f64) -> Self {
        let (points, closed): (Vec<_>, _) = match shape {
            PathShape::Straight => (vec![Point2::origin(), Point2::new(size_m, 0.0)], false),
            PathShape::Circle => (circle(size_m).collect(), true),
            PathShape::ZigZag => {
                let step = |i: usize| {
                    Vector2::new(
                        30f64.to_radians().cos(),
                        if i.is_multiple_of(2) { 0.5 } else { -0.5 },
                    ) * size_m
                };
                let mut at = Point2::origin();
                let corners = (0..ZIG_ZAG_LEGS).map(|i| {
                    at += step(i);
                    at
                });
                (
                    std::iter::once(Point2::origin()).chain(corners).collect(),
                    false,
                )
            }
            PathShape::Figure8 => {
                let right = circle(0.25 * size_m).map(|p| Point2::new(p.x, -p.y));
                (circle(0.25 * size_m).chain(right.skip(1)).collect(), true)
            }
        };
        Self::through(points, closed).starting_along_x()
    }

    fn through(points: Vec<Point2<f64>>, closed: bool) -> Self {
        let mut arc = vec![0.0];
        for pair in points.windows(2) {
            arc.push(arc[arc.len() - 1] + (pair[1] - pair[0]).norm());
        }
        Self {
            points,
            arc,
            closed,
        }
    }

    fn starting_along_x(self) -> Self {
        let first = self.points[1] - self.points[0];
        let turn = nalgebra::Rotation2::new(-first.y.atan2(first.x));
        let start = self.points[0].coords;
        let points = self.points.iter().map(|p| turn * (p - start)).collect();
        Self::through(points, self.closed)
    }

    /// Length of the path, or of one round of a closed one, m.
    pub fn length_m(&self) -> f64 {
        self.arc[self.arc.len() - 1]
    }

    /// The polyline's corners, m, for plots.
    pub fn points(&self) -> &[Point2<f64>] {
        &self.points
    }

    /// The point at an arc length (m). A closed path goes round; an open one is continued straight at both ends.
    pub fn at(&self, arc_m: f64) -> PathPoint {
        let arc_m = if self.closed {
            arc_m.rem_euclid(self.length_m())
        } else {
            arc_m
        };
        let after = self
            .arc
            .partition_point(|&a| a <= arc_m)
            .clamp(1, self.arc.len() - 1);
        let (from, to) = (self.points[after - 1], self.points[after]);
        let along = (to - from).normalize();
        PathPoint {
            position: from + along * (arc_m - self.arc[after - 1]),
            heading: along.y.atan2(along.x),
        }
    }

    /// Arc length (m) of the point nearest to `position` among arc lengths `from` to `to`, to a hundredth of the way between them.
    fn nearest(&self, position: Point2<f64>, from: f64, to: f64) -> f64 {
        const STEPS: u32 = 100;
        let step_m = (to - from) / f64::from(STEPS);
        let candidates = (0..=STEPS).map(|step| {
            let arc = from + f64::from(step) * step_m;
            (arc, (self.at(arc).position - position).norm_squared())
        });
        let nearest = candidates.min_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map_or(from, |(arc, _)| arc)
    }
}

/// How far ahead of the last progress the next one is searched: so many ticks' way, and at least so many metres; half as
/// far back.
const REACH_TICKS: f64 = 5.0;
const LEAST_REACH_M: f64 = 0.1;

/// Where on the path the robot is. Progress is searched near the last one, so that a crossing does not confuse it.
#[derive(Debug, Clone)]
pub struct Tracker {
    path: Path,
    progress_m: f64,
    reach_m: f64,
}

impl Tracker {
    /// At the start of a path that is followed by about `step_m` a tick.
    pub fn new(path: Path, step_m: f64) -> Self {
        Self {
            path,
            progress_m: 0.0,
            reach_m: (REACH_TICKS * step_m).max(LEAST_REACH_M),
        }
    }

    /// Moves to the position's projection and returns the signed distance to the path, m, left positive.
    /// A position that is not finite moves nothing.
    pub fn update(&mut self, x_m: f64, y_m: f64) -> f64 {
        let position = Point2::new(x_m, y_m);
        if !(x_m.is_finite() && y_m.is_finite()) {
            return f64::NAN;
        }
        self.progress_m = self.path.nearest(
            position,
            self.progress_m - 0.5 * self.reach_m,
            self.progress_m + self.reach_m,
        );
        let here = self.path.at(self.progress_m);
        let offset = position - here.position;
        let side = here.heading.cos() * offset.y - here.heading.sin() * offset.x;
        offset.norm().copysign(side)
    }

    /// Distance covered along the path, m.
    pub fn progress_m(&self) -> f64 {
        self.progress_m
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the reference of the next ticks: x (m), y (m), heading (rad) for each, the path's points at `spacing_m`,
    /// 2 `spacing_m`, … ahead. `reference` is (H, 3), row-major.
    pub fn reference(&self, spacing_m: f64, reference: &mut [f32]) {
        for (step, row) in reference.chunks_exact_mut(3).enumerate() {
            let point = self
                .path
                .at(self.progress_m + (step + 1) as f64 * spacing_m);
            row.copy_from_slice(&[
                point.position.x as f32,
                point.position.y as f32,
                point.heading as f32,
            ]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_starts_at_the_origin_along_x() {
        for shape in [
            PathShape::Straight,
            PathShape::Circle,
            PathShape::ZigZag,
            PathShape::Figure8,
        ] {
            let start = Path::new(shape, 2.0).at(0.0);
            assert!(start.position.coords.norm() < 1e-12, "{shape:?}");
            assert!(start.heading.abs() < 1e-12, "{shape:?}");
        }
    }

    #[test]
    fn a_closed_path_goes_round() {
        let path = Path::new(PathShape::Circle, 1.0);
        assert!((path.length_m() - std::f64::consts::TAU).abs() < 1e-3);
        let (once, twice) = (path.at(1.0), path.at(1.0 + path.length_m()));
        assert!((once.position - twice.position).norm() < 1e-9);
    }

    #[test]
    fn the_tracker_keeps_its_way_through_the_crossing() {
        let path = Path::new(PathShape::Figure8, 2.0);
        let round = path.length_m();
        let mut tracker = Tracker::new(path.clone(), 0.03);
        for i in 0..300 {
            let arc = i as f64 * 0.03;
            let point = path.at(arc);
            let left = Point2::new(
                point.position.x - 0.02 * point.heading.sin(),
                point.position.y + 0.02 * point.heading.cos(),
            );
            let distance = tracker.update(left.x, left.y);
            assert!((distance - 0.02).abs() < 0.004, "at {arc}: {distance}");
            assert!(
                (tracker.progress_m() - arc).abs() < 0.01,
                "at {arc}: {}",
                tracker.progress_m()
            );
        }
        assert!(tracker.progress_m() > round);
    }

    #[test]
    fn a_position_that_is_not_finite_moves_nothing() {
        let mut tracker = Tracker::new(Path::new(PathShape::Straight, 1.0), 0.02);
        tracker.update(0.1, 0.0);
        let before = tracker.progress_m();
        assert!(tracker.update(f64::NAN, 0.0).is_nan());
        assert_eq!(tracker.progress_m(), before);
    }
}
