//! Runs of transitions, the statistics over all of them, and tasks cut out of them.

use std::path::Path;

use rand::{Rng, RngExt};

use super::{RecipeError, TrainError};
use crate::log::Log;
use crate::robot::Robot;
use crate::run::contract;
use crate::state::Encoder;

/// States of one run without a gap, one tick apart, and the actions applied between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// States, oldest first (T + 1, S).
    pub states: Vec<Vec<f32>>,
    /// Actions (T, A): the action over the tick that follows the state of the same index.
    pub actions: Vec<Vec<f32>>,
}

impl Run {
    /// Number of transitions, T.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// Whether it has no transition.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }
}

/// Runs for training and for validation.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Runs that tasks for training are cut out of.
    pub training: Vec<Run>,
    /// Runs that are kept for validation, whole.
    pub validation: Vec<Run>,
}

impl Dataset {
    /// Splits runs: every n-th is kept for validation, so that about `share` of them are. Runs that are too short for a task
    /// of `length` transitions are left out. `None` when either part would be empty.
    pub fn split(runs: Vec<Run>, share: f64, length: usize) -> Option<Self> {
        let every = (1.0 / share).round().max(2.0) as usize;
        let (mut training, mut validation) = (Vec::new(), Vec::new());
        for (index, run) in runs
            .into_iter()
            .filter(|run| run.len() >= length)
            .enumerate()
        {
            if index % every == every - 1 {
                validation.push(run)
            } else {
                training.push(run)
            }
        }
        (!training.is_empty() && !validation.is_empty()).then_some(Self {
            training,
            validation,
        })
    }

    /// Transitions over all training runs.
    pub fn transitions(&self) -> usize {
        self.training.iter().map(Run::len).sum()
    }
}

/// Reads the runs of a log, cut where a tick is missing, late, unarmed or not finite.
///
/// # Errors
/// [`TrainError::Log`] when the log cannot be read or is damaged, [`TrainError::OtherRobot`] when it is another robot's.
pub fn runs_of_log(path: &Path, robot: &Robot, states: &[String]) -> Result<Vec<Run>, TrainError> {
    let mut log = Log::read(path)?;
    if !log.damage.is_empty() {
        return Err(log.damage.swap_remove(0).into());
    }
    let recorded = Robot::parse(&log.run.robot_toml, path).map_err(RecipeError::from)?;
    if contract(&recorded) != contract(robot) {
        return Err(TrainError::OtherRobot {
            path: path.into(),
            robot: robot.name.clone(),
        });
    }
    let channel = |name: &String| {
        let index = robot
            .observation
            .iter()
            .position(|channel| &channel.name == name)?;
        Some((index, robot.observation[index].wraps))
    };
    let mut encoder = Encoder::new(states.iter().filter_map(channel));
    let period = u64::from(robot.period_us());
    let mut runs = vec![Run::default()];
    let mut last_us = None;
    for tick in &log.ticks {
        let mut state = vec![0.0; encoder.states()];
        let known = tick.robot_mode == surefoot_wire::Mode::Armed as u32
            && tick.observation.len() == robot.observation.len()
            && tick.applied.len() == robot.action.len()
            && tick.applied.iter().all(|value| value.is_finite())
            && encoder.encode(&tick.observation, &mut state).is_ok();
        let elapsed = last_us.map(|last| tick.robot_time_us.abs_diff(last));
        let follows = elapsed.is_some_and(|elapsed| elapsed.abs_diff(period) <= period / 4);
        last_us = known.then_some(tick.robot_time_us);
        if !known || !follows {
            runs.push(Run::default());
        }
        let Some(run) = runs.last_mut().filter(|_| known) else {
            continue;
        };
        if !run.states.is_empty() {
            run.actions.push(tick.applied.clone());
        }
        run.states.push(state);
    }
    runs.retain(|run| !run.is_empty());
    Ok(runs)
}

/// A task: `past + future` transitions that follow each other.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    run: &'a Run,
    start: usize,
}

impl<'a> Segment<'a> {
    /// Draws a segment of `length` transitions; every segment of every run is as likely as any other.
    ///
    /// # Panics
    /// If no run is as long.
    pub fn draw(runs: &'a [Run], length: usize, random: &mut impl Rng) -> Self {
        let places = |run: &Run| (run.len() + 1).saturating_sub(length);
        let mut place = random.random_range(0..runs.iter().map(places).sum());
        for run in runs {
            if place < places(run) {
                return Self { run, start: place };
            }
            place -= places(run);
        }
        unreachable!("the place is below the sum of places")
    }

