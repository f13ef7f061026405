//! What several tests share: seeded numbers, models by hand, finite differences, ONNX Runtime.

#![allow(dead_code)]

pub mod case;

use onnx_grad::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto, type_proto,
};
use onnx_grad::{Function, Graph, Value};
use prost::Message;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A small seeded generator (SplitMix64): tests must not depend on a crate's choice of stream.
pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// An integer in `low..=high`.
    pub fn size(&mut self, low: usize, high: usize) -> usize {
        low + (self.unit() * (high - low + 1) as f64) as usize
    }

    pub fn tensor(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count).map(|_| self.between(low, high)).collect()
    }
}

pub fn numel(shape: &[usize]) -> usize {
    shape.iter().product()
}

// ---- ONNX models by hand

pub fn attribute_int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(i),
        ..Default::default()
    }
}

pub fn attribute_float(name: &str, f: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(f),
        ..Default::default()
    }
}

pub fn attribute_ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Ints as i32),
        ints: ints.to_vec(),
        ..Default::default()
    }
}

pub fn attribute_string(name: &str, s: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::String as i32),
        s: Some(s.as_bytes().to_vec()),
        ..Default::default()
    }
}

pub fn node(
    op: &str,
    inputs: &[&str],
    outputs: &[&str],
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("the_{op}")),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        attribute,
        ..Default::default()
    }
}

pub fn floats(name: &str, shape: &[usize], data: &[f64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Float as i32),
        float_data: data.iter().map(|&x| x as f32).collect(),
        ..Default::default()
    }
}

pub fn integers(name: &str, shape: &[usize], data: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Int64 as i32),
        int64_data: data.to_vec(),
        ..Default::default()
    }
}

pub fn bools(name: &str, shape: &[usize], data: &[bool]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: Some(DataType::Bool as i32),
        int32_data: data.iter().map(|&b| i32::from(b)).collect(),
        ..Default::default()
    }
}

fn port(name: &str, shape: Option<&[usize]>) -> ValueInfoProto {
    let dim = |&d: &usize| tensor_shape_proto::Dimension {
        value: Some(tensor_shape_proto::dimension::Value::DimValue(d as i64)),
        ..Default::default()
    };
    let shape = shape.map(|shape| TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    });
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(DataType::Float as i32),
                shape: shape.or_else(|| Some(TensorShapeProto::default())),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A model; outputs are given by name and shape.
pub fn model(
    opset: i64,
    inputs: &[(&str, Vec<usize>)],
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    outputs: &[(&str, Vec<usize>)],
) -> ModelProto {
    let ports = |list: &[(&str, Vec<usize>)]| list.iter().map(|(n, s)| port(n, Some(s))).collect();
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(opset),
        }],
        graph: Some(GraphProto {
            name: Some("test".into()),
            node: nodes,
            initializer: initializers,
            input: ports(inputs),
            output: ports(outputs),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

// ---- finite differences

/// Central differences of scalar output 0 with respect to every input.
pub fn central_differences(f: &Function, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    const STEP: f64 = 1e-5;
    let at = |inputs: &[Vec<f64>]| {
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        f.evaluate(&slices)[0][0]
    };
    let mut moved = inputs.to_vec();
    (0..inputs.len())
        .map(|i| {
            (0..inputs[i].len())
                .map(|j| {
                    let x = inputs[i][j];
                    moved[i][j] = x + STEP;
                    let above = at(&moved);
                    moved[i][j] = x - STEP;
                    let below = at(&moved);
                    moved[i][j] = x;
                    (above - below) / (2.0 * STEP)
                })
                .collect()
        })
        .collect()
}

/// Largest difference of two vectors, relative to the larger of the second's largest element and `floor`.
pub fn relative_error(found: &[f64], expected: &[f64], floor: f64) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(floor, |m, x| m.max(x.abs()));
    found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
        / scale
}

/// The sum of all outputs of `f`, each times fixed random weights: a scalar whose gradient tests every element.
pub fn weighted_sum(g: &mut Graph, values: &[Value], random: &mut Random) -> Value {
    let mut total = g.scalar(0.0);
    for &v in values {
        let shape = g.shape(v).to_vec();
        let weights = random.tensor(numel(&shape), -1.0, 1.0);
        let weights = g.constant(&shape, &weights);
        let product = g.mul(v, weights);
        let axes: Vec<usize> = (0..shape.len()).collect();
        let sum = g.reduce_sum(product, &axes, false);
        total = g.add(total, sum);
    }
    total
}

/// `f`'s weighted sum and its gradient with respect to all inputs, and a weighted sum of that gradient and its gradient.
pub fn first_and_second_order(f: &Function, seed: u64) -> (Function, Function) {
    let mut random = Random(seed);
    let mut g = Graph::new();
    let inputs: Vec<Value> = f
        .inputs()
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let outputs = g.inline(f, &inputs);
    let loss = weighted_sum(&mut g, &outputs, &mut random);
    let first = g.gradient(loss, &inputs);
    let slope = weighted_sum(&mut g, &first, &mut random);
    let second = g.gradient(slope, &inputs);
    let finish = |g: &Graph, value: Value, gradients: &[Value]| {
        let names: Vec<String> = f
            .inputs()
            .iter()
            .map(|p| format!("gradient of {}", p.name))
            .collect();
        let mut outputs = vec![("value", value)];
        outputs.extend(
            names
                .iter()
                .map(String::as_str)
                .zip(gradients.iter().copied()),
        );
        g.finish(&outputs)
    };
    (finish(&g, loss, &first), finish(&g, slope, &second))
}

/// Asserts that both orders of gradient of `f` agree with central differences to 1e-6 relative.
pub fn assert_differentiates(what: &str, f: &Function, inputs: &[Vec<f64>], seed: u64) {
    let (first, second) = first_and_second_order(f, seed);
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    for (order, derived) in [("first", &first), ("second", &second)] {
        let found = derived.evaluate(&slices);
        let expected = central_differences(derived, inputs);
        for ((port, found), expected) in f.inputs().iter().zip(&found[1..]).zip(&expected) {
            let error = relative_error(found, expected, 1e-2);
            assert!(
                error < 1e-6,
                "{what}: {order} order, '{}': error {error:.1e}\n{found:?}\n{expected:?}",
                port.name
            );
        }
    }
}

// ---- ONNX Runtime

fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return path.into();
    }
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/native"));
    let found = std::fs::read_dir(&folder).ok().and_then(|entries| {
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths.find(|path| path.to_string_lossy().contains("libonnxruntime."))
    });
    found.unwrap_or_else(|| {
        panic!(
            "ONNX Runtime is neither at ORT_DYLIB_PATH nor in {}: run `cargo xtask setup`",
            folder.display()
        )
    })
}

