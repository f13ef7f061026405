//! The network that a recipe describes, written as a plain ONNX model.
//!
//! `next_state = state + change`, the change being an MLP's normalised output. Features are the states but the pose, with
//! sine and cosine in the place of angles, then the actions, each normalised and clipped to +-5. The displacement is
//! predicted in the body frame and turned by the heading: dynamics do not depend on place and heading.

use onnx_grad::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    tensor_proto::DataType,
    tensor_shape_proto::{Dimension, dimension},
    type_proto,
};
use prost::Message;
use rand_distr::{Distribution, StandardNormal};

use super::dataset::{Moments, Run};
use super::recipe::{Activation, Network};

/// Opset and IR version written: old enough for every ONNX Runtime that is supported.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;
/// Normalised features are clipped to this: a sensor that barely varied in the data cannot blow up the network.
const FEATURE_LIMIT: f32 = 5.0;
/// The last layer starts small: the untrained model predicts the mean change.
const LAST_LAYER_GAIN: f32 = 0.3;

/// Where the network finds its states.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Indices of x, y and yaw.
    pub pose: [usize; 3],
    angles: Vec<usize>,
    plain: Vec<usize>,
    states: usize,
    actions: usize,
}

/// Statistics of the training data that become constants of the network.
#[derive(Debug, Clone)]
pub struct Normaliser {
    features: Moments,
    change: Moments,
}

impl Normaliser {
    /// Scale of each state's error: the standard deviation of its change, x and y sharing theirs.
    pub fn scales(&self, layout: &Layout) -> Vec<f32> {
        let mut scales = self.change.std.clone();
        let [x, y, _] = layout.pose;
        let shared = ((scales[x].powi(2) + scales[y].powi(2)) / 2.0).sqrt();
        scales[x] = shared;
        scales[y] = shared;
        scales
    }
}

impl Layout {
    /// The layout of a checked recipe's network.
    pub fn new(network: &Network, actions: usize) -> Self {
        let index = |name: &String| network.state.iter().position(|state| state == name);
        let indices = |names: &[String]| names.iter().filter_map(index).collect::<Vec<_>>();
        let (pose, angles) = (indices(&network.pose), indices(&network.angles));
        let plain = (0..network.state.len())
            .filter(|i| !pose.contains(i) && !angles.contains(i))
            .collect();
        Self {
            pose: [pose[0], pose[1], pose[2]],
            angles,
            plain,
            states: network.state.len(),
            actions,
        }
    }

    /// Statistics over all transitions of some runs.
    pub fn normaliser(&self, runs: &[Run]) -> Normaliser {
        let steps = || {
            runs.iter()
                .flat_map(|run| run.states.windows(2).zip(&run.actions))
        };
        Normaliser {
            features: Moments::of(
                steps().map(|(states, action)| self.features(&states[0], action)),
            ),
            change: Moments::of(steps().map(|(states, _)| self.change(&states[0], &states[1]))),
        }
    }

    /// Features of a state and action, as the network computes them before normalisation.
    fn features(&self, state: &[f32], action: &[f32]) -> Vec<f32> {
        let plain = self.plain.iter().map(|&i| state[i]);
        let sines = self.angles.iter().map(|&i| state[i].sin());
        let cosines = self.angles.iter().map(|&i| state[i].cos());
        plain
            .chain(sines)
            .chain(cosines)
            .chain(action.iter().copied())
            .collect()
    }

    /// Change of the state, the displacement in the body frame.
    fn change(&self, state: &[f32], next: &[f32]) -> Vec<f32> {
        let mut change: Vec<f32> = next
            .iter()
            .zip(state)
            .map(|(next, state)| next - state)
            .collect();
        let [x, y, yaw] = self.pose;
        let (sin, cos) = state[yaw].sin_cos();
        (change[x], change[y]) = (
            cos * change[x] + sin * change[y],
            cos * change[y] - sin * change[x],
        );
        change
    }

    fn feature_count(&self) -> usize {
        self.plain.len() + 2 * self.angles.len() + self.actions
    }
}