    /// Writes `count` transitions from index `from` on, row by row. `origin` are the states that are places: they are
    /// written relative to the segment's first state, so that float32 keeps its digits far from the world's origin.
    pub fn write(&self, from: usize, count: usize, origin: &[usize], rows: Rows) {
        let (states, actions) = (self.run.states[0].len(), self.run.actions[0].len());
        let first = &self.run.states[self.start];
        for index in 0..count {
            let at = self.start + from + index;
            let place = |rows: &mut [f32], state: &[f32]| {
                let row = &mut rows[index * states..][..states];
                row.copy_from_slice(state);
                origin.iter().for_each(|&i| row[i] -= first[i]);
            };
            place(rows.state, &self.run.states[at]);
            place(rows.next_state, &self.run.states[at + 1]);
            rows.action[index * actions..][..actions].copy_from_slice(&self.run.actions[at]);
        }
    }
}

/// Where a segment is written: state and next state (N, S), action (N, A).
pub struct Rows<'a> {
    /// States before.
    pub state: &'a mut [f32],
    /// Actions applied.
    pub action: &'a mut [f32],
    /// States after.
    pub next_state: &'a mut [f32],
}

/// Mean and standard deviation of each column.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations, at least 1e-6.
    pub std: Vec<f32>,
}

impl Moments {
    /// Over rows of equal length.
    pub fn of(rows: impl Iterator<Item = Vec<f32>>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0f64, Vec::<f64>::new(), Vec::<f64>::new());
        for row in rows {
            mean.resize(row.len(), 0.0);
            squares.resize(row.len(), 0.0);
            count += 1.0;
            for ((value, mean), squares) in row.iter().zip(&mut mean).zip(&mut squares) {
                let off = f64::from(*value) - *mean;
                *mean += off / count;
                *squares += off * (f64::from(*value) - *mean);
            }
        }
        let std = squares
            .iter()
            .map(|squares| (squares / count).sqrt().max(1e-6) as f32)
            .collect();
        Self {
            mean: mean.into_iter().map(|mean| mean as f32).collect(),
            std,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn run(length: usize, first: f32) -> Run {
        Run {
            states: (0..=length).map(|i| vec![first + i as f32, 5.0]).collect(),
            actions: (0..length).map(|i| vec![-(i as f32)]).collect(),
        }
    }

    #[test]
    fn every_segment_is_drawn_and_stays_within_its_run() {
        let runs = [run(4, 0.0), run(2, 100.0), run(6, 200.0)];
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let segment = Segment::draw(&runs, 3, &mut random);
            seen.insert(segment.run.states[segment.start][0] as i32);
        }
        assert_eq!(
            seen.into_iter().collect::<Vec<_>>(),
            [0, 1, 200, 201, 202, 203]
        );
    }

    #[test]
    fn segments_are_written_relative_to_their_start() {
        let runs = [run(5, 1000.0)];
        let segment = Segment {
            run: &runs[0],
            start: 1,
        };
        let (mut state, mut action, mut next_state) = ([0.0; 4], [0.0; 2], [0.0; 4]);
        segment.write(
            1,
            2,
            &[0],
            Rows {
                state: &mut state,
                action: &mut action,
                next_state: &mut next_state,
            },
        );
        assert_eq!(state, [1.0, 5.0, 2.0, 5.0]);
        assert_eq!(next_state, [2.0, 5.0, 3.0, 5.0]);
        assert_eq!(action, [-2.0, -3.0]);
    }

    #[test]
    fn whole_runs_are_kept_for_validation() {
        let runs = (0..10)
            .map(|i| run(4, i as f32 * 10.0))
            .chain([run(1, 0.0)])
            .collect();
        let data = Dataset::split(runs, 0.2, 3).unwrap();
        assert_eq!((data.training.len(), data.validation.len()), (8, 2));
        assert!(Dataset::split(vec![run(1, 0.0)], 0.2, 3).is_none());
    }

    #[test]
    fn moments() {
        let moments = Moments::of([vec![1.0, 7.0], vec![3.0, 7.0]].into_iter());
        assert_eq!(
            moments,
            Moments {
                mean: vec![2.0, 7.0],
                std: vec![1.0, 1e-6]
            }
        );
    }
}
