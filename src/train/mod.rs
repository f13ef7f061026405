//! Meta-training of a dynamics model, from logs or from simulated robots.
//!
//! The objective is GrBAL's (Nagabandi et al., ICLR 2019): over segments of M past and K future transitions, the error on
//! the future after one inner step on the past. Its gradient is one graph, derived by [`onnx_grad`] from the same ONNX model
//! that is deployed ([`crate::model::derive::meta_gradient`]) and run by ONNX Runtime; only Adam is outside.

mod adam;
mod architecture;
mod collect;
mod dataset;
mod meta;
mod recipe;
mod trainer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

pub use dataset::{Dataset, Run, runs_of_log};
pub use meta::{Learned, Losses};
pub use recipe::{Activation, ChangeGroup, Meta, Network, Recipe, RecipeError, Simulation};
pub use trainer::{Checkpoint, TrainerError};

use crate::hash::sha256_hex;
use crate::log::LogError;
use crate::model::{
    AdaptContract, Channel, Contract, DynamicsModel, ModelError, Runtime, SelfCheck, StateChannel,
    sealed,
};
use crate::robot::Robot;
use crate::sim;
use architecture::Layout;
use meta::MetaGradient;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The recipe was refused.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// No data to train from.
    #[error("nothing to train from: give logs, or a [simulation] in the recipe")]
    NoSource,
    /// A log could not be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A log is another robot's.
    #[error(
        "{path}: its channels or tick are not those of the recipe's robot '{robot}'; train from logs of one robot"
    )]
    OtherRobot {
        /// The log.
        path: PathBuf,
        /// The recipe's robot.
        robot: String,
    },
    /// The scene is another robot's.
    #[error(
        "the observations and actions of {scene} are not those of {robot}, in name, unit and order; make them the same"
    )]
    OtherScene {
        /// The sim.toml.
        scene: PathBuf,
        /// The robot.toml.
        robot: PathBuf,
    },
    /// The robot could not be simulated.
    #[error(transparent)]
    Simulation(#[from] sim::Error),
    /// Too few runs that are long enough.
    #[error(
        "the data has too few runs of at least {length} transitions to train and validate; record more, or lower meta.window or meta.future"
    )]
    TooLittle {
        /// Transitions of a task.
        length: usize,
    },
    /// The model could not be derived or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The outer loop failed.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// The model could not be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What training tells while it goes on.
pub enum Progress<'a> {
    /// One of so many episodes is recorded.
    Episode {
        /// Episodes in all.
        of: usize,
    },
    /// The data is there.
    Data(&'a Dataset),
    /// A meta-update is done.
    Update {
        /// Updates done.
        update: usize,
        /// Most updates.
        of: usize,
        /// Losses of its batch.
        losses: Losses,
    },
    /// A validation is done.
    Validation(&'a Checkpoint),
}

/// What training leaves.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Trained {
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// Meta-updates done.
    pub updates: usize,
    /// Transitions trained on.
    pub transitions: usize,
    /// Validation losses of the model written.
    pub validation: Losses,
}

/// Trains the model of a recipe and writes it to `output`, from `logs`, or from simulated robots when there are none. A
/// checkpoint beside the output (`.checkpoint`) lets an interrupted training go on; it is removed at the end.
///
/// # Errors
/// [`TrainError`], which names the file and the remedy.
pub fn train(
    recipe_path: &Path,
    logs: &[PathBuf],
    output: &Path,
    threads: usize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Trained, TrainError> {
    let runtime = Runtime::load()?;
    let (recipe, robot) = Recipe::read(recipe_path)?;
    let partial = output.with_extension("partial");
    // Hours of training must not end in a folder that cannot be written.
    std::fs::write(&partial, []).map_err(|source| TrainError::Write {
        path: partial.clone(),
        source,
    })?;
    let runs = if logs.is_empty() {
        let simulation = recipe.simulation.as_ref().ok_or(TrainError::NoSource)?;
        let recorded = || {
            progress(Progress::Episode {
                of: simulation.episodes,
            })
        };
        collect::collect(&recipe, simulation, &robot, threads, &recorded)?
    } else {
        let mut runs = Vec::new();
        for log in logs {
            runs.extend(runs_of_log(log, &robot, &recipe.network.state)?);
        }
        runs
    };
    let length = recipe.meta.window + recipe.meta.future;
    let data = Dataset::split(runs, recipe.meta.validation, length)
        .ok_or(TrainError::TooLittle { length })?;
    progress(Progress::Data(&data));

    let layout = Layout::new(&recipe.network, robot.action.len());
    let normaliser = layout.normaliser(&data.training);
    let mut random = ChaCha8Rng::seed_from_u64(recipe.seed);
    let bytes = architecture::untrained(&recipe.network, &layout, &normaliser, &mut random);
    let onnx = onnx_grad::Model::read(&bytes).map_err(|error| ModelError::Onnx(Box::new(error)))?;
    let mut untrained = DynamicsModel {
        contract: contract(&recipe, &robot, &onnx, normaliser.scales(&layout), &data),
        sha256: sha256_hex(&bytes),
        onnx,
        bytes,
    };
    let learned = Learned {
        parameters: untrained
            .parameters()
            .iter()
            .map(|values| values.to_vec())
            .collect(),
        log_steps: vec![
            vec![recipe.meta.inner_step.ln() as f32];
            untrained.onnx.parameters().len()
        ],
    };

    let [x, y, _] = layout.pose;
    let mut gradient = MetaGradient::new(&runtime, &untrained, &recipe.meta, [x, y])?;
    let checkpoint_path = output.with_extension("checkpoint");
    let identity = identity(&recipe, &untrained, &data);
    let start = || Checkpoint::new(identity.clone(), learned.clone());
    let mut checkpoint = Checkpoint::read(&checkpoint_path, &identity)?.unwrap_or_else(start);
    trainer::train(
        &mut gradient,
        &data,
        &recipe.meta,
        recipe.seed,
        &mut checkpoint,
        &mut |update, losses| {
            progress(Progress::Update {
                update,
                of: recipe.meta.updates,
                losses,
            })
        },
        &mut |checkpoint| {
            progress(Progress::Validation(checkpoint));
            checkpoint.write(&checkpoint_path)
        },
    )?;

    // Every training ends with a validation.
    let (learned, validation) = checkpoint.best.clone().ok_or(TrainerError::Diverged {
        update: checkpoint.update,
    })?;
    let file = finished(&runtime, &mut untrained, &learned)?;
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TrainError::Write { path, source }
    };
    std::fs::write(&partial, &file).map_err(failed(&partial))?;
    std::fs::rename(&partial, output).map_err(failed(output))?;
    std::fs::remove_file(&checkpoint_path).map_err(failed(&checkpoint_path))?;
    Ok(Trained {
        model_sha256: sha256_hex(&file),
        updates: checkpoint.update,
        transitions: data.transitions(),
        validation,
    })
}

