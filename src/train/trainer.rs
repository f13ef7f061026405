//! The outer loop: meta-updates, early stopping on the adapted validation loss, checkpoints.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::adam::Adam;
use super::dataset::Dataset;
use super::meta::{Learned, Losses, MetaGradient};
use super::recipe::Meta;
use crate::model::ModelError;

/// Batches that a validation averages over; always the same tasks.
const VALIDATION_BATCHES: u64 = 8;
/// Streams of the seeded generator: episodes use those from 1 on.
const VALIDATION_STREAM: u64 = 1 << 40;
const TRAINING_STREAM: u64 = 1 << 41;

/// Where training stands: everything that is needed to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Hash of the recipe and data that it belongs to.
    pub recipe: String,
    /// Meta-updates done.
    pub update: usize,
    /// The best parameters so far, and their validation losses.
    pub best: Option<(Learned, Losses)>,
    /// Validations: updates done and losses.
    pub curve: Vec<(usize, Losses)>,
    current: Learned,
    adam: Adam,
    stale: usize,
}

/// Why training stopped with an error.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// ONNX Runtime failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The losses are not finite.
    #[error(
        "the loss is not finite after {update} updates; lower meta.learning_rate or meta.inner_step"
    )]
    Diverged {
        /// Updates done.
        update: usize,
    },
    /// A checkpoint could not be written or read.
    #[error("{path}: {reason}; delete it to start anew")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Checkpoint {
    /// The start of training.
    pub fn new(recipe: String, learned: Learned) -> Self {
        let adam = Adam::new(learned.tensors().map(Vec::len));
        Self {
            recipe,
            update: 0,
            best: None,
            curve: Vec::new(),
            current: learned,
            adam,
            stale: 0,
        }
    }

    /// Reads a checkpoint, if there is one of the same recipe.
    ///
    /// # Errors
    /// [`TrainerError::Checkpoint`] when the file is damaged.
    pub fn read(path: &Path, recipe: &str) -> Result<Option<Self>, TrainerError> {
        let fault = |reason: String| TrainerError::Checkpoint {
            path: path.into(),
            reason,
        };
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| fault(error.to_string()))?,
        };
        let checkpoint: Self =
            postcard::from_bytes(&bytes).map_err(|error| fault(error.to_string()))?;
        Ok((checkpoint.recipe == recipe).then_some(checkpoint))
    }

    /// Writes the checkpoint; a crash leaves the one before.
    ///
    /// # Errors
    /// [`TrainerError::Checkpoint`] when the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TrainerError> {
        let fault = |reason: String| TrainerError::Checkpoint {
            path: path.into(),
            reason,
        };
        let bytes = postcard::to_stdvec(self).map_err(|error| fault(error.to_string()))?;
        let beside = path.with_extension("partial");
        std::fs::write(&beside, bytes).map_err(|error| fault(error.to_string()))?;
        std::fs::rename(&beside, path).map_err(|error| fault(error.to_string()))
    }
}

/// Trains until the updates are used up or validation has not improved for long enough. `saved` is called after each
/// validation, to show it and to keep the checkpoint. The result depends on the checkpoint, data and seed alone: a run that
/// is interrupted and resumed ends with the same bits.
///
/// # Errors
/// [`TrainerError`] when ONNX Runtime fails, the loss diverges, or `saved` fails.
pub fn train(
    gradient: &mut MetaGradient,
    data: &Dataset,
    meta: &Meta,
    seed: u64,
    checkpoint: &mut Checkpoint,
    updated: &mut dyn FnMut(usize, Losses),
    saved: &mut dyn FnMut(&Checkpoint) -> Result<(), TrainerError>,
) -> Result<(), TrainerError> {
    let mut slope: Vec<Vec<f32>> = checkpoint
        .current
        .tensors()
        .map(|tensor| vec![0.0; tensor.len()])
        .collect();
    while checkpoint.update < meta.updates && checkpoint.stale < meta.patience {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(TRAINING_STREAM + checkpoint.update as u64);
        let losses =
            gradient.compute(&checkpoint.current, &data.training, &mut random, &mut slope)?;
        if !losses.after.is_finite() || slope.iter().flatten().any(|value| !value.is_finite()) {
            return Err(TrainerError::Diverged {
                update: checkpoint.update,
            });
        }
        let fraction = checkpoint.update as f64 / meta.updates as f64;
        let annealed = 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos());
        let Learned {
            parameters,
            log_steps,
        } = &mut checkpoint.current;
        let parameters = parameters
            .iter_mut()
            .map(|tensor| (tensor, meta.learning_rate));
        let log_steps = log_steps
            .iter_mut()
            .map(|tensor| (tensor, meta.inner_step_learning_rate));
        let tensors = parameters.chain(log_steps).zip(&slope);
        checkpoint.adam.update(
            tensors.map(|((t, step), g)| (t.as_mut_slice(), g.as_slice(), step * annealed)),
        );
        checkpoint.update += 1;
        updated(checkpoint.update, losses);
        if checkpoint.update.is_multiple_of(meta.validate_every)
            || checkpoint.update == meta.updates
        {
            validate(gradient, data, seed, checkpoint, &mut slope)?;
            saved(checkpoint)?;
        }
    }
    Ok(())
}

fn validate(
    gradient: &mut MetaGradient,
    data: &Dataset,
    seed: u64,
    checkpoint: &mut Checkpoint,
    slope: &mut [Vec<f32>],
) -> Result<(), TrainerError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(VALIDATION_STREAM);
    let mut mean = Losses {
        before: 0.0,
        after: 0.0,
    };
    for _ in 0..VALIDATION_BATCHES {
        let losses = gradient.compute(&checkpoint.current, &data.validation, &mut random, slope)?;
        mean.before += losses.before / VALIDATION_BATCHES as f64;
        mean.after += losses.after / VALIDATION_BATCHES as f64;
    }
    if !mean.after.is_finite() {
        return Err(TrainerError::Diverged {
            update: checkpoint.update,
        });
    }
    checkpoint.curve.push((checkpoint.update, mean));
    if checkpoint
        .best
        .as_ref()
        .is_none_or(|(_, best)| mean.after < best.after)
    {
        checkpoint.best = Some((checkpoint.current.clone(), mean));
        checkpoint.stale = 0;
    } else {
        checkpoint.stale += 1;
    }
    Ok(())
}
