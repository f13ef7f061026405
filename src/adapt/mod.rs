//! The update rules, from the meta-trained parameters every tick, and the gate that may refuse one.
//!
//! The rule is GrBAL's (Nagabandi et al., ICLR 2019): `theta' = theta* - alpha * grad L(last M transitions; theta*)`.
//! The gate makes the same step once more without the newest transitions and scores it, beside theta*, on just those: only
//! if the step would have helped there is it trusted for the plan.

use crate::log::schema::{Adaptation, Decision};
use crate::model::{Clock, DynamicsModel, ModelError, Program, Runtime, derive};
use crate::robot::{AdaptSettings, Rule};
use crate::state::{Transition, Window};

/// Adapts a model's parameters to a window of transitions. Holds theta*, the parameters in use, and the derived sessions.
pub struct Adapter {
    settings: AdaptSettings,
    adapt: Program,
    loss: Program,
    window: usize,
    states: usize,
    actions: usize,
    star: Parameters,
    used: Parameters,
    mask: Vec<f32>,
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

/// Parameter values in file order, and their hash.
#[derive(Clone)]
struct Parameters {
    values: Vec<Vec<f32>>,
    hash: [u8; 16],
}

/// Where the parameters start among the inputs of the adapt and loss graphs, behind state, action, next_state and mask.
const FIRST_PARAMETER: usize = 4;
/// Where theta' starts among the outputs of the adapt graph, behind the losses and norms.
const FIRST_ADAPTED: usize = 4;

/// What a step gave.
#[derive(Debug, Clone, Copy)]
struct Step {
    loss_before: f32,
    loss_after: f32,
    gradient_norm: f32,
    /// Distance of theta' from theta*.
    step_norm: f32,
}

impl Adapter {
    /// Derives the adapt and loss graphs of a model and makes their sessions. `clock` times ONNX Runtime.
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
        let mut star = Parameters {
            values: model
                .parameters()
                .iter()
                .map(|values| values.to_vec())
                .collect(),
            hash: [0; 16],
        };
        star.rehash();
        Ok(Self {
            settings: settings.clone(),
            adapt: program("adapt", derive::adapt(&model.onnx, contract))?,
            loss: program("loss", derive::loss(&model.onnx, contract))?,
            window: contract.adapt.window,
            states: contract.state.len(),
            actions: contract.action.len(),
            used: star.clone(),
            star,
            mask: vec![0.0; contract.adapt.window],
        })
    }

    /// M, the transitions that the window should hold.
    pub fn window_length(&self) -> usize {
        self.window
    }

    /// The parameters to plan with, in file order.
    pub fn parameters(&self) -> &[Vec<f32>] {
        &self.used.values
    }

    /// Time spent in ONNX Runtime since this was last asked, ns.
    pub fn take_inference_ns(&mut self) -> u64 {
        self.adapt.take_inference_ns() + self.loss.take_inference_ns()
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
        record.parameter_hash = self.used.hash.to_vec();
        (record, result.err())
    }

