//! What is checked when a model is read.

use super::signature::Signature;
use super::{Dim, Io};
use crate::error::{Error, Fault};
use crate::import::{self, Kind, Tensor};
use crate::proto::{
    GraphProto, NodeProto, TensorProto, ValueInfoProto, tensor_proto::DataType,
    tensor_shape_proto::dimension, type_proto,
};
use std::collections::BTreeSet;

/// Name and axes of a graph input or output, which must be a float tensor.
pub(super) fn read_io(port: &'static str, info: &ValueInfoProto) -> Result<Io, Error> {
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
    let floats = [
        DataType::Float,
        DataType::Double,
        DataType::Float16,
        DataType::Bfloat16,
    ];
    if !floats
        .iter()
        .any(|&float| tensor.elem_type() == float as i32)
    {
        return Err(fault("is not a float tensor"));
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
            _ => Ok(Dim::Named(format!("{name}.{axis}"))),
        });
    let dims = dims.collect::<Result<Vec<_>, _>>()?;
    Ok(Io {
        name: name.clone(),
        dims,
    })
}

/// Every operator has a rule, every operand exists before it is read, no name is given twice.
pub(super) fn check_nodes(
    graph: &GraphProto,
    nodes: &[NodeProto],
    inputs: &[Io],
) -> Result<(), Error> {
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
    for node in nodes {
        let fault = |fault| import::at_node(graph.name(), node, fault);
        if !import::is_known(node) {
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

/// Decodes a stored tensor.
pub(super) fn read_initializer(proto: &TensorProto) -> Result<Tensor, Error> {
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

/// True if a stored tensor is a parameter: if the exporter says so or, where it says nothing, if it holds floats in at least one
/// axis with which some node computes.
pub(super) fn is_parameter(
    name: &str,
    tensor: &Tensor,
    nodes: &[NodeProto],
    signature: &Signature,
) -> Result<bool, Error> {
    let users = users(nodes, name);
    let listed = signature.parameters.contains(name);
    let likely = !tensor.shape.is_empty() && users.iter().any(|user| user.computes);
    let parameter =
        tensor.kind == Kind::Float && (listed || likely) && !signature.buffers.contains(name);
    if parameter && (!listed || signature.incomplete) {
        check_tied(name, tensor, &users)?;
    }
    Ok(parameter)
}

/// One use of a stored tensor.
struct User<'a> {
    node: &'a str,
    /// False where its numbers are settings of the operator.
    computes: bool,
}

fn users<'a>(nodes: &'a [NodeProto], name: &str) -> Vec<User<'a>> {
    let mut found = vec![];
    for node in nodes {
        for i in (0..node.input.len()).filter(|&i| node.input[i] == name) {
            let unused_bias = || {
                node.attribute
                    .iter()
                    .any(|a| a.name() == "beta" && a.f() == 0.0)
            };
            let computes = match (node.op_type(), i) {
                ("Clip" | "Pad", 1..) | ("Pow" | "Dropout", 1) => false,
                ("BatchNormalization", 3..) | ("Range" | "CastLike", _) | ("OneHot", 2) => false,
                ("Gemm", 2) => !unused_bias(),
                _ => true,
            };
            found.push(User {
                node: import::node_name(node),
                computes,
            });
        }
        for branch in node.attribute.iter().filter_map(|a| a.g.as_ref()) {
            found.extend(users(&branch.node, name));
        }
    }
    found
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
