//! RNN, GRU and LSTM, unrolled over their steps.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("GRU", |g, c| {
        recurrent(
            g,
            c,
            Cell::Gru {
                reset_after: c.int("linear_before_reset", 0) != 0,
            },
        )
    }),
    ("LSTM", |g, c| recurrent(g, c, Cell::Lstm)),
    ("RNN", |g, c| recurrent(g, c, Cell::Rnn)),
];

#[derive(Clone, Copy)]
enum Cell {
    Rnn,
    /// `reset_after`: the reset gate acts on the product with the hidden state, as in torch, and not on the state itself.
    Gru {
        reset_after: bool,
    },
    Lstm,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Cell::Rnn => 1,
            Cell::Gru { .. } => 3,
            Cell::Lstm => 4,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Cell::Rnn => &["Tanh"],
            Cell::Gru { .. } => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// One direction's weights: `w [gates h, i]`, `r [gates h, h]`, biases `[gates h]`.
struct Weights {
    w: Value,
    r: Value,
    input_bias: Value,
    hidden_bias: Value,
    hidden: usize,
}

/// What goes from step to step, each `[n, h]`. Only an LSTM uses `cell`.
#[derive(Clone, Copy)]
struct State {
    hidden: Value,
    cell: Value,
}

/// `x [t, n, i]`; results `[t, directions, n, h]`, the last hidden state and the last cell state `[directions, n, h]`.
fn recurrent(g: &mut Graph, c: &Call<'_>, cell: Cell) -> Result<Vec<Item>, Fault> {
    let x = c.value(0)?;
    let [steps, rows, inputs] = g.shape(x)[..] else {
        return Err(Fault::Shapes(vec![g.shape(x).to_vec()]));
    };
    check_attributes(g, c, cell, steps)?;
    let directions: &[bool] = match c.string("direction").unwrap_or("forward") {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        _ => return Err(Fault::Attribute("direction", "is of an unknown kind")),
    };
    let [_, stacked, hidden] = g.shape(c.value(2)?)[..] else {
        return Err(Fault::Shapes(vec![g.shape(c.value(2)?).to_vec()]));
    };
    if hidden.checked_mul(cell.gates()) != Some(stacked) || hidden == 0 {
        return Err(Fault::Operand(2, "does not hold one square matrix a gate"));
    }
    let (mut all, mut last_hidden, mut last_cell) = (vec![], vec![], vec![]);
    for (d, &reverse) in directions.iter().enumerate() {
        let weights = weights(g, c, d, directions.len(), [stacked, inputs, hidden])?;
        let mut state = State {
            hidden: initial(g, c, 5, d, [directions.len(), rows, hidden])?,
            cell: initial(g, c, 6, d, [directions.len(), rows, hidden])?,
        };
        let mut outputs = vec![state.hidden; steps];
        for t in 0..steps {
            let t = if reverse { steps - 1 - t } else { t };
            let slice = g.slice(x, 0, t, 1);
            let input = g.reshape(slice, &[rows, inputs]);
            state = step(g, cell, &weights, input, state);
            outputs[t] = g.reshape(state.hidden, &[1, 1, rows, hidden]);
        }
        all.push(g.concat(&outputs, 0));
        last_hidden.push(g.reshape(state.hidden, &[1, rows, hidden]));
        last_cell.push(g.reshape(state.cell, &[1, rows, hidden]));
    }
    let mut results = vec![
        Item::float(g.concat(&all, 1)),
        Item::float(g.concat(&last_hidden, 0)),
    ];
    if matches!(cell, Cell::Lstm) {
        results.push(Item::float(g.concat(&last_cell, 0)));
    }
    Ok(results)
}

fn check_attributes(g: &Graph, c: &Call<'_>, cell: Cell, steps: usize) -> Result<(), Fault> {
    const MOST_STEPS: usize = 1 << 12;
    if steps == 0 || steps > MOST_STEPS {
        return Err(Fault::Operand(0, "has no steps, or too many to unroll"));
    }
    if c.int("layout", 0) != 0 || c.has("clip") || c.int("input_forget", 0) != 0 {
        return Err(Fault::Attribute(
            "layout",
            "layout, clip and input_forget are not supported",
        ));
    }
    if let Some(given) = c.strings("activations") {
        let mut expected = cell.activations().iter().cycle();
        if !given.iter().all(|name| {
            expected
                .next()
                .is_some_and(|e| e.as_bytes() == name.as_slice())
        }) {
            return Err(Fault::Attribute(
                "activations",
                "only the default activations are supported",
            ));
        }
    }
    if c.optional(7).is_some() {
        return Err(Fault::Operand(7, "peepholes are not supported"));
    }
    if c.optional(4).is_some()
        && c.numbers(g, 4)?
            .iter()
            .any(|&length| length != steps as f64)
    {
        return Err(Fault::Operand(
            4,
            "sequences shorter than the window are not supported",
        ));
    }
    Ok(())
}

/// Entry `d` of operand `i`, whose shape must be `shape`, without its first axis.
fn entry(g: &mut Graph, c: &Call<'_>, i: usize, d: usize, shape: &[usize]) -> Result<Value, Fault> {
    let value = c.value(i)?;
    if g.shape(value) != shape {
        return Err(Fault::Shapes(vec![g.shape(value).to_vec(), shape.to_vec()]));
    }
    let slice = g.slice(value, 0, d, 1);
    Ok(g.reshape(slice, &shape[1..]))
}

fn weights(
    g: &mut Graph,
    c: &Call<'_>,
    d: usize,
    directions: usize,
    [stacked, inputs, hidden]: [usize; 3],
) -> Result<Weights, Fault> {
    let w = entry(g, c, 1, d, &[directions, stacked, inputs])?;
    let r = entry(g, c, 2, d, &[directions, stacked, hidden])?;
    let bias = match c.optional(3) {
        Some(_) => entry(g, c, 3, d, &[directions, 2 * stacked])?,
        None => g.full(&[2 * stacked], 0.0),
    };
    let input_bias = g.slice(bias, 0, 0, stacked);
    let hidden_bias = g.slice(bias, 0, stacked, stacked);
    Ok(Weights {
        w,
        r,
        input_bias,
        hidden_bias,
        hidden,
    })
}

/// The state before the first step: zeros where operand `i` is left out.
fn initial(
    g: &mut Graph,
    c: &Call<'_>,
    i: usize,
    d: usize,
    shape: [usize; 3],
) -> Result<Value, Fault> {
    match c.optional(i) {
        Some(_) => entry(g, c, i, d, &shape),
        None => Ok(g.full(&shape[1..], 0.0)),
    }
}

/// `x m^T + b`
fn affine(g: &mut Graph, x: Value, m: Value, b: Value) -> Value {
    let product = g.mm(x, m, false, true);
    g.add(product, b)
}

fn step(g: &mut Graph, cell: Cell, weights: &Weights, input: Value, state: State) -> State {
    let h = weights.hidden;
    let from_input = affine(g, input, weights.w, weights.input_bias);
    let gate = |g: &mut Graph, all: Value, i: usize| g.slice(all, 1, i * h, h);
    match cell {
        Cell::Rnn => {
            let from_hidden = affine(g, state.hidden, weights.r, weights.hidden_bias);
            let sum = g.add(from_input, from_hidden);
            State {
                hidden: g.tanh(sum),
                ..state
            }
        }
        Cell::Gru { reset_after } => {
            let from_hidden = affine(g, state.hidden, weights.r, weights.hidden_bias);
            let sum = g.add(from_input, from_hidden);
            let [update, reset] = [0, 1].map(|i| {
                let part = gate(g, sum, i);
                g.sigmoid(part)
            });
            let candidate = if reset_after {
                let part = gate(g, from_hidden, 2);
                g.mul(reset, part)
            } else {
                let state = g.mul(reset, state.hidden);
                let r = g.slice(weights.r, 0, 2 * h, h);
                let b = g.slice(weights.hidden_bias, 0, 2 * h, h);
                affine(g, state, r, b)
            };
            let part = gate(g, from_input, 2);
            let candidate = g.add(part, candidate);
            let candidate = g.tanh(candidate);
            let change = g.sub(state.hidden, candidate);
            let kept = g.mul(update, change);
            State {
                hidden: g.add(candidate, kept),
                ..state
            }
        }
        Cell::Lstm => {
            let from_hidden = affine(g, state.hidden, weights.r, weights.hidden_bias);
            let sum = g.add(from_input, from_hidden);
            let [input, output, forget] = [0, 1, 2].map(|i| {
                let part = gate(g, sum, i);
                g.sigmoid(part)
            });
            let part = gate(g, sum, 3);
            let candidate = g.tanh(part);
            let kept = g.mul(forget, state.cell);
            let added = g.mul(input, candidate);
            let cell = g.add(kept, added);
            let bent = g.tanh(cell);
            State {
                hidden: g.mul(output, bent),
                cell,
            }
        }
    }
}