    fn decide(
        &mut self,
        window: &Window,
        newest: bool,
        effort: Effort,
        record: &mut Adaptation,
    ) -> Result<Decision, ModelError> {
        if newest {
            self.fill(window);
            self.mask_range(window.len() - 1, window.len());
            record.error_star = Some(self.score(Which::Star)?);
            record.error_used = if self.used.hash == self.star.hash {
                record.error_star
            } else {
                Some(self.score(Which::Used)?)
            };
        }
        if self.settings.rule == Rule::None {
            return Ok(Decision::Off);
        }
        if effort == Effort::Keep {
            return Ok(Decision::Shed);
        }
        let holdout = self.settings.gate_holdout;
        if effort == Effort::Star || window.len() <= holdout {
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

        self.fill(window);
        let split = window.len() - holdout;
        self.mask_range(0, split);
        let trial = self.step()?;
        self.mask_range(split, window.len());
        let star = self.score(Which::Star)?;
        let adapted = self.score(Which::Trial)?;
        record.gate_loss_star = Some(star);
        record.gate_loss_adapted = Some(adapted);
        let helps = adapted < star && self.accepts(&trial);

        self.mask_range(0, window.len());
        let step = self.step()?;
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

    /// Whether a step is finite and within the bound on the parameters' change.
    fn accepts(&self, step: &Step) -> bool {
        let finite = [step.loss_before, step.loss_after, step.gradient_norm]
            .iter()
            .all(|v| v.is_finite());
        finite && step.step_norm <= self.settings.step_norm_limit
    }

    fn fill(&mut self, window: &Window) {
        let (states, actions) = (self.states, self.actions);
        for program in [&mut self.adapt, &mut self.loss] {
            copy_rows(program.input_mut(0), states, window, |t| &t.state);
            copy_rows(program.input_mut(1), actions, window, |t| &t.action);
            copy_rows(program.input_mut(2), states, window, |t| &t.next_state);
        }
    }

    fn mask_range(&mut self, from: usize, to: usize) {
        self.mask.fill(0.0);
        self.mask[from..to].fill(1.0);
    }

    /// One inner step from the parameters in use, on the unmasked rows; theta' stays in the adapt graph's outputs.
    fn step(&mut self) -> Result<Step, ModelError> {
        self.adapt.input_mut(3).copy_from_slice(&self.mask);
        self.adapt
            .set_parameters(FIRST_PARAMETER, &self.used.values);
        self.adapt.run()?;
        let scalar = |index: usize| self.adapt.output(index)[0];
        let from_star = match self.settings.rule {
            Rule::Continued => self.distance_from_star(),
            Rule::None | Rule::OneStep => scalar(3),
        };
        Ok(Step {
            loss_before: scalar(0),
            loss_after: scalar(1),
            gradient_norm: scalar(2),
            step_norm: from_star,
        })
    }

    /// Euclidean distance of theta' from theta*, where the step did not start from theta*.
    fn distance_from_star(&self) -> f32 {
        let outputs = (0..self.star.values.len()).map(|i| self.adapt.output(FIRST_ADAPTED + i));
        let pairs = self.star.values.iter().zip(outputs);
        let squares = pairs
            .flat_map(|(star, adapted)| star.iter().zip(adapted).map(|(s, a)| (a - s) * (a - s)));
        squares.map(f64::from).sum::<f64>().sqrt() as f32
    }

    /// Mean squared normalised error on the unmasked rows.
    fn score(&mut self, which: Which) -> Result<f32, ModelError> {
        self.loss.input_mut(3).copy_from_slice(&self.mask);
        match which {
            Which::Star => self.loss.set_parameters(FIRST_PARAMETER, &self.star.values),
            Which::Used => self.loss.set_parameters(FIRST_PARAMETER, &self.used.values),
            Which::Trial => {
                for index in 0..self.star.values.len() {
                    let trial = self.adapt.output(FIRST_ADAPTED + index);
                    self.loss
                        .input_mut(FIRST_PARAMETER + index)
                        .copy_from_slice(trial);
                }
            }
        }
        self.loss.run()?;
        Ok(self.loss.output(0)[0])
    }

    fn take_adapted(&mut self) {
        for (index, values) in self.used.values.iter_mut().enumerate() {
            values.copy_from_slice(self.adapt.output(FIRST_ADAPTED + index));
        }
        self.used.rehash();
    }
}

enum Which {
    Star,
    Used,
    Trial,
}

impl Parameters {
    fn copy_from(&mut self, other: &Self) {
        for (to, from) in self.values.iter_mut().zip(&other.values) {
            to.copy_from_slice(from);
        }
        self.hash = other.hash;
    }

    fn rehash(&mut self) {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        let mut block = [0u8; 4096];
        for values in &self.values {
            for chunk in values.chunks(block.len() / 4) {
                for (bytes, value) in block.chunks_exact_mut(4).zip(chunk) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
                hasher.update(&block[..chunk.len() * 4]);
            }
        }
        self.hash = hasher.digest128().to_le_bytes();
    }
}

fn copy_rows(rows: &mut [f32], width: usize, window: &Window, of: impl Fn(&Transition) -> &[f32]) {
    for (row, transition) in rows.chunks_exact_mut(width).zip(window.transitions()) {
        row.copy_from_slice(of(transition));
    }
}
