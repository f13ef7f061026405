//! The graphs derived from a model, against plain arithmetic in float64.

mod support;

use onnx_grad::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataType, tensor_shape_proto::Dimension, tensor_shape_proto::dimension,
    type_proto,
};
use onnx_grad::{Function, Model};
use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use surefoot::model::derive::{self, MetaBatch};
use surefoot::model::{AdaptContract, Channel, Contract, Pose, Program, SelfCheck, StateChannel};

const STATES: usize = 3;
const ACTIONS: usize = 2;
const WINDOW: usize = 6;
const POSE: Pose = Pose { x: 0, y: 1, yaw: 2 };

/// `next_state = state + tanh([state, action] w1 + b1) w2 + b2`, with random parameters.
fn model() -> Model {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut tensor = |name: &str, dims: &[i64]| TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Float as i32),
        float_data: (0..dims.iter().product())
            .map(|_| random.random_range(-0.8..0.8))
            .collect(),
        ..TensorProto::default()
    };
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        name: Some(output.into()),
        op_type: Some(op.into()),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let mut features = node("Concat", &["state", "action"], "features");
    features.attribute.push(AttributeProto {
        name: Some("axis".into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(1),
        ..AttributeProto::default()
    });
    let graph = GraphProto {
        name: Some("tiny".into()),
        initializer: vec![
            tensor("w1", &[5, 4]),
            tensor("b1", &[4]),
            tensor("w2", &[4, 3]),
            tensor("b2", &[3]),
        ],
        node: vec![
            features,
            node("Gemm", &["features", "w1", "b1"], "hidden"),
            node("Tanh", &["hidden"], "active"),
            node("Gemm", &["active", "w2", "b2"], "change"),
            node("Add", &["state", "change"], "next_state"),
        ],
        input: vec![rows("state", STATES), rows("action", ACTIONS)],
        output: vec![rows("next_state", STATES)],
        ..GraphProto::default()
    };
    let file = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    Model::read(&file.encode_to_vec()).unwrap()
}

/// A float tensor of `width` columns and any number of rows.
fn rows(name: &str, width: usize) -> ValueInfoProto {
    let dim = |value| Dimension {
        value: Some(value),
        ..Dimension::default()
    };
    let shape = TensorShapeProto {
        dim: vec![
            dim(dimension::Value::DimParam("N".into())),
            dim(dimension::Value::DimValue(width as i64)),
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

/// Scales that differ, and a step size for every parameter but `b1`.
fn contract() -> Contract {
    let state = |(name, scale): (&str, f32)| StateChannel {
        name: name.into(),
        unit: "1".into(),
        scale,
    };
    let action = |name: &str| Channel {
        name: name.into(),
        unit: "1".into(),
    };
    let steps = [("w1", 0.05), ("w2", 0.2), ("b2", 0.1)];
    Contract {
        robot: "tiny".into(),
        state: [("x", 0.5), ("y", 1.0), ("yaw", 2.0)].map(state).into(),
        action: ["left", "right"].map(action).into(),
        period_s: 0.1,
        adapt: AdaptContract {
            window: WINDOW,
            steps: steps.map(|(name, step)| (name.into(), step)).into(),
        },
        self_check: SelfCheck {
            state: vec![0.0; STATES],
            action: vec![0.0; ACTIONS],
            next_state: vec![0.0; STATES],
        },
    }
}

/// Random numbers for every input of a graph, the model's parameters for those that are named as one.
fn inputs(graph: &Function, model: &Model, seed: u64) -> Vec<Vec<f64>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let input = |port: &onnx_grad::Port| {
        let parameter = model.parameters().iter().find(|p| p.name == port.name);
        let drawn = (0..port.shape.iter().product()).map(|_| random.random_range(-1.0..1.0));
        parameter.map_or(drawn.collect(), |p| {
            p.data.iter().map(|&v| f64::from(v)).collect()
        })
    };
    graph.inputs().iter().map(input).collect()
}

fn evaluate(graph: &Function, inputs: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    graph.evaluate(&slices)
}

/// Central differences of a scalar output with respect to every element of an input.
fn slope(graph: &Function, inputs: &[Vec<f64>], output: usize, input: usize) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut moved = inputs.to_vec();
    let mut at = |element: usize, value: f64| {
        moved[input][element] = value;
        let result = evaluate(graph, &moved)[output][0];
        moved[input][element] = inputs[input][element];
        result
    };
    let values = inputs[input].iter().enumerate();
    values
        .map(|(i, &x)| (at(i, x + STEP) - at(i, x - STEP)) / (2.0 * STEP))
        .collect()
}

fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(1e-3, |m: f64, x| m.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs() / size;
        assert!(error <= tolerance, "{what}: {found}, expected {expected}");
    }
}

