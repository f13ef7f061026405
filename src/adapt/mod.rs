//! The update rules, from the meta-trained parameters every tick, and the gate that may refuse one.
//!
//! The rule is GrBAL's (Nagabandi et al., ICLR 2019): `theta' = theta* - alpha * grad L(last M transitions; theta*)`.
//! Transitions that theta* predicts far worse than the others, as after a sensor's spike, are left out of the window. The gate
//! makes the same step once more without the newest transitions and scores it, beside theta*, on just those: only if the
//! step would have helped there is it trusted for the plan.

use std::ops::Range;

use crate::log::schema::{Adaptation, Decision};
use crate::model::{Clock, DynamicsModel, ModelError, Parameters, Program, Runtime, derive};
use crate::robot::{AdaptSettings, Rule};
use crate::state::{Transition, Window};

/// Adapts a model's parameters to a window of transitions. Holds theta*, the parameters in use, and the derived sessions.
pub struct Adapter {
    settings: AdaptSettings,
    adapt: Program,
    errors: Program,
    window: usize,
    states: usize,
    actions: usize,
    star: Parameters,
    used: Parameters,
    /// Errors of theta* and of a rival on each transition of the window (M).
    star_errors: Vec<f32>,
    rival_errors: Vec<f32>,
    /// Transitions that are no outliers (M), and room to find the median of their errors.
    sound: Vec<bool>,
    sorted: Vec<f32>,
}

/// How much a tick has time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// What the rule says.
    Adapt,
    /// Keep the parameters of the last tick.
    Keep,
    /// Go back to theta*.
    Star,
}

/// Index of the mask among the inputs of the adapt graph, behind state, action and next_state.
const MASK: usize = 3;
/// Where the parameters start among the inputs of the adapt graph.
const FIRST_TO_ADAPT: usize = 4;
/// Where the parameters start among the inputs of the errors graph.
const FIRST_TO_SCORE: usize = 3;
/// A transition is an outlier where theta*'s error is so many times the window's median.
const OUTLIER: f32 = 16.0;
/// Where theta' starts among the outputs of the adapt graph, behind the losses and norms.
const FIRST_ADAPTED: usize = 4;

/// What a step gave.
#[derive(Debug, Clone, Copy)]
struct Step {
    loss_before: f32,
    loss_after: f32,
    gradient_norm: f32,
    /// Length of the step; where steps are carried on, the whole way from theta*.
    step_norm: f32,
}

