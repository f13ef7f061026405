//! One ONNX file: its contract, the graphs derived from it, the sessions that run them.
//!
//! [`DynamicsModel::load`] reads the file, checks its contract and proves by the contract's self-check that this machine's
//! ONNX Runtime computes what the model's author saw. [`mod@derive`] makes the graphs, [`Program`] runs one.

mod case;
mod contract;
pub mod derive;
mod parameters;
mod program;
mod runtime;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use case::{Case, CaseError, Gradients};
pub use contract::{AdaptContract, Channel, Contract, MAX_WINDOW, SelfCheck, StateChannel};
pub use derive::Pose;
pub use parameters::Parameters;
pub use program::{Clock, Program};
pub use runtime::Runtime;

use crate::hash::sha256_hex;
use crate::robot::Robot;

/// Why a model was refused, or a graph of it could not be run.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// No usable ONNX Runtime.
    #[error("ONNX Runtime: {reason}")]
    Library {
        /// What is wrong, and how to get it.
        reason: String,
    },
    /// Something is wrong with a file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ModelError>,
    },
    /// The file could not be read.
    #[error("{reason}; train a model with `surefoot train`, or set `model` in robot.toml")]
    Read {
        /// The system's reason.
        reason: String,
    },
    /// Not an ONNX model that can be differentiated.
    #[error(transparent)]
    Onnx(Box<onnx_grad::Error>),
    /// A graph could not be derived.
    #[error("deriving the {graph} graph: {source}")]
    Derive {
        /// Which graph.
        graph: &'static str,
        /// The node, the op and the remedy.
        source: Box<onnx_grad::Error>,
    },
    /// A contract key is missing.
    #[error(
        "the model has no `surefoot.{key}` in its metadata; `surefoot train` writes the contract, the README tells how to add it to other models"
    )]
    ContractMissing {
        /// The key, without its prefix.
        key: &'static str,
    },
    /// A contract key holds something else than it should.
    #[error("`surefoot.{key}` in the model's metadata: {reason}")]
    Contract {
        /// The key, without its prefix.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The graph's inputs and outputs are not those of a dynamics model.
    #[error("the model's {what} must be {expected}, but is {found}")]
    Signature {
        /// Which input or output.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A name that the contract and the graph, or the contract and robot.toml, do not share.
    #[error("the model is not for this robot: {reason}")]
    Mismatch {
        /// Which name differs, and how.
        reason: String,
    },
    /// The file is not the one that was sealed.
    #[error(
        "the file differs from what `surefoot.seal` in its metadata was made for: it is damaged, or was edited; copy or train it again"
    )]
    Seal,
    /// The self-check failed.
    #[error(
        "self-check: this machine predicts {found} for '{state}', the model's author saw {expected}; \
         the file is damaged or ONNX Runtime computes something else here"
    )]
    SelfCheck {
        /// Which state.
        state: String,
        /// What the contract says.
        expected: f32,
        /// What came out.
        found: f32,
    },
    /// ONNX Runtime refused a graph.
    #[error("ONNX Runtime refused the {graph} graph: {reason}")]
    Session {
        /// Which graph.
        graph: &'static str,
        /// ONNX Runtime's reason.
        reason: String,
    },
    /// ONNX Runtime failed while running a graph.
    #[error("ONNX Runtime failed on the {graph} graph: {reason}")]
    Run {
        /// Which graph.
        graph: &'static str,
        /// ONNX Runtime's reason.
        reason: String,
    },
}

/// The bytes of a model file. Tensors that lie in a side file are taken in, so that the bytes are the whole model.
///
/// # Errors
/// [`ModelError::Read`] or [`ModelError::Onnx`].
pub fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let bytes = std::fs::read(path).map_err(|error| ModelError::Read {
        reason: error.to_string(),
    })?;
    let onnx = |error| ModelError::Onnx(Box::new(error));
    match onnx_grad::Model::read(&bytes) {
        Err(onnx_grad::Error::ExternalData { .. }) => {
            let model = onnx_grad::Model::open(path).map_err(onnx)?;
            model
                .write(&BTreeMap::new(), &BTreeMap::new())
                .map_err(onnx)
        }
        _ => Ok(bytes),
    }
}

/// The metadata key of the SHA-256 over the whole file, itself left empty.
const SEAL: &str = "surefoot.seal";

