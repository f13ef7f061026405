//! Adaptation and meta-training built from a model: a gradient step is composed with the model, batched over tasks, and
//! differentiated again.

mod support;

use onnx_grad::{Batched, Function, Graph, Model, Shared, Value};
use support::*;

/// `mean((f(x, parameters) - y)^2)`.
fn loss(g: &mut Graph, f: &Function, x: Value, parameters: &[Value], y: Value) -> Value {
    let mut arguments = vec![x];
    arguments.extend_from_slice(parameters);
    let prediction = g.inline(f, &arguments)[0];
    let error = g.sub(prediction, y);
    let square = g.mul(error, error);
    let axes: Vec<usize> = (0..g.shape(square).len()).collect();
    g.mean(square, &axes, false)
}

/// One task's query loss after one inner step: inputs `past_x past_y future_x future_y alpha parameters…`.
fn task(past: &Function, future: &Function) -> Function {
    let mut g = Graph::new();
    let past_x = g.input("past_x", &past.inputs()[0].shape);
    let past_y = g.input("past_y", &past.outputs()[0].shape);
    let future_x = g.input("future_x", &future.inputs()[0].shape);
    let future_y = g.input("future_y", &future.outputs()[0].shape);
    let alpha = g.input("alpha", &[]);
    let parameters: Vec<Value> = past.inputs()[1..]
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let before = loss(&mut g, past, past_x, &parameters, past_y);
    let gradient = g.gradient(before, &parameters);
    let adapted: Vec<Value> = parameters
        .iter()
        .zip(gradient)
        .map(|(&p, d)| {
            let step = g.mul(d, alpha);
            g.sub(p, step)
        })
        .collect();
    let after = loss(&mut g, future, future_x, &adapted, future_y);
    g.finish(&[("after", after)])
}

/// The mean query loss over tasks, and its gradient with respect to alpha and the parameters.
fn maml(task: &Function, tasks: usize) -> Function {
    let mut g = Graph::new();
    let data: Vec<Value> = task.inputs()[..4]
        .iter()
        .map(|p| {
            let mut shape = vec![tasks];
            shape.extend_from_slice(&p.shape);
            g.input(&p.name, &shape)
        })
        .collect();
    let shared: Vec<Value> = task.inputs()[4..]
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let arguments: Vec<_> = data
        .into_iter()
        .map(Batched)
        .chain(shared.iter().copied().map(Shared))
        .collect();
    let losses = g.vmap(task, &arguments)[0];
    let loss = g.mean(losses, &[0], false);
    let gradients = g.gradient(loss, &shared);
    let names: Vec<String> = task.inputs()[4..]
        .iter()
        .map(|p| format!("d.{}", p.name))
        .collect();
    let mut outputs = vec![("loss", loss)];
    outputs.extend(names.iter().map(String::as_str).zip(gradients));
    g.finish(&outputs)
}

/// An MLP with layer normalisation, tanh and skip connection: `x` `[rows, 3]`, output `[rows, 2]`.
fn small_model(rows: usize) -> Function {
    let mut g = Graph::new();
    let x = g.input("x", &[rows, 3]);
    let w1 = g.input("w1", &[3, 4]);
    let b1 = g.input("b1", &[4]);
    let gamma = g.input("gamma", &[4]);
    let w2 = g.input("w2", &[2, 4]);
    let h = g.mm(x, w1, false, false);
    let h = g.add(h, b1);
    let mean = g.mean(h, &[1], true);
    let centred = g.sub(h, mean);
    let squares = g.mul(centred, centred);
    let variance = g.mean(squares, &[1], true);
    let floor = g.scalar(1e-2);
    let variance = g.add(variance, floor);
    let deviation = g.sqrt(variance);
    let h = g.div(centred, deviation);
    let h = g.mul(h, gamma);
    let h = g.tanh(h);
    let y = g.mm(h, w2, false, true);
    let skip = g.slice(x, 1, 0, 2);
    let y = g.add(y, skip);
    g.finish(&[("y", y)])
}

fn random_inputs(f: &Function, seed: u64) -> Vec<Vec<f64>> {
    let mut random = Random(seed);
    f.inputs()
        .iter()
        .map(|p| random.tensor(numel(&p.shape), -1.0, 1.0))
        .collect()
}

