//! A derived graph, ready to run: one session, its inputs and outputs bound to memory that stays.

use onnx_grad::Function;
use ort::memory::Allocator;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use super::{ModelError, Parameters, Runtime};

/// A clock in ns, handed in from outside: nothing below `run` reads the time by itself.
pub type Clock = fn() -> u64;

/// One ONNX Runtime session with preallocated inputs and outputs. Write the inputs, [`run`](Program::run), read the outputs.
pub struct Program {
    name: &'static str,
    session: Session,
    binding: IoBinding,
    inputs: Vec<Tensor<f32>>,
    outputs: Vec<Tensor<f32>>,
    clock: Clock,
    inference_ns: u64,
    /// Hash of the parameters that the inputs hold.
    held: Option<[u8; 16]>,
}

impl Program {
    /// Makes a session for a graph. `name` is for errors, `clock` times the runs.
    ///
    /// # Errors
    /// [`ModelError::Session`] when ONNX Runtime refuses the graph.
    pub fn new(
        runtime: &Runtime,
        name: &'static str,
        function: &Function,
        opset: i64,
        clock: Clock,
    ) -> Result<Self, ModelError> {
        let build = || -> ort::Result<Self> {
            let session = runtime.session(&function.to_onnx(opset))?;
            let allocator = Allocator::default();
            let mut binding = session.create_binding()?;
            let mut inputs = Vec::new();
            for port in function.inputs() {
                let mut tensor = Tensor::<f32>::new(&allocator, port.shape.as_slice())?;
                tensor.extract_tensor_mut().1.fill(0.0);
                binding.bind_input(&port.name, &tensor)?;
                inputs.push(tensor);
            }
            let mut outputs = Vec::new();
            for port in function.outputs() {
                let mut tensor = Tensor::<f32>::new(&allocator, port.shape.as_slice())?;
                tensor.extract_tensor_mut().1.fill(0.0);
                binding.bind_output(&port.name, &mut tensor)?;
                outputs.push(tensor);
            }
            Ok(Self {
                name,
                session,
                binding,
                inputs,
                outputs,
                clock,
                inference_ns: 0,
                held: None,
            })
        };
        build().map_err(|error| ModelError::Session {
            graph: name,
            reason: error.to_string(),
        })
    }

    /// The memory of input `index`, row-major.
    ///
    /// # Panics
    /// If the graph has no such input.
    pub fn input_mut(&mut self, index: usize) -> &mut [f32] {
        self.inputs[index].extract_tensor_mut().1
    }

    /// The memory of several different inputs.
    ///
    /// # Panics
    /// If the graph has no such inputs, or one is named twice.
    pub fn inputs_mut<const N: usize>(&mut self, indices: [usize; N]) -> [&mut [f32]; N] {
        match self.inputs.get_disjoint_mut(indices) {
            Ok(tensors) => tensors.map(|tensor| tensor.extract_tensor_mut().1),
            Err(error) => panic!("inputs {indices:?} of the {} graph: {error}", self.name),
        }
    }

    /// The memory of output `index`, row-major, as the last run left it.
    ///
    /// # Panics
    /// If the graph has no such output.
    pub fn output(&self, index: usize) -> &[f32] {
        self.outputs[index].extract_tensor().1
    }

    /// Writes the model's parameters to the inputs from index `first` on, unless they hold them already.
    ///
    /// # Panics
    /// If the graph has not as many inputs, or of another size.
    pub fn set_parameters(&mut self, first: usize, parameters: &Parameters) {
        if self.held.replace(parameters.hash()) == Some(parameters.hash()) {
            return;
        }
        for (index, values) in parameters.values().iter().enumerate() {
            self.input_mut(first + index).copy_from_slice(values);
        }
    }

    /// Writes the outputs of another graph, from index `from` on, to the inputs from index `first` on, as many as there are.
    ///
    /// # Panics
    /// If they are of another size.
    pub fn take_parameters(&mut self, first: usize, other: &Program, from: usize) {
        self.held = None;
        for index in 0..self.inputs.len() - first {
            self.input_mut(first + index)
                .copy_from_slice(other.output(from + index));
        }
    }

    /// Runs the graph.
    ///
    /// # Errors
    /// [`ModelError::Run`] when ONNX Runtime fails.
    pub fn run(&mut self) -> Result<(), ModelError> {
        let start = (self.clock)();
        let result = self.session.run_binding(&self.binding).map(|_| ());
        self.inference_ns += (self.clock)().saturating_sub(start);
        result.map_err(|error| ModelError::Run {
            graph: self.name,
            reason: error.to_string(),
        })
    }

    /// Time spent in ONNX Runtime since this was last asked, ns.
    pub fn take_inference_ns(&mut self) -> u64 {
        std::mem::take(&mut self.inference_ns)
    }
}
