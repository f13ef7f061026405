//! The meta-gradient over a batch of tasks, on two threads.

use super::dataset::{Rows, Run, Segment};
use super::recipe::Meta;
use crate::model::derive::{self, MetaBatch};
use crate::model::{DynamicsModel, ModelError, Program, Runtime};

/// The batch is always cut into as many parts, whatever the machine: sums keep their order, and the result its bits.
const SHARDS: usize = 2;
/// Inputs of the meta-gradient graph.
const PAST: usize = 0;
const FUTURE: usize = 3;
const FIRST_PARAMETER: usize = 6;
/// Outputs of the meta-gradient graph.
const FIRST_GRADIENT: usize = 2;

/// What is learned: the parameters, and the logarithm of each one's inner step size.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Learned {
    /// Parameters, in file order.
    pub parameters: Vec<Vec<f32>>,
    /// Logarithms of their inner step sizes.
    pub log_steps: Vec<Vec<f32>>,
}

impl Learned {
    /// All tensors: the parameters, then the log step sizes.
    pub fn tensors(&self) -> impl Iterator<Item = &Vec<f32>> {
        self.parameters.iter().chain(&self.log_steps)
    }
}

/// Errors of the future of a batch, before and after the inner step.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Losses {
    /// With theta.
    pub before: f64,
    /// With theta'.
    pub after: f64,
}

/// The sessions of the meta-gradient graph.
pub struct MetaGradient {
    shards: Vec<Program>,
    window: usize,
    batch: MetaBatch,
    states: usize,
    actions: usize,
    origin: [usize; 2],
}

impl MetaGradient {
    /// Derives the graph for a recipe's batches. `origin` are the states that are the place.
    ///
    /// # Errors
    /// [`ModelError`] when the graph cannot be derived or ONNX Runtime refuses it.
    pub fn new(
        runtime: &Runtime,
        model: &DynamicsModel,
        meta: &Meta,
        origin: [usize; 2],
    ) -> Result<Self, ModelError> {
        let batch = MetaBatch {
            tasks: meta.tasks / SHARDS,
            future: meta.future,
            steps: meta.steps,
        };
        let function =
            derive::meta_gradient(&model.onnx, &model.contract, batch).map_err(|source| {
                ModelError::Derive {
                    graph: "meta-gradient",
                    source: Box::new(source),
                }
            })?;
        let shard = |_| {
            Program::new(
                runtime,
                "meta-gradient",
                &function,
                model.onnx.opset(),
                || 0,
            )
        };
        Ok(Self {
            shards: (0..SHARDS).map(shard).collect::<Result<_, _>>()?,
            window: meta.window,
            batch,
            states: model.contract.state.len(),
            actions: model.contract.action.len(),
            origin,
        })
    }

    /// Transitions of a task.
    pub fn segment_length(&self) -> usize {
        self.window + self.batch.future
    }

    /// Losses on a batch of tasks drawn from `runs`, and the gradient of the adapted one for every learned tensor.
    ///
    /// # Errors
    /// [`ModelError::Run`] when ONNX Runtime fails.
    pub fn compute(
        &mut self,
        learned: &Learned,
        runs: &[Run],
        random: &mut impl rand::Rng,
        gradient: &mut [Vec<f32>],
    ) -> Result<Losses, ModelError> {
        let length = self.segment_length();
        for shard in &mut self.shards {
            for task in 0..self.batch.tasks {
                let segment = Segment::draw(runs, length, random);
                let parts = [
                    (PAST, 0, self.window),
                    (FUTURE, self.window, self.batch.future),
                ];
                for (first, from, count) in parts {
                    let (states, actions) = (count * self.states, count * self.actions);
                    let [state, action, next_state] =
                        shard.inputs_mut([first, first + 1, first + 2]);
                    let rows = Rows {
                        state: &mut state[task * states..][..states],
                        action: &mut action[task * actions..][..actions],
                        next_state: &mut next_state[task * states..][..states],
                    };
                    segment.write(from, count, &self.origin, rows);
                }
            }
            for (index, tensor) in learned.tensors().enumerate() {
                shard
                    .input_mut(FIRST_PARAMETER + index)
                    .copy_from_slice(tensor);
            }
        }
        std::thread::scope(|scope| {
            let running: Vec<_> = self
                .shards
                .iter_mut()
                .map(|shard| scope.spawn(|| shard.run()))
                .collect();
            running
                .into_iter()
                .try_for_each(|shard| match shard.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        let share = 1.0 / SHARDS as f32;
        for (index, gradient) in gradient.iter_mut().enumerate() {
            gradient.fill(0.0);
            for shard in &self.shards {
                for (sum, value) in gradient
                    .iter_mut()
                    .zip(shard.output(FIRST_GRADIENT + index))
                {
                    *sum += share * value;
                }
            }
        }
        let mean = |output: usize| {
            self.shards
                .iter()
                .map(|shard| f64::from(shard.output(output)[0]))
                .sum::<f64>()
                / SHARDS as f64
        };
        Ok(Losses {
            before: mean(0),
            after: mean(1),
        })
    }
}
