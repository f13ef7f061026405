//! An ONNX model file: checked once, then a source of functions.

mod check;
mod external;
mod local;
mod signature;

use crate::error::Error;
use crate::function::Function;
use crate::graph::Graph;
use crate::half;
use crate::import::{self, Item, Kind, Tensor};
use crate::proto::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, tensor_proto::DataType,
};
use prost::Message;
use signature::Signature;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The size of an axis of a model's input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// Known from the file.
    Fixed(usize),
    /// Bound by [`Model::function`]; axes of one name have one size. An axis to which the exporter gave no name is called
    /// `<tensor>.<axis>`.
    Named(String),
}

/// A float tensor that goes into a model or comes out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Io {
    /// Its name in the file.
    pub name: String,
    /// Its axes.
    pub dims: Vec<Dim>,
}

/// A stored tensor that a model computes with: what training and adaptation change.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name in the file.
    pub name: String,
    /// Sizes of its axes.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub data: Vec<f32>,
}

/// A model as read from ONNX bytes.
#[derive(Clone, Debug)]
pub struct Model {
    file: ModelProto,
    /// The graph's nodes, with calls of model-local functions expanded.
    nodes: Vec<NodeProto>,
    inputs: Vec<Io>,
    outputs: Vec<Io>,
    parameters: Vec<Parameter>,
    /// Stored tensors that are not parameters: shapes, indices, bounds, statistics.
    constants: BTreeMap<String, Tensor>,
    opset: i64,
    metadata: BTreeMap<String, String>,
}

impl Model {
    /// Decodes and checks a model: versions, operators, stored tensors, the order of nodes. Shapes are checked by
    /// [`Model::function`], when the axes have sizes. A model with tensors in a side file needs [`Model::open`].
    ///
    /// Which stored tensors are [`Parameter`]s: those that torch's own note of the export calls so; else those of floats in at
    /// least one axis, unless the note calls them buffers, or every node that uses them takes their numbers as settings
    /// (bounds, exponents, stored statistics).
    ///
    /// Element types narrower or wider than float32 are read, and computed with in float32.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        Self::from_proto(ModelProto::decode(bytes)?)
    }

    /// Like [`Model::read`] for a file, and the side files beside it in which exporters put large tensors.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let mut file = ModelProto::decode(external::read_file(path)?.as_slice())?;
        if let (Some(graph), Some(folder)) = (&mut file.graph, path.parent()) {
            external::load(graph, folder)?;
        }
        Self::from_proto(file)
    }

    fn from_proto(mut file: ModelProto) -> Result<Self, Error> {
        let property = |p: &StringStringEntryProto| (p.key().to_owned(), p.value().to_owned());
        let metadata = file.metadata_props.iter().map(property).collect();
        let (ir_version, opset) = (file.ir_version(), default_opset(&file));
        strip_traces(file.graph.as_mut().ok_or(Error::NoGraph)?);
        let graph = file.graph.as_ref().ok_or(Error::NoGraph)?;
        if !(4..=13).contains(&ir_version) {
            return Err(Error::IrVersion { found: ir_version });
        }
        if !(13..=26).contains(&opset) {
            return Err(Error::Opset {
                model: graph.name().to_owned(),
                found: opset,
            });
        }
        let stored: BTreeSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let fed = graph
            .input
            .iter()
            .filter(|input| !stored.contains(input.name()));
        let inputs = fed
            .map(|info| check::read_io("input", info))
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = graph
            .output
            .iter()
            .map(|info| check::read_io("output", info))
            .collect::<Result<Vec<_>, _>>()?;
        let nodes = local::expand(&file, graph.name(), &graph.node)?;
        check::check_nodes(graph, &nodes, &inputs)?;
        let signature = Signature::read(&file, graph);
        let mut parameters = vec![];
        let mut constants = BTreeMap::new();
        for proto in &graph.initializer {
            let tensor = check::read_initializer(proto)?;
            let name = proto.name().to_owned();
            if check::is_parameter(&name, &tensor, &nodes, &signature)? {
                let data = tensor.data.iter().map(|&x| x as f32).collect();
                parameters.push(Parameter {
                    name,
                    data,
                    shape: tensor.shape,
                });
            } else {
                constants.insert(name, tensor);
            }
        }
        Ok(Model {
            inputs,
            outputs,
            parameters,
            constants,
            opset,
            metadata,
            nodes,
            file,
        })
    }

    /// What goes in, parameters aside, in the file's order.
    pub fn inputs(&self) -> &[Io] {
        &self.inputs
    }

    /// What comes out, in the file's order.
    pub fn outputs(&self) -> &[Io] {
        &self.outputs
    }

    /// The parameters, in the file's order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters whose names match at least one pattern, in the file's order. In a pattern `*` stands for any
    /// characters, also none. A pattern without a match is an error.
    pub fn matching(&self, patterns: &[&str]) -> Result<Vec<&Parameter>, Error> {
        let chosen = |p: &&Parameter| patterns.iter().any(|pattern| matches(pattern, &p.name));
        match patterns
            .iter()
            .find(|pattern| !self.parameters.iter().any(|p| matches(pattern, &p.name)))
        {
            Some(&pattern) => Err(Error::Parameter {
                name: pattern.to_owned(),
                reason: "matches no parameter",
            }),
            None => Ok(self.parameters.iter().filter(chosen).collect()),
        }
    }

    /// The version of the default operator set, 13 to 26: what derived graphs are best written with.
    pub fn opset(&self) -> i64 {
        self.opset
    }

    /// The file's metadata properties.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The model as a function with the named axes bound to sizes. Its inputs are the model's, then the parameters; its
    /// outputs are the model's.
    pub fn function(&self, sizes: &[(&str, usize)]) -> Result<Function, Error> {
        let sizes: BTreeMap<&str, usize> = sizes.iter().copied().collect();
        self.check_sizes(&sizes)?;
        let mut g = Graph::new();
        let mut items: HashMap<&str, Item> = HashMap::new();
        for input in &self.inputs {
            let shape = bind(&input.dims, &sizes)?;
            items.insert(&input.name, Item::float(g.input(&input.name, &shape)));
        }
        for parameter in &self.parameters {
            let value = g.input(&parameter.name, &parameter.shape);
            items.insert(&parameter.name, Item::float(value));
        }
        for (name, tensor) in &self.constants {
            items.insert(name, import::literal(&mut g, tensor));
        }
        let model = self.file.graph.as_ref().map_or("", GraphProto::name);
        import::build(&mut g, model, self.opset, &self.nodes, &mut items)?;
        let mut results = vec![];
        for output in &self.outputs {
            let fault = |reason| Error::Port {
                port: "output",
                name: output.name.clone(),
                reason,
            };
            let item = items
                .get(output.name.as_str())
                .ok_or_else(|| fault("no node computes it"))?;
            if item.kind != Kind::Float {
                return Err(fault("is not a float tensor"));
            }
            results.push((output.name.as_str(), item.value));
        }
        Ok(g.finish(&results))
    }

    /// The same model with other numbers in the given parameters (all elements, row-major) and with the given metadata
    /// properties set; parameters and properties that are not given stay as they are. Stack traces that exporters leave in
    /// nodes are not written.
    pub fn write(
        &self,
        parameters: &BTreeMap<&str, Vec<f32>>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, Error> {
        let mut file = self.file.clone();
        for (&name, data) in parameters {
            let fault = |reason| Error::Parameter {
                name: name.to_owned(),
                reason,
            };
            let known = self.parameters.iter().find(|p| p.name == name);
            if known
                .ok_or_else(|| fault("the model has no such parameter"))?
                .data
                .len()
                != data.len()
            {
                return Err(fault("the new values do not fill its shape"));
            }
            let stored = file.graph.iter_mut().flat_map(|g| &mut g.initializer);
            for tensor in stored.filter(|tensor| tensor.name() == name) {
                store(tensor, data);
            }
        }
        for (key, value) in metadata {
            file.metadata_props.retain(|p| p.key() != key);
            file.metadata_props.push(StringStringEntryProto {
                key: Some(key.clone()),
                value: Some(value.clone()),
            });
        }
        Ok(file.encode_to_vec())
    }

    fn check_sizes(&self, sizes: &BTreeMap<&str, usize>) -> Result<(), Error> {
        let dims = self.inputs.iter().flat_map(|input| &input.dims);
        let known: BTreeSet<&str> = dims
            .filter_map(|dim| match dim {
                Dim::Named(name) => Some(name.as_str()),
                Dim::Fixed(_) => None,
            })
            .collect();
        match sizes.keys().find(|name| !known.contains(*name)) {
            Some(&name) => Err(Error::UnknownDim {
                name: name.to_owned(),
                known: known.into_iter().map(str::to_owned).collect(),
            }),
            None => Ok(()),
        }
    }
}

