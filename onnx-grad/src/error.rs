//! What can be wrong with a model.

use std::path::PathBuf;
use thiserror::Error;

/// Why a model cannot be read, bound or written. Each message names the tensor or node and, where there is one, the remedy.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not an ONNX protobuf message.
    #[error("not an ONNX model, or a damaged one ({0}): copy or export it again")]
    Decode(#[from] prost::DecodeError),
    /// The message holds no graph.
    #[error("the file holds no ONNX graph: copy or export it again")]
    NoGraph,
    /// The IR version is outside of the supported range.
    #[error("ONNX IR version {found} is not supported: export with IR version 4 to 13")]
    IrVersion {
        /// The file's IR version.
        found: i64,
    },
    /// The default operator set's version is outside of the supported range.
    #[error("model '{model}': opset {found} is not supported: export with opset 13 to 26")]
    Opset {
        /// The graph's name.
        model: String,
        /// The file's version of the default operator set; 0 if it imports none.
        found: i64,
    },
    /// A stored tensor cannot be used.
    #[error("initializer '{name}': {reason}")]
    Initializer {
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file cannot be read.
    #[error("cannot read '{path}': {kind}")]
    File {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// A stored tensor lies in a side file.
    #[error(
        "initializer '{name}' lies in the side file '{location}': open the model from its file, or export with \
         external_data=False to get a single file"
    )]
    ExternalData {
        /// The tensor's name.
        name: String,
        /// The side file, relative to the model.
        location: String,
    },
    /// Equal initializers were merged by an exporter, so that separate parameters would get one gradient.
    #[error(
        "initializer '{name}' holds one repeated number and is used by nodes '{first}' and '{second}': exporters merge \
         parameters of equal value, and merged ones cannot be trained apart; export with \
         torch.onnx.export(..., dynamo=True, optimize=False)"
    )]
    Tied {
        /// The tensor's name.
        name: String,
        /// A node that uses it.
        first: String,
        /// Another one.
        second: String,
    },
    /// A tensor is defined twice.
    #[error("tensor '{name}' is defined twice")]
    Duplicate {
        /// The tensor's name.
        name: String,
    },
    /// A graph input or output cannot be used.
    #[error("{port} '{name}': {reason}")]
    Port {
        /// "input" or "output".
        port: &'static str,
        /// The tensor's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A node cannot be read.
    #[error("model '{model}', node '{node}' ({op}): {fault}")]
    Node {
        /// The graph's name.
        model: String,
        /// The node's name, or that of its first output if it has none.
        node: String,
        /// The operator.
        op: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A named axis was given no size.
    #[error("axis '{name}' has no size: bind it")]
    UnboundDim {
        /// The axis's name.
        name: String,
    },
    /// A size was given for an axis that no input has.
    #[error("no input has an axis named '{name}'; the named axes are {known:?}")]
    UnknownDim {
        /// The name given.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// New values do not fit a parameter.
    #[error("parameter '{name}': {reason}")]
    Parameter {
        /// The name given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What is wrong with a node of a model.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// No rule for this operator.
    #[error("this operator has no gradient rule; express it by operators that have one")]
    UnknownOp,
    /// An operand is defined by no input, initializer or earlier node.
    #[error("operand '{0}' is not defined before the node")]
    UndefinedOperand(String),
    /// A required operand is absent.
    #[error("operand {0} is missing")]
    MissingOperand(usize),
    /// An operand that must be known while reading depends on the graph's inputs.
    #[error("operand {0} must be a constant; it depends on the model's inputs")]
    NotConstant(usize),
    /// An operand has a value or an element type that the operator cannot take here.
    #[error("operand {0}: {1}")]
    Operand(usize, &'static str),
    /// The operands' shapes do not fit the operator.
    #[error("operands of shapes {0:?} do not fit")]
    Shapes(Vec<Vec<usize>>),
    /// A result would be larger than any that a control loop can use.
    #[error("a result of shape {0:?} is too large")]
    TooLarge(Vec<usize>),
    /// An attribute has a value that the operator cannot take.
    #[error("attribute '{0}': {1}")]
    Attribute(&'static str, &'static str),
    /// Calls of model-local functions never end, or nearly so.
    #[error("calls of model-local functions nest too deep or are too many")]
    Recursion,
    /// The node has more outputs than the operator gives here.
    #[error("output {0} is not supported")]
    Output(usize),
}
