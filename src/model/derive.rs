//! The graphs that are derived from the one ONNX file, in memory, at load.
//!
//! Each is a [`Function`] whose last inputs are the model's parameters in file order, so that adapted weights are data.
//! Errors are normalised: `(predicted - next) / scale`, state by state, with the scales of the contract.

use onnx_grad::{Error, Function, Graph, Model, Value};

use super::Contract;

/// Inputs: `state` (N, S), `action` (N, A), parameters. Output: `next_state` (N, S). The model itself for N rows.
pub fn predict(model: &Model, rows: usize) -> Result<Function, Error> {
    let dynamic: Vec<&str> = model.inputs().iter().flat_map(|io| &io.dims).filter_map(|dim| dim.name()).collect();
    let sizes: Vec<(&str, usize)> = dynamic.into_iter().map(|name| (name, rows)).collect();
    model.function(&sizes)
}

/// Mean over the unmasked rows of the mean squared normalised error.
/// `batch` is (state, action, next_state, mask) with N rows each; `parameters` are in file order.
fn error(
    graph: &mut Graph,
    model: &Function,
    contract: &Contract,
    batch: [Value; 4],
    parameters: &[Value],
) -> Value {
    let [state, action, next_state, mask] = batch;
    let mut arguments = vec![state, action];
    arguments.extend_from_slice(parameters);
    let predicted = graph.inline(model, &arguments)[0];
    let scales: Vec<f32> = contract.scales().iter().map(|scale| 1.0 / scale).collect();
    let inverse_scale = graph.constant(&[scales.len()], &scales);
    let difference = graph.sub(predicted, next_state);
    let normalised = graph.mul(difference, inverse_scale);
    let squared = graph.mul(normalised, normalised);
    let per_row = graph.reduce_mean(squared, &[1], false);
    let masked = graph.mul(per_row, mask);
    let sum = graph.reduce_sum(masked, &[0], false);
    let rows = graph.reduce_sum(mask, &[0], false);
    let one = graph.scalar(1.0);
    let rows = graph.max(rows, one);
    graph.div(sum, rows)
}

fn window_inputs(graph: &mut Graph, contract: &Contract, rows: usize, prefix: &str) -> [Value; 4] {
    let (states, actions) = (contract.state.len(), contract.action.len());
    [
        graph.input(&format!("{prefix}state"), &[rows, states]),
        graph.input(&format!("{prefix}action"), &[rows, actions]),
        graph.input(&format!("{prefix}next_state"), &[rows, states]),
        graph.input(&format!("{prefix}mask"), &[rows]),
    ]
}

fn parameter_inputs(graph: &mut Graph, model: &Model) -> Vec<Value> {
    model.parameters().iter().map(|p| graph.input(&p.name, &p.shape)).collect()
}

/// Inputs: `state`, `action`, `next_state`, `mask` (M rows), parameters. Output: `loss`, a scalar.
pub fn loss(model: &Model, contract: &Contract) -> Result<Function, Error> {
    let rows = contract.adapt.window;
    let predict = predict(model, rows)?;
    let mut graph = Graph::new();
    let batch = window_inputs(&mut graph, contract, rows, "");
    let parameters = parameter_inputs(&mut graph, model);
    let loss = error(&mut graph, &predict, contract, batch, &parameters);
    Ok(graph.finish(&[("loss", loss)]))
}

/// One inner step of GrBAL, `theta' = theta - alpha * grad L(window; theta)`, with a step size a parameter.
///
/// Inputs: `state`, `action`, `next_state`, `mask` (M rows), parameters. Outputs: `loss_before` and `loss_after` on the
/// window, `gradient_norm`, `step_norm` (Euclidean, over all adapted parameters), then theta' of every parameter, in file
/// order, named `adapted.NAME`; parameters without a step size come out as they went in.
pub fn adapt(model: &Model, contract: &Contract) -> Result<Function, Error> {
    let rows = contract.adapt.window;
    let predict = predict(model, rows)?;
    let mut graph = Graph::new();
    let batch = window_inputs(&mut graph, contract, rows, "");
    let parameters = parameter_inputs(&mut graph, model);
    let before = error(&mut graph, &predict, contract, batch, &parameters);
    let steps = steps(&mut graph, model, contract);
    let step = inner_step(&mut graph, before, &parameters, &steps);
    let after = error(&mut graph, &predict, contract, batch, &step.parameters);
    let gradient_norm = norm(&mut graph, &step.gradients);
    let step_norm = norm(&mut graph, &step.changes);
    let names: Vec<String> = model.parameters().iter().map(|p| format!("adapted.{}", p.name)).collect();
    let mut outputs = vec![
        ("loss_before", before),
        ("loss_after", after),
        ("gradient_norm", gradient_norm),
        ("step_norm", step_norm),
    ];
    outputs.extend(names.iter().map(String::as_str).zip(step.parameters));
    Ok(graph.finish(&outputs))
}

