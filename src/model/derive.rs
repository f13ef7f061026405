//! The graphs that are derived from the one ONNX file, in memory, at load.
//!
//! Each is a [`Function`] whose last inputs are the model's parameters in file order, so that adapted weights are data.
//! Errors are normalised: `(predicted - next) / scale`, state by state, with the scales of the contract.

use onnx_grad::{Argument, Dim, Error, Function, Graph, Model, Value};

use super::Contract;

/// Inputs: `state` (N, S), `action` (N, A), parameters. Output: `next_state` (N, S). The model itself for N rows.
pub fn predict(model: &Model, rows: usize) -> Result<Function, Error> {
    let mut sizes = Vec::new();
    for dim in model.inputs().iter().flat_map(|input| &input.dims) {
        if let Dim::Named(name) = dim {
            sizes.push((name.as_str(), rows));
        }
    }
    model.function(&sizes)
}

/// Inputs: the model's inputs for N rows, parameters. Outputs: the gradient of the mean square of the model's first output
/// with respect to every parameter, in file order. It needs no contract: that it can be derived shows that any loss can.
pub fn gradient(model: &Model, rows: usize) -> Result<Function, Error> {
    let model_function = predict(model, rows)?;
    let mut graph = Graph::new();
    let g = &mut graph;
    let ports = model_function.inputs().to_vec();
    let arguments: Vec<Value> = ports
        .iter()
        .map(|port| g.input(&port.name, &port.shape))
        .collect();
    let output = g.inline(&model_function, &arguments)[0];
    let square = g.mul(output, output);
    let axes: Vec<usize> = (0..g.shape(square).len()).collect();
    let mean = g.mean(square, &axes, false);
    let gradients = g.gradient(mean, &arguments[model.inputs().len()..]);
    let names: Vec<String> = model
        .parameters()
        .iter()
        .map(|p| format!("gradient.{}", p.name))
        .collect();
    let outputs: Vec<(&str, Value)> = names.iter().map(String::as_str).zip(gradients).collect();
    Ok(graph.finish(&outputs))
}

/// Mean squared normalised error of each row (N).
fn row_errors(
    graph: &mut Graph,
    contract: &Contract,
    predicted: Value,
    next_state: Value,
) -> Value {
    let inverse: Vec<f64> = contract
        .scales()
        .iter()
        .map(|scale| 1.0 / f64::from(*scale))
        .collect();
    let inverse_scale = graph.constant(&[inverse.len()], &inverse);
    let difference = graph.sub(predicted, next_state);
    let normalised = graph.mul(difference, inverse_scale);
    let squared = graph.mul(normalised, normalised);
    graph.mean(squared, &[1], false)
}

/// Transitions as graph values: state, action and next state, one row each.
#[derive(Clone, Copy)]
struct Batch {
    state: Value,
    action: Value,
    next_state: Value,
}

impl Batch {
    fn input(graph: &mut Graph, contract: &Contract, rows: usize, prefix: &str) -> Self {
        let (states, actions) = (contract.state.len(), contract.action.len());
        Self {
            state: graph.input(&format!("{prefix}state"), &[rows, states]),
            action: graph.input(&format!("{prefix}action"), &[rows, actions]),
            next_state: graph.input(&format!("{prefix}next_state"), &[rows, states]),
        }
    }

    /// Errors of the one-step predictions (N).
    fn errors(
        &self,
        graph: &mut Graph,
        model: &Function,
        contract: &Contract,
        parameters: &[Value],
    ) -> Value {
        let predicted = apply(graph, model, self.state, self.action, parameters);
        row_errors(graph, contract, predicted, self.next_state)
    }
}

fn apply(
    graph: &mut Graph,
    model: &Function,
    state: Value,
    action: Value,
    parameters: &[Value],
) -> Value {
    let arguments: Vec<Value> = [state, action].iter().chain(parameters).copied().collect();
    graph.inline(model, &arguments)[0]
}

/// Mean over the rows whose mask is 1; 0 when there are none.
fn masked_mean(graph: &mut Graph, errors: Value, mask: Value) -> Value {
    let masked = graph.mul(errors, mask);
    let sum = graph.reduce_sum(masked, &[0], false);
    let rows = graph.reduce_sum(mask, &[0], false);
    let one = graph.scalar(1.0);
    let rows = graph.max(rows, one);
    graph.div(sum, rows)
}

fn parameter_inputs(graph: &mut Graph, model: &Model) -> Vec<Value> {
    model
        .parameters()
        .iter()
        .map(|p| graph.input(&p.name, &p.shape))
        .collect()
}

/// Inputs: `state`, `action`, `next_state` (M rows), parameters. Output: `errors` (M), the mean squared normalised error of
/// each row.
pub fn errors(model: &Model, contract: &Contract) -> Result<Function, Error> {
    let rows = contract.adapt.window;
    let predict = predict(model, rows)?;
    let mut graph = Graph::new();
    let batch = Batch::input(&mut graph, contract, rows, "");
    let parameters = parameter_inputs(&mut graph, model);
    let errors = batch.errors(&mut graph, &predict, contract, &parameters);
    Ok(graph.finish(&[("errors", errors)]))
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
    let batch = Batch::input(&mut graph, contract, rows, "");
    let mask = graph.input("mask", &[rows]);
    let parameters = parameter_inputs(&mut graph, model);
    let errors = batch.errors(&mut graph, &predict, contract, &parameters);
    let before = masked_mean(&mut graph, errors, mask);
    let steps = steps(&mut graph, model, contract);
    let step = inner_step(&mut graph, before, &parameters, &steps);
    let errors = batch.errors(&mut graph, &predict, contract, &step.parameters);
    let after = masked_mean(&mut graph, errors, mask);
    let gradient_norm = norm(&mut graph, &step.gradients);
    let step_norm = norm(&mut graph, &step.changes);
    let names: Vec<String> = model
        .parameters()
        .iter()
        .map(|p| format!("adapted.{}", p.name))
        .collect();
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
    model
        .parameters()
        .iter()
        .map(|p| step(p).map(|alpha| graph.scalar(f64::from(alpha))))
        .collect()
}

