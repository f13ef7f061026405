//! Reductions.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ReduceL1", |g, c| {
        reduce(g, c, |g, x, axes, keep| {
            let size = g.abs(x);
            g.reduce_sum(size, axes, keep)
        })
    }),
    ("ReduceL2", |g, c| {
        reduce(g, c, |g, x, axes, keep| {
            let squares = sum_square(g, x, axes, keep);
            g.sqrt(squares)
        })
    }),
    ("ReduceLogSum", |g, c| {
        reduce(g, c, |g, x, axes, keep| {
            let sum = g.reduce_sum(x, axes, keep);
            g.log(sum)
        })
    }),
    ("ReduceLogSumExp", |g, c| reduce(g, c, log_sum_exp)),
    ("ReduceMax", |g, c| {
        reduce(g, c, |g, x, axes, keep| g.reduce_max(x, axes, keep))
    }),
    ("ReduceMean", |g, c| {
        reduce(g, c, |g, x, axes, keep| g.mean(x, axes, keep))
    }),
    ("ReduceMin", |g, c| {
        reduce(g, c, |g, x, axes, keep| {
            let negative = g.neg(x);
            let top = g.reduce_max(negative, axes, keep);
            g.neg(top)
        })
    }),
    ("ReduceSum", |g, c| {
        reduce(g, c, |g, x, axes, keep| g.reduce_sum(x, axes, keep))
    }),
    ("ReduceSumSquare", |g, c| reduce(g, c, sum_square)),
];

/// Reads the axes (all of them if none are named, unless that is said to mean none).
fn reduce(
    g: &mut Graph,
    c: &Call<'_>,
    f: impl Fn(&mut Graph, Value, &[usize], bool) -> Value,
) -> Built {
    let x = c.item(0)?;
    let rank = g.shape(x.value).len();
    let named = c.axes(g, 1, rank)?.filter(|axes| !axes.is_empty());
    let axes = match named {
        Some(axes) => axes,
        None if c.int("noop_with_empty_axes", 0) != 0 => vec![],
        None => (0..rank).collect(),
    };
    if axes.iter().any(|&axis| g.shape(x.value)[axis] == 0) {
        return Err(Fault::Operand(0, "reduces an axis without elements"));
    }
    let value = f(g, x.value, &axes, c.int("keepdims", 1) != 0);
    Ok(vec![Item {
        value,
        kind: x.kind,
    }])
}

fn sum_square(g: &mut Graph, x: Value, axes: &[usize], keep: bool) -> Value {
    let squares = g.mul(x, x);
    g.reduce_sum(squares, axes, keep)
}

/// Subtracts the maximum first, so that the exponentials cannot overflow.
pub(super) fn log_sum_exp(g: &mut Graph, x: Value, axes: &[usize], keep: bool) -> Value {
    let top = g.reduce_max(x, axes, true);
    let below = g.sub(x, top);
    let exp = g.exp(below);
    let sum = g.reduce_sum(exp, axes, true);
    let log = g.log(sum);
    let result = g.add(log, top);
    let shape = crate::shape::reduce(g.shape(x), axes, keep);
    g.reshape(result, &shape)
}