/// The file of a model with its seal, by which damage to any of its bits is found.
///
/// # Errors
/// [`ModelError::Onnx`] when it cannot be written.
pub fn sealed(onnx: &onnx_grad::Model) -> Result<Vec<u8>, ModelError> {
    write_with(onnx, seal_of(onnx)?)
}

fn seal_of(onnx: &onnx_grad::Model) -> Result<String, ModelError> {
    Ok(sha256_hex(&write_with(onnx, String::new())?))
}

fn write_with(onnx: &onnx_grad::Model, seal: String) -> Result<Vec<u8>, ModelError> {
    let metadata = BTreeMap::from([(SEAL.to_owned(), seal)]);
    let written = onnx.write(&BTreeMap::new(), &metadata);
    written.map_err(|error| ModelError::Onnx(Box::new(error)))
}

/// Checks the seal of a file that has one; other people's models need none.
fn check_seal(onnx: &onnx_grad::Model) -> Result<(), ModelError> {
    match onnx.metadata().get(SEAL) {
        Some(seal) if *seal != seal_of(onnx)? => Err(ModelError::Seal),
        _ => Ok(()),
    }
}

impl ModelError {
    fn of_file(self, path: &Path) -> Self {
        Self::File {
            path: path.into(),
            source: Box::new(self),
        }
    }
}

/// A model file that was read and checked.
#[derive(Debug, Clone)]
pub struct DynamicsModel {
    /// The graph and its parameters.
    pub onnx: onnx_grad::Model,
    /// What its numbers mean.
    pub contract: Contract,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// The file's bytes, for the log.
    pub bytes: Vec<u8>,
}

impl DynamicsModel {
    /// Reads a model file, checks its contract and runs its self-check.
    ///
    /// # Errors
    /// [`ModelError`], which names the file, key, node or state.
    pub fn load(path: &Path, runtime: &Runtime) -> Result<Self, ModelError> {
        let bytes = read(path).map_err(|error| error.of_file(path))?;
        Self::from_bytes(bytes, path, runtime)
    }

    /// As [`DynamicsModel::load`], from the bytes of a file that is only named in errors.
    ///
    /// # Errors
    /// [`ModelError`], as [`DynamicsModel::load`].
    pub fn from_bytes(bytes: Vec<u8>, path: &Path, runtime: &Runtime) -> Result<Self, ModelError> {
        Self::checked(bytes, runtime).map_err(|error| error.of_file(path))
    }

    fn checked(bytes: Vec<u8>, runtime: &Runtime) -> Result<Self, ModelError> {
        let onnx =
            onnx_grad::Model::read(&bytes).map_err(|error| ModelError::Onnx(Box::new(error)))?;
        check_seal(&onnx)?;
        let contract = Contract::from_metadata(onnx.metadata())?;
        let sha256 = sha256_hex(&bytes);
        let model = Self {
            onnx,
            contract,
            sha256,
            bytes,
        };
        model.check_signature()?;
        model.self_check(runtime)?;
        Ok(model)
    }

    /// Checks that the model is for this robot: its name, its tick, and that every state and action of the model is a
    /// channel of robot.toml with the same unit (actions in the same order). Returns the index of each state in the
    /// observation.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`], which names what differs.
    pub fn check_robot(&self, robot: &Robot) -> Result<Vec<usize>, ModelError> {
        let mismatch = |reason: String| Err(ModelError::Mismatch { reason });
        let contract = &self.contract;
        if contract.robot != robot.name {
            return mismatch(format!(
                "it was made for '{}', robot.toml says '{}'",
                contract.robot, robot.name
            ));
        }
        if (contract.period_s * robot.rate_hz - 1.0).abs() > 1e-3 {
            return mismatch(format!(
                "its tick is {} s, robot.toml's rate_hz = {} makes {} s",
                contract.period_s,
                robot.rate_hz,
                robot.period_s()
            ));
        }
        let mut indices = Vec::new();
        for state in &contract.state {
            match robot
                .observation
                .iter()
                .position(|channel| channel.name == state.name)
            {
                None => {
                    return mismatch(format!(
                        "its state '{}' is no [[observation]] of robot.toml",
                        state.name
                    ));
                }
                Some(index) if robot.observation[index].unit != state.unit => {
                    let unit = &robot.observation[index].unit;
                    return mismatch(format!(
                        "'{}' is in {} there and in {unit} in robot.toml",
                        state.name, state.unit
                    ));
                }
                Some(index) => indices.push(index),
            }
        }
        if contract.action.len() != robot.action.len() {
            let (model, toml) = (contract.action.len(), robot.action.len());
            return mismatch(format!("it has {model} actions, robot.toml has {toml}"));
        }
        for (index, (action, channel)) in contract.action.iter().zip(&robot.action).enumerate() {
            if (&action.name, &action.unit) != (&channel.name, &channel.unit) {
                return mismatch(format!(
                    "its action {index} is '{}' in {}, robot.toml's is '{}' in {}",
                    action.name, action.unit, channel.name, channel.unit
                ));
            }
        }
        Ok(indices)
    }