/// The contract before training: the steps and the self-check are those of the untrained model.
fn contract(
    recipe: &Recipe,
    robot: &Robot,
    onnx: &onnx_grad::Model,
    scales: Vec<f32>,
    data: &Dataset,
) -> Contract {
    let unit = |name: &String| {
        let channel = robot
            .observation
            .iter()
            .find(|channel| &channel.name == name);
        channel.map_or(String::new(), |channel| channel.unit.clone())
    };
    let state = recipe.network.state.iter().zip(scales);
    let run = &data.training[0];
    Contract {
        robot: robot.name.clone(),
        state: state
            .map(|(name, scale)| StateChannel {
                name: name.clone(),
                unit: unit(name),
                scale,
            })
            .collect(),
        action: robot
            .action
            .iter()
            .map(|a| Channel {
                name: a.name.clone(),
                unit: a.unit.clone(),
            })
            .collect(),
        period_s: robot.period_s(),
        adapt: AdaptContract {
            window: recipe.meta.window,
            steps: onnx
                .parameters()
                .iter()
                .map(|p| (p.name.clone(), recipe.meta.inner_step as f32))
                .collect(),
        },
        self_check: SelfCheck {
            state: run.states[0].clone(),
            action: run.actions[0].clone(),
            next_state: run.states[1].clone(),
        },
    }
}

/// The file of the trained model: learned parameters, learned step sizes, and the prediction for the self-check.
fn finished(
    runtime: &Runtime,
    model: &mut DynamicsModel,
    learned: &Learned,
) -> Result<Vec<u8>, ModelError> {
    let names: Vec<String> = model
        .onnx
        .parameters()
        .iter()
        .map(|p| p.name.clone())
        .collect();
    let steps = names
        .iter()
        .cloned()
        .zip(learned.log_steps.iter().map(|log| log[0].exp()));
    model.contract.adapt.steps = steps.collect();
    let values: BTreeMap<&str, Vec<f32>> = names
        .iter()
        .map(String::as_str)
        .zip(learned.parameters.iter().cloned())
        .collect();
    let derived = |source| ModelError::Derive {
        graph: "trained",
        source: Box::new(source),
    };
    let trained = model
        .onnx
        .write(&values, &BTreeMap::new())
        .map_err(derived)?;
    model.onnx = onnx_grad::Model::read(&trained).map_err(derived)?;
    let check = &model.contract.self_check;
    let next_state = model.predict_once(runtime, &check.state, &check.action)?;
    model.contract.self_check.next_state = next_state;
    model.contract.check()?;
    let written = model
        .onnx
        .write(&values, &model.contract.to_metadata())
        .map_err(derived)?;
    sealed(&onnx_grad::Model::read(&written).map_err(derived)?)
}

/// What a checkpoint belongs to: the recipe, the untrained model (which holds the data's statistics) and the data's size.
fn identity(recipe: &Recipe, model: &DynamicsModel, data: &Dataset) -> String {
    let text = format!("{recipe:?} {} {}", model.sha256, data.transitions());
    sha256_hex(text.as_bytes())
}
