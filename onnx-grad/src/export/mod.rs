//! Writing a function as an ONNX model: each value once, in order, under deterministic names.

mod gemm;
mod ops;

use crate::function::Function;
use crate::ir::{Op, Value};
use crate::proto::tensor_proto::DataType;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_shape_proto, type_proto,
};
use gemm::{Fusion, plan};
use prost::Message;
use std::collections::BTreeMap;

/// The oldest IR version that has all that is written here; every runtime of today reads it.
const IR_VERSION: i64 = 8;

/// ONNX Runtime's own domain, for batched products of transposed matrices.
pub(crate) const MICROSOFT: &str = "com.microsoft";

impl Function {
    /// The function as an ONNX model in float32, with the names of its inputs and outputs. The same function gives the same
    /// bytes. Batched products of transposed matrices use ONNX Runtime's `com.microsoft.FusedMatMul`, all else the
    /// default operator set.
    ///
    /// # Panics
    /// If `opset` is not in 13..=26: [`Model::opset`](crate::Model::opset) is.
    pub fn to_onnx(&self, opset: i64) -> Vec<u8> {
        assert!(
            (13..=26).contains(&opset),
            "opset {opset} is not in 13..=26"
        );
        let spelt_out = self.with_inverses_swept();
        Writer::new(&spelt_out, opset).finish()
    }
}

struct Writer<'a> {
    f: &'a Function,
    opset: i64,
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    /// The name under which each value is known, once written.
    names: Vec<Option<String>>,
    /// Names of masks as booleans and as floats: each form is written when first asked for.
    bools: BTreeMap<Value, String>,
    shapes: BTreeMap<Vec<i64>, String>,
    /// What no input's or output's name begins with.
    prefix: String,
    uses_microsoft: bool,
}