/// The model with random parameters. Inputs `state` (N, S) and `action` (N, A), output `next_state` (N, S).
pub fn untrained(
    network: &Network,
    layout: &Layout,
    normaliser: &Normaliser,
    random: &mut impl rand::Rng,
) -> Vec<u8> {
    let mut graph = Builder::default();
    let features = features(&mut graph, layout, normaliser);
    let output = layers(&mut graph, network, layout, random, features);
    let change = graph.scaled("change", &output, &normaliser.change);
    displace(&mut graph, layout, &change);
    graph.model(layout)
}

fn features(graph: &mut Builder, layout: &Layout, normaliser: &Normaliser) -> String {
    let mut parts = vec![graph.columns("plain", "state", &layout.plain)];
    if !layout.angles.is_empty() {
        let angles = graph.columns("angles", "state", &layout.angles);
        parts.push(graph.node("Sin", "sines", &[&angles]));
        parts.push(graph.node("Cos", "cosines", &[&angles]));
    }
    parts.push("action".into());
    let features = graph.concat("features", &parts);
    let mean = graph.constant("features.mean", &normaliser.features.mean);
    let std = graph.constant("features.std", &normaliser.features.std);
    let (low, high) = (
        graph.scalar("features.low", -FEATURE_LIMIT),
        graph.scalar("features.high", FEATURE_LIMIT),
    );
    let centred = graph.node("Sub", "features.centred", &[&features, &mean]);
    let normalised = graph.node("Div", "features.normalised", &[&centred, &std]);
    graph.node("Clip", "features.clipped", &[&normalised, &low, &high])
}

fn layers(
    graph: &mut Builder,
    network: &Network,
    layout: &Layout,
    random: &mut impl rand::Rng,
    features: String,
) -> String {
    let widths: Vec<usize> = std::iter::once(layout.feature_count())
        .chain(network.hidden.iter().copied())
        .chain([layout.states])
        .collect();
    let mut value = features;
    for (index, pair) in widths.windows(2).enumerate() {
        let last = index + 2 == widths.len();
        let gain = if last { LAST_LAYER_GAIN } else { 1.0 } / (pair[0] as f32).sqrt();
        let weight: Vec<f32> = (0..pair[0] * pair[1])
            .map(|_| gain * Distribution::<f32>::sample(&StandardNormal, random))
            .collect();
        let weight = graph.initializer(
            &format!("layer{index}.weight"),
            &[pair[0], pair[1]],
            &weight,
        );
        // A bias of exact zeros would be merged with others of its size by some tools.
        let bias: Vec<f32> = (0..pair[1])
            .map(|_| 1e-3 * Distribution::<f32>::sample(&StandardNormal, random))
            .collect();
        let bias = graph.initializer(&format!("layer{index}.bias"), &[pair[1]], &bias);
        value = graph.node("Gemm", &format!("layer{index}"), &[&value, &weight, &bias]);
        if !last {
            let activation = match network.activation {
                Activation::Tanh => "Tanh",
                Activation::Relu => "Relu",
            };
            value = graph.node(activation, &format!("layer{index}.active"), &[&value]);
        }
    }
    value
}

/// Turns the displacement by the heading and adds the change to the state.
fn displace(graph: &mut Builder, layout: &Layout, change: &str) {
    let [x, y, yaw] = layout.pose;
    let heading = graph.columns("heading", "state", &[yaw]);
    let (sin, cos) = (
        graph.node("Sin", "heading.sin", &[&heading]),
        graph.node("Cos", "heading.cos", &[&heading]),
    );
    let forward = graph.columns("forward", change, &[x]);
    let left = graph.columns("left", change, &[y]);
    let product =
        |graph: &mut Builder, name: &str, a: &str, b: &str| graph.node("Mul", name, &[a, b]);
    let (fc, ls) = (
        product(graph, "forward.x", &forward, &cos),
        product(graph, "left.x", &left, &sin),
    );
    let (fs, lc) = (
        product(graph, "forward.y", &forward, &sin),
        product(graph, "left.y", &left, &cos),
    );
    let dx = graph.node("Sub", "displacement.x", &[&fc, &ls]);
    let dy = graph.node("Add", "displacement.y", &[&fs, &lc]);
    let others: Vec<usize> = (0..layout.states).filter(|i| ![x, y].contains(i)).collect();
    let rest = graph.columns("rest", change, &others);
    let apart = graph.concat("apart", &[dx, dy, rest]);
    let place = |state: usize| match others.iter().position(|&other| other == state) {
        Some(index) => index + 2,
        None => usize::from(state == y),
    };
    let order: Vec<usize> = (0..layout.states).map(place).collect();
    let ordered = graph.columns("ordered", &apart, &order);
    graph.node("Add", "next_state", &["state", &ordered]);
}