fn bind(dims: &[Dim], sizes: &BTreeMap<&str, usize>) -> Result<Vec<usize>, Error> {
    dims.iter()
        .map(|dim| match dim {
            Dim::Fixed(size) => Ok(*size),
            Dim::Named(name) => sizes
                .get(name.as_str())
                .copied()
                .ok_or_else(|| Error::UnboundDim { name: name.clone() }),
        })
        .collect()
}

/// Removes what exporters note about the Python source of each node: local paths, of no use to a reader.
fn strip_traces(graph: &mut GraphProto) {
    for node in &mut graph.node {
        node.doc_string = None;
        node.metadata_props
            .retain(|p| !p.key().contains("stack_trace"));
    }
}

/// The version of the default operator set; 0 if the file imports none.
fn default_opset(file: &ModelProto) -> i64 {
    let mut imports = file.opset_import.iter();
    imports
        .find(|import| matches!(import.domain(), "" | "ai.onnx"))
        .map_or(0, |import| import.version())
}

/// Replaces a stored tensor's numbers, in its own element type.
fn store(tensor: &mut TensorProto, data: &[f32]) {
    let raw = match DataType::try_from(tensor.data_type()) {
        Ok(DataType::Double) => data
            .iter()
            .flat_map(|&x| f64::from(x).to_le_bytes())
            .collect(),
        Ok(DataType::Float16) => data
            .iter()
            .flat_map(|&x| half::to_f16(x).to_le_bytes())
            .collect(),
        Ok(DataType::Bfloat16) => data
            .iter()
            .flat_map(|&x| half::to_bf16(x).to_le_bytes())
            .collect(),
        _ => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    tensor.float_data.clear();
    tensor.double_data.clear();
    tensor.int32_data.clear();
    tensor.raw_data = Some(raw);
}

/// True if the pattern, in which `*` stands for any characters, covers the whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(tail) = name.strip_prefix(first) else {
        return false;
    };
    (0..=tail.len()).any(|i| tail.is_char_boundary(i) && matches(rest, &tail[i..]))
}