fn norm<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// One step of the model itself.
fn next(model: &Model, state: &[f64], action: &[f64]) -> Vec<f64> {
    let predict = derive::predict(model, 1).unwrap();
    let mut values = inputs(&predict, model, 0);
    values[0] = state.to_vec();
    values[1] = action.to_vec();
    evaluate(&predict, &values).remove(0)
}

/// Mean squared error in units of the scales.
fn error(contract: &Contract, predicted: &[f64], seen: &[f64]) -> f64 {
    let scaled = predicted.iter().zip(seen).zip(contract.scales());
    let square = |((p, s), scale): ((&f64, &f64), f32)| ((p - s) / f64::from(scale)).powi(2);
    scaled.map(square).sum::<f64>() / STATES as f64
}

#[test]
fn the_step_is_alpha_times_the_slope_of_the_loss_on_the_rows_that_count() {
    let (model, contract) = (model(), contract());
    let adapt = derive::adapt(&model, &contract).unwrap();
    let mask = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0];
    let mut given = inputs(&adapt, &model, 7);
    given[3] = mask.to_vec();

    let row = |input: usize, width: usize, row: usize| &given[input][row * width..][..width];
    let plain: Vec<f64> = (0..WINDOW)
        .map(|at| {
            let predicted = next(&model, row(0, STATES, at), row(1, ACTIONS, at));
            error(&contract, &predicted, row(2, STATES, at))
        })
        .collect();
    let counting: f64 = plain
        .iter()
        .zip(mask)
        .map(|(error, mask)| error * mask)
        .sum();
    let adapted = evaluate(&adapt, &given);
    assert_close("loss_before", &adapted[0], &[counting / 3.0], 1e-9);
    let errors = derive::errors(&model, &contract).unwrap();
    let of_rows: Vec<_> = given[..3].iter().chain(&given[4..]).cloned().collect();
    assert_close("errors", &evaluate(&errors, &of_rows)[0], &plain, 1e-9);

    let (mut after, mut gradients, mut changes) = (given.clone(), Vec::new(), Vec::new());
    for (index, parameter) in model.parameters().iter().enumerate() {
        let theta = &mut after[4 + index];
        match contract.adapt.steps.get(&parameter.name) {
            Some(&step) => {
                for (value, slope) in theta.iter_mut().zip(slope(&adapt, &given, 0, 4 + index)) {
                    gradients.push(slope);
                    changes.push(f64::from(step) * slope);
                    *value -= f64::from(step) * slope;
                }
                assert_close(&parameter.name, &adapted[4 + index], theta, 1e-8);
            }
            None => assert_eq!(&adapted[4 + index], theta, "{} is fixed", parameter.name),
        }
    }
    assert_close(
        "loss_after",
        &adapted[1],
        &evaluate(&adapt, &after)[0],
        1e-8,
    );
    assert_close(
        "gradient_norm",
        &adapted[2],
        &[norm(gradients.iter())],
        1e-8,
    );
    assert_close("step_norm", &adapted[3], &[norm(changes.iter())], 1e-8);

    let mut other = given.clone();
    for (at, &counts) in mask.iter().enumerate() {
        if counts == 0.0 {
            other[0][at * STATES..][..STATES].fill(9.0);
            other[2][at * STATES..][..STATES].fill(-9.0);
        }
    }
    assert_eq!(
        evaluate(&adapt, &other),
        adapted,
        "masked rows do not matter"
    );
    other[3].fill(0.0);
    let nothing = evaluate(&adapt, &other);
    assert_eq!((nothing[0][0], nothing[3][0]), (0.0, 0.0));
    assert_eq!(nothing[4..], given[4..], "without rows there is no step");
}