    /// The pose states that robot.toml's `[path]` names, as indices into the model's state.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when the model lacks one.
    pub fn pose(&self, robot: &Robot) -> Result<Pose, ModelError> {
        let index = |name: &str| {
            let found = self
                .contract
                .state
                .iter()
                .position(|state| state.name == name);
            found.ok_or_else(|| ModelError::Mismatch {
                reason: format!("[path] needs its state '{name}', it has none"),
            })
        };
        let path = &robot.path;
        Ok(Pose {
            x: index(&path.x)?,
            y: index(&path.y)?,
            yaw: index(&path.yaw)?,
        })
    }

    /// The parameters' values, in file order.
    pub fn parameters(&self) -> Vec<&[f32]> {
        self.onnx
            .parameters()
            .iter()
            .map(|p| p.data.as_slice())
            .collect()
    }

    fn check_signature(&self) -> Result<(), ModelError> {
        let (states, actions) = (self.contract.state.len(), self.contract.action.len());
        let describe = |ios: &[onnx_grad::Io]| {
            let one = |io: &onnx_grad::Io| {
                let dim = |dim: &onnx_grad::Dim| match dim {
                    onnx_grad::Dim::Fixed(size) => size.to_string(),
                    onnx_grad::Dim::Named(name) => name.clone(),
                };
                let dims: Vec<String> = io.dims.iter().map(dim).collect();
                format!("{}({})", io.name, dims.join(", "))
            };
            ios.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let fits = |io: &onnx_grad::Io, name: &str, width: usize| {
            io.name == name
                && matches!(io.dims[..], [onnx_grad::Dim::Named(_), onnx_grad::Dim::Fixed(w)] if w == width)
        };
        let inputs = self.onnx.inputs();
        if !matches!(inputs, [s, a] if fits(s, "state", states) && fits(a, "action", actions)) {
            return Err(ModelError::Signature {
                what: "inputs",
                expected: format!(
                    "state(N, {states}), action(N, {actions}) with a named first dimension"
                ),
                found: describe(inputs),
            });
        }
        let outputs = self.onnx.outputs();
        if !matches!(outputs, [next] if fits(next, "next_state", states)) {
            return Err(ModelError::Signature {
                what: "output",
                expected: format!("next_state(N, {states})"),
                found: describe(outputs),
            });
        }
        for name in self.contract.adapt.steps.keys() {
            if !self.onnx.parameters().iter().any(|p| &p.name == name) {
                let reason =
                    format!("its contract adapts '{name}', but the graph has no such parameter");
                return Err(ModelError::Mismatch { reason });
            }
        }
        Ok(())
    }

    /// The model's prediction (S) for one state and action.
    ///
    /// # Errors
    /// [`ModelError`] when the graph cannot be derived or run.
    pub fn predict_once(
        &self,
        runtime: &Runtime,
        state: &[f32],
        action: &[f32],
    ) -> Result<Vec<f32>, ModelError> {
        let function = derive::predict(&self.onnx, 1).map_err(|source| ModelError::Derive {
            graph: "predict",
            source: Box::new(source),
        })?;
        let mut program = Program::new(runtime, "predict", &function, self.onnx.opset(), || 0)?;
        program.input_mut(0).copy_from_slice(state);
        program.input_mut(1).copy_from_slice(action);
        program.set_parameters(2, &Parameters::new(&self.parameters()));
        program.run()?;
        Ok(program.output(0).to_vec())
    }

    fn self_check(&self, runtime: &Runtime) -> Result<(), ModelError> {
        let check = &self.contract.self_check;
        let predicted = self.predict_once(runtime, &check.state, &check.action)?;
        for ((channel, &expected), &found) in self
            .contract
            .state
            .iter()
            .zip(&check.next_state)
            .zip(&predicted)
        {
            let close = (found - expected).abs() <= 1e-4 * channel.scale.max(expected.abs());
            if !close {
                return Err(ModelError::SelfCheck {
                    state: channel.name.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}
