//! Times of the derived graphs for a 3 x 512 model on ONNX Runtime, one thread, beside JAX's from `speed_jax.py`:
//!
//!     cargo bench -p onnx-grad && python onnx-grad/benches/speed_jax.py

#[path = "../tests/support/mod.rs"]
mod support;

use onnx_grad::{Batched, Function, Graph, Model, Shared, Value};
use std::time::Instant;
use support::*;

const STATE: usize = 20;
const ACTION: usize = 6;
const WIDTH: usize = 512;
const ROWS: usize = 16;
const TASKS: usize = 32;
const CANDIDATES: usize = 500;
const HORIZON: usize = 15;

/// The model as torch exports it: three hidden layers, Gemm with transposed weights.
fn model_bytes() -> Vec<u8> {
    let mut random = Random(1);
    let sizes = [STATE + ACTION, WIDTH, WIDTH, WIDTH, STATE];
    let mut nodes = vec![];
    let mut initializers = vec![];
    for (i, pair) in sizes.windows(2).enumerate() {
        let (w, b) = (format!("w{i}"), format!("b{i}"));
        let scale = 1.0 / (pair[0] as f64).sqrt();
        let weights = random.tensor(pair[0] * pair[1], -scale, scale);
        initializers.push(floats(&w, &[pair[1], pair[0]], &weights));
        initializers.push(floats(
            &b,
            &[pair[1]],
            &random.tensor(pair[1], -scale, scale),
        ));
        let (x, z) = (
            if i == 0 {
                "x".to_owned()
            } else {
                format!("h{i}")
            },
            format!("z{i}"),
        );
        let z = if i == 3 { "y".to_owned() } else { z };
        nodes.push(node(
            "Gemm",
            &[&x, &w, &b],
            &[&z],
            vec![attribute_int("transB", 1)],
        ));
        if i < 3 {
            nodes.push(node("Relu", &[&z], &[&format!("h{}", i + 1)], vec![]));
        }
    }
    let mut file = model(
        18,
        &[("x", vec![1, STATE + ACTION])],
        nodes,
        initializers,
        &[("y", vec![1, STATE])],
    );
    // A symbolic number of rows.
    let graph = file.graph.as_mut().unwrap();
    for port in graph.input.iter_mut().chain(&mut graph.output) {
        use onnx_grad::proto::{tensor_shape_proto::dimension, type_proto};
        if let Some(type_proto::Value::TensorType(tensor)) =
            &mut port.r#type.as_mut().unwrap().value
        {
            let dims = &mut tensor.shape.as_mut().unwrap().dim;
            dims[0].value = Some(dimension::Value::DimParam("batch".to_owned()));
        }
    }
    bytes(&file)
}

fn loss(g: &mut Graph, f: &Function, x: Value, parameters: &[Value], y: Value) -> Value {
    let arguments: Vec<Value> = std::iter::once(x)
        .chain(parameters.iter().copied())
        .collect();
    let prediction = g.inline(f, &arguments)[0];
    let error = g.sub(prediction, y);
    let square = g.mul(error, error);
    g.mean(square, &[0, 1], false)
}

fn parameters(g: &mut Graph, f: &Function) -> Vec<Value> {
    f.inputs()[1..]
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect()
}

fn step(g: &mut Graph, parameters: &[Value], gradient: &[Value]) -> Vec<Value> {
    let stepped = parameters.iter().zip(gradient).map(|(&p, &d)| {
        let step = g.scale(d, 0.01);
        g.sub(p, step)
    });
    stepped.collect()
}

/// Parameters after one gradient step.
fn adapt(f: &Function) -> Function {
    let mut g = Graph::new();
    let (x, y) = (
        g.input("x", &[ROWS, STATE + ACTION]),
        g.input("y", &[ROWS, STATE]),
    );
    let p = parameters(&mut g, f);
    let loss = loss(&mut g, f, x, &p, y);
    let gradient = g.gradient(loss, &p);
    let adapted = step(&mut g, &p, &gradient);
    let names: Vec<String> = f.inputs()[1..]
        .iter()
        .map(|p| format!("{}'", p.name))
        .collect();
    let outputs: Vec<_> = names.iter().map(String::as_str).zip(adapted).collect();
    g.finish(&outputs)
}