#[test]
fn a_rollout_costs_what_its_steps_cost() {
    let (model, contract) = (model(), contract());
    let (candidates, horizon) = (3, 4);
    let rollout = derive::rollout(&model, &contract, POSE, candidates, horizon).unwrap();
    let mut given = inputs(&rollout, &model, 8);
    given[5] = vec![2.0, 0.5];
    let (start, previous, plan) = (&given[0], &given[1], &given[2]);
    let (reference, weights, range) = (&given[3], &given[4], &given[5]);
    let (mut costs, mut states) = (Vec::new(), Vec::new());
    for candidate in 0..candidates {
        let (mut state, mut before, mut cost) = (start.clone(), previous.clone(), 0.0);
        for step in 0..horizon {
            let action = &plan[(candidate * horizon + step) * ACTIONS..][..ACTIONS];
            state = next(&model, &state, action);
            let target = &reference[3 * step..][..3];
            let distance = (state[0] - target[0]).powi(2) + (state[1] - target[1]).powi(2);
            let heading = 1.0 - (state[2] - target[2]).cos();
            let rate: f64 = (0..ACTIONS)
                .map(|i| ((action[i] - before[i]) / range[i]).powi(2))
                .sum();
            cost += weights[0] * distance + weights[1] * heading + weights[2] * rate;
            before = action.to_vec();
            states.extend(&state);
        }
        costs.push(cost);
    }
    let found = evaluate(&rollout, &given);
    assert_close("cost", &found[0], &costs, 1e-12);
    assert_close("states", &found[1], &states, 1e-12);
}

#[test]
fn the_meta_gradient_is_the_slope_of_the_adapted_loss() {
    let (model, contract) = (model(), contract());
    let batch = MetaBatch {
        tasks: 2,
        future: 4,
        steps: 2,
    };
    let meta = derive::meta_gradient(&model, &contract, batch).unwrap();
    let mut given = inputs(&meta, &model, 9);
    let learned = 2 * model.parameters().len();
    given[10..]
        .iter_mut()
        .for_each(|log_step| log_step[0] -= 2.0);
    let found = evaluate(&meta, &given);

    let mut expected = 0.0;
    let rows = |input: usize, task: usize, at: usize, width: usize| {
        &given[input][(task * batch.future + at) * width..][..width]
    };
    for task in 0..batch.tasks {
        for start in 0..=batch.future - batch.steps {
            let mut state = rows(3, task, start, STATES).to_vec();
            for at in start..start + batch.steps {
                state = next(&model, &state, rows(4, task, at, ACTIONS));
                expected += error(&contract, &state, rows(5, task, at, STATES));
            }
        }
    }
    assert_close("loss_before", &found[0], &[expected / 12.0], 1e-9);

    assert_eq!(meta.inputs().len(), 6 + learned);
    for index in 0..learned {
        let input = 6 + index;
        let name = &meta.inputs()[input].name;
        assert_close(
            name,
            &found[2 + index],
            &slope(&meta, &given, 1, input),
            1e-6,
        );
    }
    let larger = norm(found[2..].iter().flatten());
    assert!(larger > 1e-2, "there is a slope: {larger}");
}

#[test]
fn onnx_runtime_computes_what_the_shipped_models_graphs_say() {
    let runtime = support::runtime();
    let shipped = support::model(&runtime);
    let contract = &shipped.contract;
    let adapt = derive::adapt(&shipped.onnx, contract).unwrap();
    let mut given = inputs(&adapt, &shipped.onnx, 10);
    // Transitions of about the size that the robot makes.
    let (states, actions) = (contract.state.len(), contract.action.len());
    for (index, action) in given[1].iter_mut().enumerate() {
        *action = 30.0 + 20.0 * *action + (index % actions) as f64;
    }
    let scales = contract.scales();
    for index in 0..given[2].len() {
        given[2][index] = given[0][index] + f64::from(scales[index % states]) * given[2][index];
    }
    given[3].fill(1.0);
    let mut program = Program::new(&runtime, "adapt", &adapt, shipped.onnx.opset(), || 0).unwrap();
    for (index, values) in given.iter_mut().enumerate() {
        for (place, value) in program.input_mut(index).iter_mut().zip(values) {
            *place = *value as f32;
            *value = f64::from(*place);
        }
    }
    program.run().unwrap();
    for (index, expected) in evaluate(&adapt, &given).iter().enumerate() {
        let found: Vec<f64> = program.output(index).iter().map(|&v| v.into()).collect();
        assert_close(&adapt.outputs()[index].name, &found, expected, 1e-4);
    }
}