/// The step size of each parameter as a constant, `None` where it does not adapt.
fn steps(graph: &mut Graph, model: &Model, contract: &Contract) -> Vec<Option<Value>> {
    let step = |p: &onnx_grad::Parameter| contract.adapt.steps.get(&p.name).copied();
    model.parameters().iter().map(|p| step(p).map(|alpha| graph.scalar(f64::from(alpha)))).collect()
}

struct InnerStep {
    /// theta', in file order.
    parameters: Vec<Value>,
    /// Gradient of each adapted parameter.
    gradients: Vec<Value>,
    /// theta - theta' of each adapted parameter.
    changes: Vec<Value>,
}

fn inner_step(graph: &mut Graph, loss: Value, parameters: &[Value], steps: &[Option<Value>]) -> InnerStep {
    let adapted: Vec<Value> =
        parameters.iter().zip(steps).filter(|(_, step)| step.is_some()).map(|(p, _)| *p).collect();
    let gradients = graph.gradient(loss, &adapted);
    let mut of_adapted = gradients.iter().copied();
    let (mut next, mut changes) = (Vec::new(), Vec::new());
    for (&parameter, step) in parameters.iter().zip(steps) {
        next.push(match (step, step.and_then(|_| of_adapted.next())) {
            (&Some(alpha), Some(gradient)) => {
                let change = graph.mul(alpha, gradient);
                changes.push(change);
                graph.sub(parameter, change)
            }
            _ => parameter,
        });
    }
    InnerStep { parameters: next, gradients, changes }
}

fn norm(graph: &mut Graph, tensors: &[Value]) -> Value {
    let mut total = graph.scalar(0.0);
    for &tensor in tensors {
        let squared = graph.mul(tensor, tensor);
        let axes: Vec<usize> = (0..graph.shape(tensor).len()).collect();
        let sum = graph.reduce_sum(squared, &axes, false);
        total = graph.add(total, sum);
    }
    graph.sqrt(total)
}

/// Which states are the planar pose, as indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pose {
    /// Position along x, m.
    pub x: usize,
    /// Position along y, m.
    pub y: usize,
    /// Heading, rad.
    pub yaw: usize,
}

/// K candidates over H ticks with the cost inside.
///
/// Inputs: `state` (S), `previous_action` (A), `actions` (K, H, A), `reference` (H, 3: x, y, heading), `weights` (3:
/// position, heading, action rate), `action_range` (A), parameters. Outputs: `cost` (K) and `states` (K, H, S).
/// The cost of a candidate is the sum over its steps of
/// `w0 |p - r|^2 + w1 (1 - cos(yaw - heading)) + w2 |(a - a_before) / range|^2`.
pub fn rollout(
    model: &Model,
    contract: &Contract,
    pose: Pose,
    candidates: usize,
    horizon: usize,
) -> Result<Function, Error> {
    let (states, actions) = (contract.state.len(), contract.action.len());
    let predict = predict(model, candidates)?;
    let mut graph = Graph::new();
    let g = &mut graph;
    let start = g.input("state", &[states]);
    let previous = g.input("previous_action", &[actions]);
    let plan = g.input("actions", &[candidates, horizon, actions]);
    let reference = g.input("reference", &[horizon, 3]);
    let weights = g.input("weights", &[3]);
    let range = g.input("action_range", &[actions]);
    let parameters = parameter_inputs(g, model);

    let mut state = g.expand(start, &[candidates, states]);
    let mut before = g.expand(previous, &[candidates, actions]);
    let (mut visited, mut terms) = (Vec::new(), Vec::new());
    for step in 0..horizon {
        let action = g.slice(plan, 1, step, 1);
        let action = g.reshape(action, &[candidates, actions]);
        let mut arguments = vec![state, action];
        arguments.extend_from_slice(&parameters);
        state = g.inline(&predict, &arguments)[0];

        let target = g.slice(reference, 0, step, 1);
        let error = |g: &mut Graph, index: usize, column: usize| {
            let is = g.slice(state, 1, index, 1);
            let wanted = g.slice(target, 1, column, 1);
            g.sub(is, wanted)
        };
        let (dx, dy, turn) = (error(g, pose.x, 0), error(g, pose.y, 1), error(g, pose.yaw, 2));
        let (dx2, dy2) = (g.mul(dx, dx), g.mul(dy, dy));
        let distance = g.add(dx2, dy2);
        let cosine = g.cos(turn);
        let one = g.scalar(1.0);
        let heading = g.sub(one, cosine);
        let change = g.sub(action, before);
        let change = g.div(change, range);
        let change = g.mul(change, change);
        let rate = g.reduce_sum(change, &[1], true);
        terms.push(g.concat(&[distance, heading, rate], 1));
        let visit = g.reshape(state, &[candidates, 1, states]);
        visited.push(visit);
        before = action;
    }
    let mut total = terms[0];
    for &term in &terms[1..] {
        total = g.add(total, term);
    }
    let weighted = g.mul(total, weights);
    let cost = g.reduce_sum(weighted, &[1], false);
    let states = g.concat(&visited, 1);
    Ok(graph.finish(&[("cost", cost), ("states", states)]))
}