struct InnerStep {
    /// theta', in file order.
    parameters: Vec<Value>,
    /// Gradient of each adapted parameter.
    gradients: Vec<Value>,
    /// theta - theta' of each adapted parameter.
    changes: Vec<Value>,
}

fn inner_step(
    graph: &mut Graph,
    loss: Value,
    parameters: &[Value],
    steps: &[Option<Value>],
) -> InnerStep {
    let adapted: Vec<Value> = parameters
        .iter()
        .zip(steps)
        .filter(|(_, step)| step.is_some())
        .map(|(p, _)| *p)
        .collect();
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
    InnerStep {
        parameters: next,
        gradients,
        changes,
    }
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
        state = apply(g, &predict, state, action, &parameters);

        let target = g.slice(reference, 0, step, 1);
        let error = |g: &mut Graph, index: usize, column: usize| {
            let is = g.slice(state, 1, index, 1);
            let wanted = g.slice(target, 1, column, 1);
            g.sub(is, wanted)
        };
        let (dx, dy, turn) = (
            error(g, pose.x, 0),
            error(g, pose.y, 1),
            error(g, pose.yaw, 2),
        );
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

/// Sizes of a meta-training batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetaBatch {
    /// Tasks, B.
    pub tasks: usize,
    /// Future transitions of each task, K.
    pub future: usize,
    /// Steps of the longest prediction that is scored on the future, 1 to K.
    pub steps: usize,
}

/// The meta-objective of GrBAL over a batch of B tasks and its gradient: second-order MAML with one inner step.
///
/// Inputs: `past.state`, `past.action`, `past.next_state` (B, M, …) and `future.*` (B, K, …), the rows of a task following
/// each other in time, then the parameters, then `log_step.NAME` (a scalar: the logarithm of the inner step size) of each.
/// Outputs: `loss_before` and `loss_after`, the errors of theta and theta' on the future, means over the tasks and over
/// open-loop predictions of 1 to `steps` ticks, then the gradient of `loss_after` with respect to every parameter and every
/// `log_step`, in the order of the inputs.
pub fn meta_gradient(
    model: &Model,
    contract: &Contract,
    batch: MetaBatch,
) -> Result<Function, Error> {
    let task = meta_task(model, contract, batch)?;
    let mut graph = Graph::new();
    let g = &mut graph;
    let mut arguments = Vec::new();
    for input in &task.inputs()[..6] {
        let shape: Vec<usize> = std::iter::once(batch.tasks)
            .chain(input.shape.iter().copied())
            .collect();
        arguments.push(Argument::Batched(g.input(&input.name, &shape)));
    }
    let mut differentiated = parameter_inputs(g, model);
    differentiated.extend(log_step_inputs(g, model));
    arguments.extend(differentiated.iter().map(|&value| Argument::Shared(value)));
    let losses = g.vmap(&task, &arguments);
    let before = g.mean(losses[0], &[0], false);
    let after = g.mean(losses[1], &[0], false);
    let gradients = g.gradient(after, &differentiated);
    let names: Vec<String> = (0..gradients.len())
        .map(|i| format!("gradient.{i}"))
        .collect();
    let mut outputs = vec![("loss_before", before), ("loss_after", after)];
    outputs.extend(names.iter().map(String::as_str).zip(gradients));
    Ok(graph.finish(&outputs))
}

/// One task of [`meta_gradient`]: its losses before and after the inner step.
fn meta_task(model: &Model, contract: &Contract, batch: MetaBatch) -> Result<Function, Error> {
    let past = contract.adapt.window;
    let starts = batch.future - batch.steps + 1;
    let (predict_past, predict_future) = (predict(model, past)?, predict(model, starts)?);
    let mut graph = Graph::new();
    let g = &mut graph;
    let past = Batch::input(g, contract, past, "past.");
    let future = Batch::input(g, contract, batch.future, "future.");
    let parameters = parameter_inputs(g, model);
    let log_steps = log_step_inputs(g, model);

    let errors = past.errors(g, &predict_past, contract, &parameters);
    let inner = g.mean(errors, &[0], false);
    let steps: Vec<Option<Value>> = log_steps.iter().map(|&log| Some(g.exp(log))).collect();
    let step = inner_step(g, inner, &parameters, &steps);
    let losses = [&parameters, &step.parameters].map(|parameters| {
        let mut state = g.slice(future.state, 0, 0, starts);
        let mut total = g.scalar(0.0);
        for ahead in 0..batch.steps {
            let action = g.slice(future.action, 0, ahead, starts);
            let next_state = g.slice(future.next_state, 0, ahead, starts);
            state = apply(g, &predict_future, state, action, parameters);
            let errors = row_errors(g, contract, state, next_state);
            let mean = g.mean(errors, &[0], false);
            total = g.add(total, mean);
        }
        let count = g.scalar(batch.steps as f64);
        g.div(total, count)
    });
    // Few rows are asked of the adapted weights of a task: the low-rank form of the step is far cheaper.
    let task = graph.finish(&[("before", losses[0]), ("after", losses[1])]);
    Ok(task.factor_updates())
}

fn log_step_inputs(graph: &mut Graph, model: &Model) -> Vec<Value> {
    model
        .parameters()
        .iter()
        .map(|p| graph.input(&format!("log_step.{}", p.name), &[]))
        .collect()
}