impl Adapter {
    /// Derives the adapt and errors graphs of a model and makes their sessions. `clock` times ONNX Runtime.
    ///
    /// # Errors
    /// [`ModelError`] when a graph cannot be derived or ONNX Runtime refuses it.
    pub fn new(
        runtime: &Runtime,
        model: &DynamicsModel,
        settings: &AdaptSettings,
        clock: Clock,
    ) -> Result<Self, ModelError> {
        let program =
            |name: &'static str, function: Result<onnx_grad::Function, onnx_grad::Error>| {
                let function = function.map_err(|source| ModelError::Derive {
                    graph: name,
                    source: Box::new(source),
                })?;
                Program::new(runtime, name, &function, model.onnx.opset(), clock)
            };
        let contract = &model.contract;
        if settings.gate_holdout >= contract.adapt.window {
            return Err(ModelError::Mismatch {
                reason: format!(
                    "robot.toml's adapt.gate_holdout = {} leaves nothing of its window of {}",
                    settings.gate_holdout, contract.adapt.window
                ),
            });
        }
        let star = Parameters::new(&model.parameters());
        Ok(Self {
            settings: settings.clone(),
            adapt: program("adapt", derive::adapt(&model.onnx, contract))?,
            errors: program("errors", derive::errors(&model.onnx, contract))?,
            window: contract.adapt.window,
            states: contract.state.len(),
            actions: contract.action.len(),
            used: star.clone(),
            star,
            star_errors: vec![0.0; contract.adapt.window],
            rival_errors: vec![0.0; contract.adapt.window],
            sound: vec![false; contract.adapt.window],
            sorted: Vec::with_capacity(contract.adapt.window),
        })
    }

    /// M, the transitions that the window should hold.
    pub fn window_length(&self) -> usize {
        self.window
    }

    /// The parameters to plan with.
    pub fn parameters(&self) -> &Parameters {
        &self.used
    }

    /// Time spent in ONNX Runtime since this was last asked, ns.
    pub fn take_inference_ns(&mut self) -> u64 {
        self.adapt.take_inference_ns() + self.errors.take_inference_ns()
    }

    /// Adapts to a window, as the rule and the effort say. `newest` tells that the window's last transition was added in
    /// this tick, so that the parameters used so far can be scored on it first. When ONNX Runtime fails, theta* is used
    /// and the failure returned beside the record.
    pub fn update(
        &mut self,
        window: &Window,
        newest: bool,
        effort: Effort,
    ) -> (Adaptation, Option<ModelError>) {
        let mut record = Adaptation {
            window: window.len() as u32,
            ..Adaptation::default()
        };
        let result = self.decide(window, newest, effort, &mut record);
        if result.is_err() {
            self.used.copy_from(&self.star);
        }
        record.set_decision(*result.as_ref().unwrap_or(&Decision::Refused));
        record.parameter_hash = self.used.hash().to_vec();
        (record, result.err())
    }

    fn decide(
        &mut self,
        window: &Window,
        newest: bool,
        effort: Effort,
        record: &mut Adaptation,
    ) -> Result<Decision, ModelError> {
        let length = window.len();
        if newest {
            self.fill(window);
            self.score(Which::Star)?;
            record.error_star = Some(self.star_errors[length - 1]);
            record.error_used = record.error_star;
            if self.used.hash() != self.star.hash() {
                self.score(Which::Used)?;
                record.error_used = Some(self.rival_errors[length - 1]);
            }
        }
        if self.settings.rule == Rule::None {
            return Ok(Decision::Off);
        }
        if effort == Effort::Keep {
            return Ok(Decision::Shed);
        }
        let holdout = self.settings.gate_holdout;
        if effort == Effort::Star || length <= holdout {
            self.used.copy_from(&self.star);
            return Ok(if effort == Effort::Star {
                Decision::Shed
            } else {
                Decision::WindowShort
            });
        }
        if self.settings.rule == Rule::OneStep {
            self.used.copy_from(&self.star);
        }
        if !newest {
            self.fill(window);
            self.score(Which::Star)?;
        }
        record.window = self.find_outliers(length) as u32;

        let split = length - holdout;
        let trial = self.step(0..split)?;
        self.score(Which::Trial)?;
        let star = self.sound_mean(&self.star_errors, split..length);
        let adapted = self.sound_mean(&self.rival_errors, split..length);
        record.gate_loss_star = Some(star);
        record.gate_loss_adapted = Some(adapted);
        let helps = adapted < star && self.accepts(&trial);

        let mut step = self.step(0..length)?;
        if self.settings.rule == Rule::Continued {
            step.step_norm = self.distance_from_star();
        }
        record.loss_before = Some(step.loss_before);
        record.loss_after = Some(step.loss_after);
        record.gradient_norm = Some(step.gradient_norm);
        record.step_norm = Some(step.step_norm);
        if helps && self.accepts(&step) {
            self.take_adapted();
            Ok(Decision::Adapted)
        } else {
            self.used.copy_from(&self.star);
            Ok(Decision::Refused)
        }
    }

    /// Marks the transitions that are no outliers, and returns how many there are.
    fn find_outliers(&mut self, length: usize) -> usize {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.star_errors[..length]);
        self.sorted.sort_unstable_by(f32::total_cmp);
        let limit = OUTLIER * self.sorted[length / 2];
        for (sound, error) in self.sound.iter_mut().zip(&self.star_errors[..length]) {
            *sound = error.is_finite() && *error <= limit;
        }
        // A mask of 0 does not hide what is infinite: nothing of an outlier may reach the step.
        for (input, width) in [(0, self.states), (1, self.actions), (2, self.states)] {
            let rows = self.adapt.input_mut(input).chunks_exact_mut(width);
            for (row, _) in rows
                .zip(&self.sound[..length])
                .filter(|(_, sound)| !**sound)
            {
                row.fill(0.0);
            }
        }
        self.sound[..length].iter().filter(|sound| **sound).count()
    }

    /// Mean error of the sound transitions in a part of the window; NaN, which is not less than anything, when there are none.
    fn sound_mean(&self, errors: &[f32], part: Range<usize>) -> f32 {
        let sound = errors[part.clone()].iter().zip(&self.sound[part]);
        let (mut sum, mut count) = (0.0, 0.0);
        for (error, _) in sound.filter(|(_, sound)| **sound) {
            sum += error;
            count += 1.0;
        }
        sum / count
    }

    /// Whether a step is finite and within the bound on the parameters' change.
    fn accepts(&self, step: &Step) -> bool {
        let finite = [step.loss_before, step.loss_after, step.gradient_norm]
            .iter()
            .all(|v| v.is_finite());
        finite && step.step_norm <= self.settings.step_norm_limit
    }

    fn fill(&mut self, window: &Window) {
        let (states, actions) = (self.states, self.actions);
        for program in [&mut self.adapt, &mut self.errors] {
            copy_rows(program.input_mut(0), states, window, |t| &t.state);
            copy_rows(program.input_mut(1), actions, window, |t| &t.action);
            copy_rows(program.input_mut(2), states, window, |t| &t.next_state);
        }
    }

    /// One inner step from the parameters in use, on the sound transitions of a part of the window; theta' stays in the
    /// adapt graph's outputs.
    fn step(&mut self, part: Range<usize>) -> Result<Step, ModelError> {
        let mask = self.adapt.input_mut(MASK).iter_mut().zip(&self.sound);
        for (index, (mask, sound)) in mask.enumerate() {
            *mask = if part.contains(&index) && *sound {
                1.0
            } else {
                0.0
            };
        }
        self.adapt.set_parameters(FIRST_TO_ADAPT, &self.used);
        self.adapt.run()?;
        let scalar = |index: usize| self.adapt.output(index)[0];
        Ok(Step {
            loss_before: scalar(0),
            loss_after: scalar(1),
            gradient_norm: scalar(2),
            step_norm: scalar(3),
        })
    }

    /// Euclidean distance of theta' from theta*, where the step did not start from theta*.
    fn distance_from_star(&self) -> f32 {
        let mut sum = 0.0;
        for (index, star) in self.star.values().iter().enumerate() {
            let adapted = self.adapt.output(FIRST_ADAPTED + index);
            let squares = star.iter().zip(adapted).map(|(s, a)| (a - s) * (a - s));
            sum += f64::from(squares.sum::<f32>());
        }
        sum.sqrt() as f32
    }

    /// Scores parameters on every transition of the window.
    fn score(&mut self, which: Which) -> Result<(), ModelError> {
        match which {
            Which::Star => self.errors.set_parameters(FIRST_TO_SCORE, &self.star),
            Which::Used => self.errors.set_parameters(FIRST_TO_SCORE, &self.used),
            Which::Trial => {
                self.errors
                    .take_parameters(FIRST_TO_SCORE, &self.adapt, FIRST_ADAPTED);
            }
        }
        self.errors.run()?;
        let errors = match which {
            Which::Star => &mut self.star_errors,
            Which::Used | Which::Trial => &mut self.rival_errors,
        };
        errors.copy_from_slice(self.errors.output(0));
        Ok(())
    }

    fn take_adapted(&mut self) {
        self.used
            .set(|index| self.adapt.output(FIRST_ADAPTED + index));
    }
}

#[derive(Clone, Copy)]
enum Which {
    Star,
    Used,
    Trial,
}

fn copy_rows(rows: &mut [f32], width: usize, window: &Window, of: impl Fn(&Transition) -> &[f32]) {
    for (row, transition) in rows.chunks_exact_mut(width).zip(window.transitions()) {
        row.copy_from_slice(of(transition));
    }
}
