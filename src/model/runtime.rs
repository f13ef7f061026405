//! The ONNX Runtime library of this process.

use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::{Session, builder::GraphOptimizationLevel};

use super::ModelError;
use crate::native;

static ENVIRONMENT: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// ONNX Runtime, loaded once a process.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
}

impl Runtime {
    /// Loads ONNX Runtime's library, the first time that it is called.
    ///
    /// # Errors
    /// [`ModelError::Library`] when no library is found or it cannot be used.
    pub fn load() -> Result<Self, ModelError> {
        let load = || -> Result<Self, String> {
            let library = native::find("ORT_DYLIB_PATH", "onnxruntime");
            let builder = ort::init_from(&library).map_err(|error| {
                format!("{error}; run `cargo xtask setup` to fetch it, or set ORT_DYLIB_PATH to a libonnxruntime >= 1.20")
            })?;
            let environment = builder
                .with_telemetry(false)
                .build()
                .map_err(|error| error.to_string())?;
            environment.set_log_level(ort::logging::LogLevel::Error);
            Ok(Self { environment })
        };
        ENVIRONMENT
            .get_or_init(load)
            .clone()
            .map_err(|reason| ModelError::Library { reason })
    }

    /// ONNX Runtime's own build line, for log headers: results are only comparable with it.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    /// A session on the CPU with one thread of its caller's and no spinning: the control loop keeps its cores.
    /// The optimisation level is the lowest that fuses, so that a graph has one result on one machine.
    pub(super) fn session(&self, onnx: &[u8]) -> ort::Result<Session> {
        let mut builder = Session::builder(&self.environment)?
            .with_intra_threads(1)?
            .with_intra_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::Level1)?;
        builder.commit_from_memory(onnx)
    }
}