#[test]
fn meta_gradient_agrees_with_finite_differences() {
    let task = task(&small_model(4), &small_model(3));
    let derived = maml(&task, 2);
    let mut inputs = random_inputs(&derived, 3);
    inputs[4] = vec![0.3];
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let found = derived.evaluate(&slices);
    let expected = central_differences(&derived, &inputs);
    for (i, expected) in expected[4..].iter().enumerate() {
        let error = relative_error(&found[1 + i], expected, 1e-3);
        assert!(
            error < 1e-6,
            "{}: {error:.1e}",
            derived.outputs()[1 + i].name
        );
    }
    // Once more: the gradient of the meta-gradient, third order in all.
    let (third, _) = first_and_second_order(&derived, 5);
    let found = third.evaluate(&slices);
    let expected = central_differences(&third, &inputs);
    for (found, expected) in found[1..].iter().zip(&expected) {
        let error = relative_error(found, expected, 1e-3);
        assert!(error < 1e-6, "third order: {error:.1e}");
    }
}

#[test]
fn vmap_equals_a_loop_over_tasks() {
    let task = task(&small_model(4), &small_model(3));
    let batched = maml(&task, 3);
    let inputs = random_inputs(&batched, 11);
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    let together = batched.evaluate(&slices)[0][0];
    let apart: f64 = (0..3)
        .map(|t| {
            let own = |i: usize| {
                let size = inputs[i].len() / 3;
                &inputs[i][t * size..(t + 1) * size]
            };
            let arguments: Vec<&[f64]> = (0..inputs.len())
                .map(|i| if i < 4 { own(i) } else { slices[i] })
                .collect();
            task.evaluate(&arguments)[0][0] / 3.0
        })
        .sum();
    assert!((together - apart).abs() < 1e-12, "{together} {apart}");
}

#[test]
fn maml_gradient_equals_that_of_jax() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("fixtures/maml.json")).unwrap();
    let model = Model::read(include_bytes!("fixtures/maml.onnx")).unwrap();
    let size = |key: &str| fixture[key].as_u64().unwrap() as usize;
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    let past = model.function(&[("batch", size("past"))]).unwrap();
    let future = model.function(&[("batch", size("future"))]).unwrap();
    let derived = maml(&task(&past, &future), size("tasks"));
    let inputs: Vec<_> = derived
        .inputs()
        .iter()
        .map(|port| {
            let stored = model.parameters().iter().find(|p| p.name == port.name);
            let data = match stored {
                Some(parameter) => parameter.data.iter().map(|&x| f64::from(x)).collect(),
                None if port.name == "alpha" => vec![fixture["alpha"].as_f64().unwrap()],
                None => numbers(&fixture["data"][&port.name]),
            };
            (port.shape.clone(), data)
        })
        .collect();
    let outputs = run_onnx(&derived.to_onnx(model.opset()), &inputs, 1);
    let loss = fixture["meta_loss"].as_f64().unwrap();
    assert!((f64::from(outputs[0][0]) / loss - 1.0).abs() < 1e-5);
    for (port, found) in derived.outputs().iter().zip(&outputs).skip(2) {
        let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
        let expected = numbers(&fixture["meta_gradient"][port.name.trim_start_matches("d.")]);
        let error = relative_error(&found, &expected, 0.0);
        assert!(error < 1e-4, "{}: {error:.1e}", port.name);
    }
    println!("{} nodes", derived.node_count());
}

/// The parameters after one step on the task's past.
fn adapt(past: &Function) -> Function {
    let mut g = Graph::new();
    let x = g.input("x", &past.inputs()[0].shape);
    let y = g.input("y", &past.outputs()[0].shape);
    let parameters: Vec<Value> = past.inputs()[1..]
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let loss = loss(&mut g, past, x, &parameters, y);
    let gradient = g.gradient(loss, &parameters);
    let names: Vec<String> = past.inputs()[1..]
        .iter()
        .map(|p| format!("{}'", p.name))
        .collect();
    let mut outputs = vec![];
    for ((name, &p), d) in names.iter().zip(&parameters).zip(gradient) {
        let step = g.scale(d, 0.1);
        outputs.push((name.as_str(), g.sub(p, step)));
    }
    g.finish(&outputs)
}

/// Five steps of a model whose output is the change of the first three of its inputs.
fn rollout(f: &Function) -> Function {
    let mut g = Graph::new();
    let arguments: Vec<Value> = f
        .inputs()
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let mut x = arguments[0];
    for _ in 0..5 {
        let change = g.inline(f, &[&[x], &arguments[1..]].concat())[0];
        let change = g.pad(change, 1, 0, 2);
        x = g.add(x, change);
    }
    g.finish(&[("x'", x)])
}