/// The states that candidates of actions lead to.
fn rollout(f: &Function) -> Function {
    let mut g = Graph::new();
    let mut state = g.input("state", &[CANDIDATES, STATE]);
    let actions = g.input("actions", &[HORIZON, CANDIDATES, ACTION]);
    let p = parameters(&mut g, f);
    for t in 0..HORIZON {
        let action = g.slice(actions, 0, t, 1);
        let action = g.reshape(action, &[CANDIDATES, ACTION]);
        let x = g.concat(&[state, action], 1);
        let arguments: Vec<Value> = std::iter::once(x).chain(p.iter().copied()).collect();
        let change = g.inline(f, &arguments)[0];
        state = g.add(state, change);
    }
    g.finish(&[("state'", state)])
}

/// The gradient of the mean query loss of all tasks after one inner step each.
fn maml(f: &Function, low_rank: bool) -> Function {
    let mut g = Graph::new();
    let shapes = [[ROWS, STATE + ACTION], [ROWS, STATE]];
    let names = ["past_x", "past_y", "future_x", "future_y"];
    let data: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(i, name)| g.input(name, &shapes[i % 2]))
        .collect();
    let p = parameters(&mut g, f);
    let before = loss(&mut g, f, data[0], &p, data[1]);
    let gradient = g.gradient(before, &p);
    let adapted = step(&mut g, &p, &gradient);
    let after = loss(&mut g, f, data[2], &adapted, data[3]);
    let mut task = g.finish(&[("loss", after)]);
    if low_rank {
        task = task.factor_updates();
    }
    let mut g = Graph::new();
    let data = names.iter().enumerate().map(|(i, name)| {
        let [rows, size] = shapes[i % 2];
        Batched(g.input(name, &[TASKS, rows, size]))
    });
    let mut arguments: Vec<_> = data.collect();
    let p = parameters(&mut g, f);
    arguments.extend(p.iter().map(|&p| Shared(p)));
    let losses = g.vmap(&task, &arguments)[0];
    let loss = g.mean(losses, &[0], false);
    let gradient = g.gradient(loss, &p);
    let names: Vec<String> = f.inputs()[1..]
        .iter()
        .map(|p| format!("d {}", p.name))
        .collect();
    let mut outputs = vec![("loss", loss)];
    outputs.extend(names.iter().map(String::as_str).zip(gradient));
    g.finish(&outputs)
}

/// The smallest of several times, in milliseconds.
fn best(repeats: usize, mut run: impl FnMut()) -> f64 {
    (0..repeats)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .fold(f64::INFINITY, f64::min)
}

/// The largest memory that this process has held; 0 where the system does not say.
fn peak_megabytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<usize>().ok());
    kilobytes.unwrap_or(0) / 1024
}

fn main() {
    let bytes = model_bytes();
    let read = || Model::read(&bytes).unwrap();
    let derive = best(3, || {
        let model = read();
        let f = |rows| model.function(&[("batch", rows)]).unwrap();
        adapt(&f(ROWS)).to_onnx(18);
        rollout(&f(CANDIDATES)).to_onnx(18);
        maml(&f(ROWS), true).to_onnx(18);
    });
    println!("read, derive and write adapt, rollout and MAML: {derive:.1} ms");
    let model = read();
    let f = |rows| model.function(&[("batch", rows)]).unwrap();
    for (name, derived, repeats) in [
        ("adapt", adapt(&f(ROWS)), 200),
        ("rollout", rollout(&f(CANDIDATES)), 10),
        ("maml", maml(&f(ROWS), true), 20),
        ("maml, updates not factored", maml(&f(ROWS), false), 5),
    ] {
        let mut random = Random(2);
        let inputs: Vec<(Vec<usize>, Vec<f64>)> = derived
            .inputs()
            .iter()
            .map(|p| (p.shape.clone(), random.tensor(numel(&p.shape), -0.05, 0.05)))
            .collect();
        let mut session = Session::new(&derived.to_onnx(18), 1);
        let tensors = session.tensors(&inputs);
        let time = best(repeats, || session.execute(&tensors));
        println!(
            "{name}: {time:.2} ms, {} nodes, {:.2} GFLOP, peak memory so far {} MB",
            derived.node_count(),
            derived.flops() as f64 / 1e9,
            peak_megabytes()
        );
    }
}