/// The meta-objective of GrBAL over a batch of B tasks and its gradient: second-order MAML with one inner step.
///
/// Inputs: `past.*` and `future.*` (`state`, `action`, `next_state`, `mask`, each with a leading B; M past and K future
/// rows), then the parameters, then `log_step.NAME` (a scalar: the logarithm of the inner step size) of each parameter.
/// Outputs: `loss_before` and `loss_after` on the future, means over the tasks, then the gradient of `loss_after` with
/// respect to every parameter and every `log_step`, in the order of the inputs.
pub fn meta_gradient(
    model: &Model,
    contract: &Contract,
    tasks: usize,
    future: usize,
) -> Result<Function, Error> {
    let past = contract.adapt.window;
    let (predict_past, predict_future) = (predict(model, past)?, predict(model, future)?);

    let task = {
        let mut graph = Graph::new();
        let g = &mut graph;
        let past_batch = window_inputs(g, contract, past, "past.");
        let future_batch = window_inputs(g, contract, future, "future.");
        let parameters = parameter_inputs(g, model);
        let log_steps = log_step_inputs(g, model);
        let inner = error(g, &predict_past, contract, past_batch, &parameters);
        let steps: Vec<Option<Value>> = log_steps.iter().map(|&log| Some(g.exp(log))).collect();
        let step = inner_step(g, inner, &parameters, &steps);
        let before = error(g, &predict_future, contract, future_batch, &parameters);
        let after = error(g, &predict_future, contract, future_batch, &step.parameters);
        graph.finish(&[("before", before), ("after", after)])
    };

    let mut graph = Graph::new();
    let g = &mut graph;
    let mut arguments = Vec::new();
    for (name, shape) in &task.inputs()[..8] {
        let mut batched = vec![tasks];
        batched.extend_from_slice(shape);
        arguments.push(onnx_grad::Argument::Batched(g.input(name, &batched)));
    }
    let mut differentiated = parameter_inputs(g, model);
    differentiated.extend(log_step_inputs(g, model));
    arguments.extend(differentiated.iter().map(|&value| onnx_grad::Argument::Shared(value)));
    let losses = g.vmap(&task, &arguments);
    let before = g.reduce_mean(losses[0], &[0], false);
    let after = g.reduce_mean(losses[1], &[0], false);
    let gradients = g.gradient(after, &differentiated);
    let names: Vec<String> = (0..gradients.len()).map(|i| format!("gradient.{i}")).collect();
    let mut outputs = vec![("loss_before", before), ("loss_after", after)];
    outputs.extend(names.iter().map(String::as_str).zip(gradients));
    Ok(graph.finish(&outputs))
}

fn log_step_inputs(graph: &mut Graph, model: &Model) -> Vec<Value> {
    model.parameters().iter().map(|p| graph.input(&format!("log_step.{}", p.name), &[])).collect()
}