/// A model loaded by ONNX Runtime.
pub struct Session {
    session: ort::session::Session,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Session {
    pub fn new(model: &[u8], threads: usize) -> Self {
        static ENVIRONMENT: OnceLock<ort::environment::Environment> = OnceLock::new();
        let environment =
            ENVIRONMENT.get_or_init(|| ort::init_from(library()).unwrap().build().unwrap());
        let session = ort::session::Session::builder(environment)
            .unwrap()
            .with_intra_threads(threads)
            .unwrap()
            .with_optimization_level(ort::session::builder::GraphOptimizationLevel::Level1)
            .unwrap()
            .commit_from_memory(model)
            .unwrap();
        let inputs = session
            .inputs()
            .iter()
            .map(|input| input.name().to_owned())
            .collect();
        let outputs = session
            .outputs()
            .iter()
            .map(|output| output.name().to_owned())
            .collect();
        Session {
            session,
            inputs,
            outputs,
        }
    }

    /// Shapes and elements as tensors, in the order of the model's inputs.
    pub fn tensors(&self, inputs: &[(Vec<usize>, Vec<f64>)]) -> Vec<ort::value::Tensor<f32>> {
        assert_eq!(self.inputs.len(), inputs.len());
        let tensor = |(shape, data): &(Vec<usize>, Vec<f64>)| {
            let data: Vec<f32> = data.iter().map(|&x| x as f32).collect();
            ort::value::Tensor::from_array((shape.clone(), data)).unwrap()
        };
        inputs.iter().map(tensor).collect()
    }

    /// Runs and forgets the outputs: what a benchmark times.
    pub fn execute(&mut self, tensors: &[ort::value::Tensor<f32>]) {
        let named: Vec<_> = self
            .inputs
            .iter()
            .map(String::as_str)
            .zip(tensors)
            .collect();
        drop(self.session.run(named).unwrap());
    }

    /// Outputs in the model's order.
    pub fn run(&mut self, tensors: &[ort::value::Tensor<f32>]) -> Vec<Vec<f32>> {
        let named: Vec<_> = self
            .inputs
            .iter()
            .map(String::as_str)
            .zip(tensors)
            .collect();
        let results = self.session.run(named).unwrap();
        let output = |name: &String| {
            results[name.as_str()]
                .try_extract_tensor::<f32>()
                .unwrap()
                .1
                .to_vec()
        };
        self.outputs.iter().map(output).collect()
    }
}

/// Runs a model on ONNX Runtime; inputs in the model's order, outputs in its order.
pub fn run_onnx(model: &[u8], inputs: &[(Vec<usize>, Vec<f64>)], threads: usize) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, threads);
    let tensors = session.tensors(inputs);
    session.run(&tensors)
}
