//! An ONNX model file: checked once, then a source of functions.

use crate::error::{Error, Fault};
use crate::function::Function;
use crate::graph::Graph;
use crate::import::{self, Item, Kind, Tensor};
use crate::proto::{
    GraphProto, ModelProto, StringStringEntryProto, TensorProto, ValueInfoProto,
    tensor_proto::DataType, tensor_shape_proto::dimension, type_proto,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, HashMap};

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
    /// [`Model::function`], when the axes have sizes.
    ///
    /// A float initializer of at least one axis is a [`Parameter`], unless every node that uses it takes its numbers as
    /// settings (bounds, exponents, stored statistics).
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut file = ModelProto::decode(bytes)?;
        let metadata = file
            .metadata_props
            .iter()
            .map(|p| (p.key().to_owned(), p.value().to_owned()))
            .collect();
        let (ir_version, opset) = (file.ir_version(), default_opset(&file));
        let graph = file.graph.as_mut().ok_or(Error::NoGraph)?;
        strip_traces(graph);
        let graph = &*graph;
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
            .map(|info| read_io("input", info))
            .collect::<Result<Vec<_>, _>>()?;
        let outputs = graph
            .output
            .iter()
            .map(|info| read_io("output", info))
            .collect::<Result<Vec<_>, _>>()?;
        check_nodes(graph, &inputs)?;
        let mut parameters = vec![];
        let mut constants = BTreeMap::new();
        for proto in &graph.initializer {
            let tensor = read_initializer(proto)?;
            let users = users(graph, proto.name());
            if tensor.kind == Kind::Float
                && !tensor.shape.is_empty()
                && users.iter().any(|u| u.computes)
            {
                check_tied(proto.name(), &tensor, &users)?;
                parameters.push(Parameter {
                    name: proto.name().to_owned(),
                    data: tensor.data.iter().map(|&x| x as f32).collect(),
                    shape: tensor.shape,
                });
            } else {
                constants.insert(proto.name().to_owned(), tensor);
            }
        }
        Ok(Model {
            inputs,
            outputs,
            parameters,
            constants,
            opset,
            metadata,
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
        let graph = self.graph();
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
        import::build(&mut g, graph.name(), self.opset, &graph.node, &mut items)?;
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

    fn graph(&self) -> &GraphProto {
        self.file.graph.as_ref().expect("checked when read")
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

fn read_io(port: &'static str, info: &ValueInfoProto) -> Result<Io, Error> {
    let name = info.name().to_owned();
    let fault = |reason| Error::Port {
        port,
        name: name.clone(),
        reason,
    };
    let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(fault("is not a tensor, or has no type"));
    };
    if tensor.elem_type() != DataType::Float as i32 {
        return Err(fault("is not a float32 tensor"));
    }
    let shape = tensor
        .shape
        .as_ref()
        .ok_or_else(|| fault("has no shape: export with a known number of axes"))?;
    let dims = shape
        .dim
        .iter()
        .enumerate()
        .map(|(axis, dim)| match &dim.value {
            Some(dimension::Value::DimValue(size)) => match usize::try_from(*size) {
                Ok(size) if size <= 1 << 32 => Ok(Dim::Fixed(size)),
                _ => Err(fault("has an axis of impossible size")),
            },
            Some(dimension::Value::DimParam(symbol)) if !symbol.is_empty() => {
                Ok(Dim::Named(symbol.clone()))
            }
            _ => Ok(Dim::Named(format!("{}.{axis}", info.name()))),
        });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    Ok(Io {
        name: name.clone(),
        dims,
    })
}

/// Every operator has a rule, every operand exists before it is read, no name is given twice.
fn check_nodes(graph: &GraphProto, inputs: &[Io]) -> Result<(), Error> {
    let mut defined: BTreeSet<&str> = BTreeSet::new();
    let stored = graph.initializer.iter().map(TensorProto::name);
    let define = |defined: &mut BTreeSet<_>, name| match defined.insert(name) {
        true => Ok(()),
        false => Err(Error::Duplicate {
            name: str::to_owned(name),
        }),
    };
    for name in inputs.iter().map(|input| input.name.as_str()).chain(stored) {
        define(&mut defined, name)?;
    }
    for node in &graph.node {
        let fault = |fault| import::at_node(graph.name(), node, fault);
        if import::rule(node).is_none() {
            return Err(fault(Fault::UnknownOp));
        }
        for name in node.input.iter().filter(|name| !name.is_empty()) {
            if !defined.contains(name.as_str()) {
                return Err(fault(Fault::UndefinedOperand(name.clone())));
            }
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            define(&mut defined, name)?;
        }
    }
    let mut named = BTreeSet::new();
    for output in &graph.output {
        define(&mut named, output.name())?;
    }
    Ok(())
}

fn read_initializer(proto: &TensorProto) -> Result<Tensor, Error> {
    let name = proto.name().to_owned();
    if let Some(location) = proto
        .external_data
        .iter()
        .find(|entry| entry.key() == "location")
    {
        return Err(Error::ExternalData {
            name,
            location: location.value().to_owned(),
        });
    }
    Tensor::read(proto).map_err(|reason| Error::Initializer { name, reason })
}

/// One use of a stored tensor.
struct User<'a> {
    node: &'a str,
    /// False where its numbers are settings of the operator.
    computes: bool,
}

fn users<'a>(graph: &'a GraphProto, name: &str) -> Vec<User<'a>> {
    let mut users = vec![];
    for node in &graph.node {
        for (i, _) in node
            .input
            .iter()
            .enumerate()
            .filter(|(_, input)| *input == name)
        {
            let computes = !matches!(
                (node.op_type(), i),
                ("Clip" | "Pad", 1..)
                    | ("Pow" | "Dropout", 1)
                    | ("BatchNormalization", 3..)
                    | ("Range" | "CastLike", _)
            );
            users.push(User {
                node: import::node_name(node),
                computes,
            });
        }
    }
    users
}

/// Two uses of one repeated number are two parameters that an exporter has merged; two uses of other numbers are one
/// parameter that the model shares.
fn check_tied(name: &str, tensor: &Tensor, users: &[User<'_>]) -> Result<(), Error> {
    let repeated = tensor.data.len() > 1 && tensor.data.windows(2).all(|w| w[0] == w[1]);
    match users {
        [first, second, ..] if repeated => Err(Error::Tied {
            name: name.to_owned(),
            first: first.node.to_owned(),
            second: second.node.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Replaces a stored tensor's numbers, in its own element type.
fn store(tensor: &mut TensorProto, data: &[f32]) {
    let raw = match tensor.data_type() == DataType::Double as i32 {
        true => data
            .iter()
            .flat_map(|&x| f64::from(x).to_le_bytes())
            .collect(),
        false => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    tensor.float_data.clear();
    tensor.double_data.clear();
    tensor.raw_data = Some(raw);
}
