//! A gradient case: inputs and a target for any ONNX model, and the gradients that Surefoot derives, to be checked against the
//! framework that the model came from.

use std::collections::BTreeMap;

use onnx_grad::{Dim, Function, Graph, Model, Value};
use serde::{Deserialize, Serialize};

use super::{ModelError, Program, Runtime};

/// What to differentiate: `{"inputs": {name: nested list}, "output": name, "target": nested list, "parameters": [names]
/// (optional), "inner_step": x (optional), "query": {"inputs", "target"} (optional)}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    inputs: BTreeMap<String, Tensor>,
    output: String,
    target: Tensor,
    parameters: Option<Vec<String>>,
    inner_step: Option<f64>,
    query: Option<Query>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    inputs: BTreeMap<String, Tensor>,
    target: Tensor,
}

/// What comes out: the loss is the mean squared error of the output; lists are flat, row-major.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gradients {
    /// The mean squared error of the output.
    pub loss: f32,
    /// The output.
    pub output: Vec<f32>,
    /// Gradient of the loss with respect to each parameter.
    pub parameter_gradients: BTreeMap<String, Vec<f32>>,
    /// Gradient of the loss with respect to each input.
    pub input_gradients: BTreeMap<String, Vec<f32>>,
    /// Gradient of the query's loss after one inner step on the inputs, with respect to each parameter; empty without a query.
    pub meta_gradients: BTreeMap<String, Vec<f32>>,
}