#[test]
fn the_same_model_gives_the_same_bytes_and_the_same_bits() {
    let derive = || {
        let model = Model::read(include_bytes!("fixtures/maml.onnx")).unwrap();
        let f = |rows| model.function(&[("batch", rows)]).unwrap();
        let maml = maml(&task(&f(6), &f(5)).factor_updates(), 4);
        [adapt(&f(6)), rollout(&f(7)), maml]
    };
    for (derived, again) in derive().iter().zip(&derive()) {
        let bytes = derived.to_onnx(18);
        assert_eq!(bytes, again.to_onnx(18));
        let shapes = derived.inputs().iter().map(|p| p.shape.clone());
        let inputs: Vec<_> = shapes.zip(random_inputs(derived, 2)).collect();
        let bits = |threads| -> Vec<Vec<u32>> {
            let outputs = run_onnx(&bytes, &inputs, threads);
            outputs
                .into_iter()
                .map(|v| v.into_iter().map(f32::to_bits).collect())
                .collect()
        };
        let once = bits(1);
        assert!([1, 2, 4].into_iter().all(|threads| bits(threads) == once));
    }
}

#[test]
fn every_opset_from_13_to_26_runs_and_gives_the_same() {
    let mut g = Graph::new();
    let x = g.input("x", &[3, 4]);
    let top = g.reduce_max(x, &[1], true);
    let below = g.sub(x, top);
    let soft = g.softplus(below);
    let kept = g.gather(soft, 1, &[2, 0, 2]);
    let padded = g.pad(kept, 0, 1, 0);
    let turned = g.mm(padded, kept, false, true);
    let sum = g.reduce_sum(turned, &[0, 1], false);
    let gradient = g.gradient(sum, &[x])[0];
    let f = g.finish(&[("sum", sum), ("gradient", gradient)]);
    let x = Random(4).tensor(12, -1.0, 1.0);
    let exact = f.evaluate(&[&x]);
    for opset in 13..=26 {
        let found = run_onnx(&f.to_onnx(opset), &[(vec![3, 4], x.clone())], 1);
        for (found, exact) in found.iter().zip(&exact) {
            let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
            assert!(relative_error(&found, exact, 0.0) < 1e-5, "opset {opset}");
        }
    }
}

#[test]
fn what_is_written_can_be_read_again() {
    let model = Model::read(include_bytes!("fixtures/maml.onnx")).unwrap();
    let f = |rows| model.function(&[("batch", rows)]).unwrap();
    let derived = maml(&task(&f(6), &f(5)).factor_updates(), 4);
    let again = Model::read(&derived.to_onnx(18)).unwrap();
    assert!(again.parameters().is_empty());
    let again = again.function(&[]).unwrap();
    assert_eq!(
        (again.inputs(), again.outputs()),
        (derived.inputs(), derived.outputs())
    );
    let inputs = random_inputs(&derived, 5);
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    for (found, expected) in again
        .evaluate(&slices)
        .iter()
        .zip(derived.evaluate(&slices))
    {
        // Constants went through float32.
        assert!(relative_error(found, &expected, 1e-6) < 1e-6);
    }
}

#[test]
fn a_gradient_step_on_a_layer_is_one_gemm() {
    let mut g = Graph::new();
    let (x, w, y) = (
        g.input("x", &[16, 4]),
        g.input("w", &[4, 3]),
        g.input("y", &[16, 3]),
    );
    let prediction = g.mm(x, w, false, false);
    let error = g.sub(prediction, y);
    let square = g.mul(error, error);
    let loss = g.mean(square, &[0, 1], false);
    let gradient = g.gradient(loss, &[w])[0];
    let step = g.scale(gradient, 0.1);
    let adapted = g.sub(w, step);
    let f = g.finish(&[("w'", adapted)]);
    let onnx =
        <onnx_grad::proto::ModelProto as prost::Message>::decode(f.to_onnx(18).as_slice()).unwrap();
    let ops: Vec<String> = onnx
        .graph
        .unwrap()
        .node
        .into_iter()
        .map(|n| n.op_type.unwrap())
        .collect();
    // The prediction minus the target, doubled by an addition, and the update.
    assert_eq!(ops.iter().filter(|op| *op == "Gemm").count(), 2, "{ops:?}");
    assert!(ops.len() <= 3, "{ops:?}");
}