impl<'a> Writer<'a> {
    fn new(f: &'a Function, opset: i64) -> Self {
        let ports = || f.inputs().iter().chain(f.outputs());
        let mut prefix = "v".to_owned();
        while ports().any(|port| port.name.starts_with(&prefix)) {
            prefix.push('_');
        }
        Writer {
            f,
            opset,
            nodes: vec![],
            initializers: vec![],
            names: vec![None; f.nodes.len()],
            bools: BTreeMap::new(),
            shapes: BTreeMap::new(),
            prefix,
            uses_microsoft: false,
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.name_ports();
        let fusions = plan(self.f);
        for (i, fusion) in fusions.iter().enumerate() {
            match fusion {
                Fusion::None => self.write_value(Value(i as u32)),
                Fusion::Root(product) => self.write_product(Value(i as u32), product),
                Fusion::Absorbed => {}
            }
        }
        self.write_aliases();
        let mut opset_import = vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(self.opset),
        }];
        if self.uses_microsoft {
            opset_import.push(OperatorSetIdProto {
                domain: Some(MICROSOFT.to_owned()),
                version: Some(1),
            });
        }
        let port = |port: &crate::Port| ValueInfoProto {
            name: Some(port.name.clone()),
            r#type: Some(float_type(&port.shape)),
            ..Default::default()
        };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            opset_import,
            graph: Some(GraphProto {
                name: Some("function".to_owned()),
                node: self.nodes,
                initializer: self.initializers,
                input: self.f.inputs().iter().map(port).collect(),
                output: self.f.outputs().iter().map(port).collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        model.encode_to_vec()
    }

    /// Inputs keep their names; a computed value that is an output gets the first such name.
    fn name_ports(&mut self) {
        for (port, v) in self.f.inputs().iter().zip(&self.f.arguments) {
            self.names[v.index()] = Some(port.name.clone());
        }
        for (port, v) in self.f.outputs().iter().zip(&self.f.results) {
            let computed = !matches!(self.f.nodes[v.index()].op, Op::Constant(_));
            if computed && self.names[v.index()].is_none() {
                self.names[v.index()] = Some(port.name.clone());
            }
        }
    }

    /// Outputs that are inputs, constants, or equal to another output.
    fn write_aliases(&mut self) {
        for (port, &v) in self.f.outputs().iter().zip(&self.f.results) {
            let source = self.name(v);
            if source != port.name {
                self.push("Identity", vec![source], port.name.clone(), vec![]);
            }
        }
    }

    /// The name of a value as a float tensor. A constant is written when it is first asked for, as fused ones never are.
    fn name(&mut self, v: Value) -> String {
        if let Some(name) = &self.names[v.index()] {
            return name.clone();
        }
        let name = format!("{}{}", self.prefix, v.0);
        self.names[v.index()] = Some(name.clone());
        let node = &self.f.nodes[v.index()];
        if let Op::Constant(data) = &node.op {
            self.initializers.push(TensorProto {
                name: Some(name.clone()),
                dims: node.shape.iter().map(|&d| d as i64).collect(),
                data_type: Some(DataType::Float as i32),
                raw_data: Some(
                    data.0
                        .iter()
                        .flat_map(|&x| (x as f32).to_le_bytes())
                        .collect(),
                ),
                ..Default::default()
            });
        }
        name
    }

    /// The name of a mask as a boolean tensor.
    fn mask(&mut self, v: Value) -> String {
        if let Some(name) = self.bools.get(&v) {
            return name.clone();
        }
        let name = self.mask_name(v);
        let source = self.name(v);
        self.push(
            "Cast",
            vec![source],
            name.clone(),
            vec![int("to", DataType::Bool as i64)],
        );
        self.bools.insert(v, name.clone());
        name
    }

    fn mask_name(&self, v: Value) -> String {
        format!("{}{}b", self.prefix, v.0)
    }

    /// True if some reader of `v` needs it as a float tensor.
    fn read_as_float(&self, v: Value) -> bool {
        let reads = |node: &crate::ir::Node| {
            let mut floats = node.inputs.iter().skip(usize::from(node.op == Op::Select));
            floats.any(|&input| input == v)
        };
        self.f.results.contains(&v) || self.f.nodes.iter().any(reads)
    }

    /// A list of sizes, axes or indices as a stored tensor, each distinct one once.
    fn integers(&mut self, list: &[usize]) -> String {
        let list: Vec<i64> = list.iter().map(|&x| x as i64).collect();
        let next = format!("{}i{}", self.prefix, self.shapes.len());
        let initializers = &mut self.initializers;
        self.shapes
            .entry(list)
            .or_insert_with_key(|list| {
                initializers.push(TensorProto {
                    name: Some(next.clone()),
                    dims: vec![list.len() as i64],
                    data_type: Some(DataType::Int64 as i32),
                    raw_data: Some(list.iter().flat_map(|x| x.to_le_bytes()).collect()),
                    ..Default::default()
                });
                next
            })
            .clone()
    }

    fn push(
        &mut self,
        op: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            op_type: Some(op.to_owned()),
            name: Some(output.clone()),
            input,
            output: vec![output],
            attribute,
            ..Default::default()
        });
    }
}

fn float_type(shape: &[usize]) -> TypeProto {
    let dim = |&size: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(size as i64)),
        ..Default::default()
    };
    TypeProto {
        value: Some(type_proto::Value::TensorType(type_proto::Tensor {
            elem_type: Some(DataType::Float as i32),
            shape: Some(TensorShapeProto {
                dim: shape.iter().map(dim).collect(),
            }),
        })),
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(i),
        r#type: Some(AttributeType::Int as i32),
        ..Default::default()
    }
}

fn ints(name: &str, list: &[usize]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: list.iter().map(|&x| x as i64).collect(),
        r#type: Some(AttributeType::Ints as i32),
        ..Default::default()
    }
}

fn float(name: &str, f: f64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        f: Some(f as f32),
        r#type: Some(AttributeType::Float as i32),
        ..Default::default()
    }
}