/// Why a case cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// Not the JSON of a case.
    #[error(
        "the case: {0}; its keys are inputs, output, target, and optionally parameters, inner_step, query"
    )]
    Json(#[from] serde_json::Error),
    /// A name that the model does not have.
    #[error("the case names {what} '{name}', the model has {known}")]
    Unknown {
        /// What the name should be of.
        what: &'static str,
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A tensor's shape does not fit.
    #[error("'{name}' is of shape {found:?}, the model wants {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// What is wanted.
        expected: String,
    },
    /// A query without an inner step.
    #[error("a query needs inner_step: its gradient is taken after one step of that size")]
    NoStep,
    /// The graph could not be derived.
    #[error(transparent)]
    Derive(#[from] onnx_grad::Error),
    /// ONNX Runtime refused or failed.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A nested list of numbers.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "serde_json::Value")]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Debug, thiserror::Error)]
#[error("a tensor must be a number or a list whose parts are all of one shape")]
struct Ragged;

impl TryFrom<serde_json::Value> for Tensor {
    type Error = Ragged;

    fn try_from(value: serde_json::Value) -> Result<Self, Ragged> {
        match value {
            serde_json::Value::Array(parts) => {
                let count = parts.len();
                let parts = parts
                    .into_iter()
                    .map(Self::try_from)
                    .collect::<Result<Vec<_>, _>>()?;
                let inner = parts.first().map_or(Vec::new(), |part| part.shape.clone());
                if parts.iter().any(|part| part.shape != inner) {
                    return Err(Ragged);
                }
                let shape = std::iter::once(count).chain(inner).collect();
                Ok(Self {
                    shape,
                    data: parts.into_iter().flat_map(|part| part.data).collect(),
                })
            }
            value => {
                let number = value.as_f64().ok_or(Ragged)?;
                Ok(Self {
                    shape: Vec::new(),
                    data: vec![number as f32],
                })
            }
        }
    }
}

impl Case {
    /// A case from its JSON.
    ///
    /// # Errors
    /// [`CaseError::Json`].
    pub fn from_json(json: &str) -> Result<Self, CaseError> {
        Ok(serde_json::from_str(json)?)
    }

    /// Derives the gradients and computes them with ONNX Runtime.
    ///
    /// # Errors
    /// [`CaseError`], which names what does not fit the model, or the node that has no gradient.
    pub fn compute(&self, model: &Model, runtime: &Runtime) -> Result<Gradients, CaseError> {
        let chosen = self.chosen_parameters(model)?;
        let function = bind(model, &self.inputs)?;
        let place = output_index(model, &self.output)?;
        let wanted = &function.outputs()[place].shape;
        check("target", &self.target, wanted)?;

        let mut graph = Graph::new();
        let g = &mut graph;
        let inputs: Vec<Value> = function.inputs()[..model.inputs().len()]
            .iter()
            .map(|port| g.input(&port.name, &port.shape))
            .collect();
        let target = g.input("target", wanted);
        let parameters: Vec<Value> = model
            .parameters()
            .iter()
            .map(|p| g.input(&p.name, &p.shape))
            .collect();
        let (output, loss) = squared_error(g, &function, place, &inputs, target, &parameters);
        let of_parameters: Vec<Value> = chosen.iter().map(|&index| parameters[index]).collect();
        let gradients = g.gradient(loss, &of_parameters);
        let input_gradients = g.gradient(loss, &inputs);
        let mut outputs = vec![loss, output];
        outputs.extend(&gradients);
        outputs.extend(&input_gradients);

        let mut given: Vec<&Tensor> = model
            .inputs()
            .iter()
            .map(|io| &self.inputs[&io.name])
            .collect();
        given.push(&self.target);
        let mut query_given = Vec::new();
        if let Some(query) = &self.query {
            let step = g.scalar(self.inner_step.ok_or(CaseError::NoStep)?);
            let mut adapted = parameters.clone();
            for (&index, &gradient) in chosen.iter().zip(&gradients) {
                let change = g.mul(step, gradient);
                adapted[index] = g.sub(parameters[index], change);
            }
            let function = bind(model, &query.inputs)?;
            let wanted = &function.outputs()[place].shape;
            check("query target", &query.target, wanted)?;
            let ports = &function.inputs()[..model.inputs().len()];
            let inputs: Vec<Value> = ports
                .iter()
                .map(|port| g.input(&format!("query.{}", port.name), &port.shape))
                .collect();
            let target = g.input("query.target", wanted);
            let (_, loss) = squared_error(g, &function, place, &inputs, target, &adapted);
            outputs.extend(g.gradient(loss, &of_parameters));
            query_given = model
                .inputs()
                .iter()
                .map(|io| &query.inputs[&io.name])
                .collect();
            query_given.push(&query.target);
        }
        let names: Vec<String> = (0..outputs.len())
            .map(|index| format!("answer.{index}"))
            .collect();
        let named: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(outputs).collect();
        let answers = run(&graph.finish(&named), model, runtime, &given, &query_given)?;

        let mut answers = answers.into_iter();
        let mut take = |names: Vec<&String>| -> BTreeMap<String, Vec<f32>> {
            names.into_iter().cloned().zip(answers.by_ref()).collect()
        };
        let named = |index: &usize| &model.parameters()[*index].name;
        let [loss_name, output_name] = ["loss", "output"].map(String::from);
        let mut first = take(vec![&loss_name, &output_name]);
        Ok(Gradients {
            loss: first[&loss_name][0],
            output: first.remove(&output_name).unwrap_or_default(),
            parameter_gradients: take(chosen.iter().map(named).collect()),
            input_gradients: take(model.inputs().iter().map(|io| &io.name).collect()),
            meta_gradients: take(chosen.iter().map(named).collect()),
        })
    }

    /// Indices of the parameters to differentiate: those that the case names, or all.
    fn chosen_parameters(&self, model: &Model) -> Result<Vec<usize>, CaseError> {
        let known = model.parameters();
        let Some(names) = &self.parameters else {
            return Ok((0..known.len()).collect());
        };
        let index = |name: &String| {
            known
                .iter()
                .position(|p| &p.name == name)
                .ok_or_else(|| CaseError::Unknown {
                    what: "the parameter",
                    name: name.clone(),
                    known: list(known.iter().map(|p| &p.name)),
                })
        };
        names.iter().map(index).collect()
    }
}

/// The model for the sizes that the given inputs have.
fn bind(model: &Model, given: &BTreeMap<String, Tensor>) -> Result<Function, CaseError> {
    if let Some(name) = given
        .keys()
        .find(|name| !model.inputs().iter().any(|io| &io.name == *name))
    {
        let known = list(model.inputs().iter().map(|io| &io.name));
        return Err(CaseError::Unknown {
            what: "the input",
            name: name.clone(),
            known,
        });
    }
    let mut sizes: Vec<(&str, usize)> = Vec::new();
    for io in model.inputs() {
        let tensor = given.get(&io.name).ok_or_else(|| CaseError::Unknown {
            what: "not the input",
            name: io.name.clone(),
            known: list(model.inputs().iter().map(|io| &io.name)),
        })?;
        let fits = tensor.shape.len() == io.dims.len()
            && io
                .dims
                .iter()
                .zip(&tensor.shape)
                .all(|(dim, &size)| match dim {
                    Dim::Fixed(fixed) => *fixed == size,
                    Dim::Named(name) => {
                        let bound = sizes
                            .iter()
                            .find(|(known, _)| known == name)
                            .map(|(_, size)| *size);
                        if bound.is_none() {
                            sizes.push((name, size));
                        }
                        bound.is_none_or(|bound| bound == size)
                    }
                });
        if !fits {
            let dim = |dim: &Dim| match dim {
                Dim::Fixed(size) => size.to_string(),
                Dim::Named(name) => name.clone(),
            };
            let dims: Vec<String> = io.dims.iter().map(dim).collect();
            let expected = format!("({}), a name having one size", dims.join(", "));
            return Err(CaseError::Shape {
                name: io.name.clone(),
                found: tensor.shape.clone(),
                expected,
            });
        }
    }
    Ok(model.function(&sizes)?)
}

fn output_index(model: &Model, name: &str) -> Result<usize, CaseError> {
    model
        .outputs()
        .iter()
        .position(|io| io.name == name)
        .ok_or_else(|| CaseError::Unknown {
            what: "the output",
            name: name.into(),
            known: list(model.outputs().iter().map(|io| &io.name)),
        })
}

fn check(name: &str, tensor: &Tensor, expected: &[usize]) -> Result<(), CaseError> {
    if tensor.shape == expected {
        return Ok(());
    }
    let expected = format!("{expected:?}");
    Err(CaseError::Shape {
        name: name.into(),
        found: tensor.shape.clone(),
        expected,
    })
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The output and its mean squared error.
fn squared_error(
    g: &mut Graph,
    function: &Function,
    place: usize,
    inputs: &[Value],
    target: Value,
    parameters: &[Value],
) -> (Value, Value) {
    let arguments: Vec<Value> = inputs.iter().chain(parameters).copied().collect();
    let output = g.inline(function, &arguments)[place];
    let error = g.sub(output, target);
    let square = g.mul(error, error);
    let axes: Vec<usize> = (0..g.shape(square).len()).collect();
    (output, g.mean(square, &axes, false))
}

/// Runs the derived graph: inputs and target, parameters, then the query's inputs and target.
fn run(
    function: &Function,
    model: &Model,
    runtime: &Runtime,
    given: &[&Tensor],
    query: &[&Tensor],
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut program = Program::new(runtime, "gradients", function, model.opset(), || 0)?;
    let parameters = model.parameters().iter().map(|p| &p.data);
    let data = given
        .iter()
        .map(|t| &t.data)
        .chain(parameters)
        .chain(query.iter().map(|t| &t.data));
    for (index, data) in data.enumerate() {
        program.input_mut(index).copy_from_slice(data);
    }
    program.run()?;
    Ok((0..function.outputs().len())
        .map(|index| program.output(index).to_vec())
        .collect())
}