/// A plain layer stack `x [rows, 24]` to `[rows, 24]` with weights as torch stores them.
fn wide_model(rows: usize) -> Function {
    let mut g = Graph::new();
    let mut h = g.input("x", &[rows, 24]);
    for layer in 0..3 {
        let w = g.input(&format!("w{layer}"), &[24, 24]);
        let b = g.input(&format!("b{layer}"), &[24]);
        let y = g.mm(h, w, false, true);
        let y = g.add(y, b);
        h = if layer < 2 { g.tanh(y) } else { y };
    }
    g.finish(&[("y", h)])
}

#[test]
fn factored_updates_compute_the_same_with_less() {
    let task = task(&wide_model(3), &wide_model(3));
    let factored = task.factor_updates();
    let [plain, cheap] = [&task, &factored].map(|task| maml(task, 4));
    assert!(
        cheap.flops() * 10 < plain.flops() * 8,
        "{} of {} flops",
        cheap.flops(),
        plain.flops()
    );
    let inputs = random_inputs(&plain, 8);
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    for (a, b) in plain.evaluate(&slices).iter().zip(cheap.evaluate(&slices)) {
        assert!(relative_error(&b, a, 1e-9) < 1e-12);
    }
}

#[test]
fn updates_that_many_rows_ask_for_are_not_factored() {
    let task = task(&wide_model(3), &wide_model(64));
    assert_eq!(task.factor_updates().flops(), task.flops());
}

#[test]
fn learned_step_sizes_by_row_and_column_stay_factored() {
    let mut g = Graph::new();
    let (past, d, future) = (
        g.input("past", &[2, 20]),
        g.input("d", &[2, 30]),
        g.input("future", &[3, 30]),
    );
    let (w, rows, columns) = (
        g.input("w", &[20, 30]),
        g.input("rows", &[20, 1]),
        g.input("columns", &[30]),
    );
    let product = g.mm(past, d, true, false);
    let scaled = g.mul(product, rows);
    let step = g.mul(scaled, columns);
    let once = g.sub(w, step);
    let more = g.scale(step, 0.3);
    let twice = g.add(once, more);
    let y = g.mm(future, twice, false, true);
    let f = g.finish(&[("y", y)]);
    let factored = f.factor_updates();
    assert!(factored.flops() * 10 < f.flops() * 7);
    let inputs = random_inputs(&f, 4);
    let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
    assert!(relative_error(&factored.evaluate(&slices)[0], &f.evaluate(&slices)[0], 0.0) < 1e-12);
}

/// Ridge regression of `y [rows, 2]` on features `x [rows, 3]`, evaluated on other rows.
fn ridge(rows: usize) -> Function {
    let mut g = Graph::new();
    let (x, y) = (g.input("x", &[rows, 3]), g.input("y", &[rows, 2]));
    let (query, strength) = (g.input("query", &[2, 3]), g.input("strength", &[]));
    let kernel = g.mm(x, x, false, true);
    let mut identity = vec![0.0; rows * rows];
    identity.iter_mut().step_by(rows + 1).for_each(|x| *x = 1.0);
    let identity = g.constant(&[rows, rows], &identity);
    let ridge = g.exp(strength);
    let ridge = g.mul(identity, ridge);
    let kernel = g.add(kernel, ridge);
    let weights = g.spd_solve(kernel, y);
    let similar = g.mm(query, x, false, true);
    let prediction = g.mm(similar, weights, false, false);
    g.finish(&[("prediction", prediction)])
}

#[test]
fn a_ridge_solve_differentiates_and_exports_alone_and_batched() {
    let f = ridge(5);
    assert_differentiates("ridge", &f, &random_inputs(&f, 6), 6);
    let mut g = Graph::new();
    let arguments: Vec<_> = f
        .inputs()
        .iter()
        .map(|port| match port.name.as_str() {
            "strength" => Shared(g.input("strength", &[])),
            name => {
                let shape: Vec<usize> = std::iter::once(3)
                    .chain(port.shape.iter().copied())
                    .collect();
                Batched(g.input(name, &shape))
            }
        })
        .collect();
    let batched = g.vmap(&f, &arguments)[0];
    let batched = g.finish(&[("prediction", batched)]);
    for f in [f, batched] {
        let inputs = random_inputs(&f, 7);
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let (first, _) = first_and_second_order(&f, 1);
        let shaped: Vec<_> = f
            .inputs()
            .iter()
            .map(|p| p.shape.clone())
            .zip(inputs.clone())
            .collect();
        for (found, expected) in run_onnx(&first.to_onnx(18), &shaped, 1)
            .iter()
            .zip(first.evaluate(&slices))
        {
            let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
            assert!(relative_error(&found, &expected, 1e-2) < 1e-4);
        }
    }
}