#[derive(Default)]
struct Builder {
    graph: GraphProto,
}

impl Builder {
    fn node(&mut self, op: &str, output: &str, inputs: &[&str]) -> String {
        self.graph.node.push(NodeProto {
            name: Some(output.into()),
            op_type: Some(op.into()),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        });
        output.into()
    }

    fn attribute(&mut self, attribute: AttributeProto) {
        if let Some(node) = self.graph.node.last_mut() {
            node.attribute.push(attribute);
        }
    }

    fn axis(&mut self, axis: i64) {
        self.attribute(AttributeProto {
            name: Some("axis".into()),
            r#type: Some(AttributeType::Int as i32),
            i: Some(axis),
            ..AttributeProto::default()
        });
    }

    fn columns(&mut self, output: &str, input: &str, columns: &[usize]) -> String {
        let indices = format!("{output}.columns");
        self.value(
            &indices,
            TensorProto {
                dims: vec![columns.len() as i64],
                data_type: Some(DataType::Int64 as i32),
                int64_data: columns.iter().map(|&column| column as i64).collect(),
                ..TensorProto::default()
            },
        );
        self.node("Gather", output, &[input, &indices]);
        self.axis(1);
        output.into()
    }

    fn concat(&mut self, output: &str, parts: &[String]) -> String {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        self.node("Concat", output, &parts);
        self.axis(1);
        output.into()
    }

    fn scaled(&mut self, name: &str, input: &str, moments: &Moments) -> String {
        let std = self.constant(&format!("{name}.std"), &moments.std);
        let mean = self.constant(&format!("{name}.mean"), &moments.mean);
        let wide = self.node("Mul", &format!("{name}.wide"), &[input, &std]);
        self.node("Add", name, &[&wide, &mean])
    }

    /// A Constant node: unlike an initializer it is no parameter.
    fn value(&mut self, name: &str, tensor: TensorProto) {
        self.node("Constant", name, &[]);
        self.attribute(AttributeProto {
            name: Some("value".into()),
            r#type: Some(AttributeType::Tensor as i32),
            t: Some(tensor),
            ..AttributeProto::default()
        });
    }

    fn constant(&mut self, name: &str, values: &[f32]) -> String {
        self.value(name, float_tensor("", &[values.len()], values));
        name.into()
    }

    fn scalar(&mut self, name: &str, value: f32) -> String {
        self.value(name, float_tensor("", &[], &[value]));
        name.into()
    }

    fn initializer(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.graph
            .initializer
            .push(float_tensor(name, shape, values));
        name.into()
    }

    fn model(mut self, layout: &Layout) -> Vec<u8> {
        self.graph.name = Some("surefoot".into());
        self.graph.input = vec![rows("state", layout.states), rows("action", layout.actions)];
        self.graph.output = vec![rows("next_state", layout.states)];
        ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            producer_name: Some("surefoot".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: (!name.is_empty()).then(|| name.into()),
        dims: shape.iter().map(|&size| size as i64).collect(),
        data_type: Some(DataType::Float as i32),
        raw_data: Some(
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ),
        ..TensorProto::default()
    }
}

/// A float tensor (N, width).
fn rows(name: &str, width: usize) -> ValueInfoProto {
    let dimension = |value| Dimension {
        value: Some(value),
        ..Dimension::default()
    };
    let shape = TensorShapeProto {
        dim: vec![
            dimension(dimension::Value::DimParam("N".into())),
            dimension(dimension::Value::DimValue(width as i64)),
        ],
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(DataType::Float as i32),
        shape: Some(shape),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
