//! Reductions.

use super::Rule;
use super::call::{Call, Item, axis};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("CumSum", cumulative_sum),
    ("GlobalAveragePool", |g, c| {
        let x = c.value(0)?;
        let axes: Vec<usize> = (2..g.shape(x).len()).collect();
        match axes.iter().any(|&axis| g.shape(x)[axis] == 0) {
            true => Err(Fault::Operand(0, "reduces an axis without elements")),
            false => Ok(vec![Item::float(g.mean(x, &axes, true))]),
        }
    }),
    ("ReduceL1", |g, c| {
        reduce(g, c, |g, x, axes, keep| {
            let size = g.abs(x);
            g.reduce_sum(size, axes, keep)
        })
    }),
    ("ReduceL2", |g, c| reduce(g, c, norm)),
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
    ("ReduceProd", product),
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

/// The Euclidean norm; its gradient at the origin is 0, as in torch, and not a division of zeros.
fn norm(g: &mut Graph, x: Value, axes: &[usize], keep: bool) -> Value {
    let squares = sum_square(g, x, axes, keep);
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let positive = g.greater(squares, zero);
    let base = g.select(positive, squares, one);
    let root = g.sqrt(base);
    g.select(positive, root, zero)
}

/// Multiplies the slices one by one: meant for sizes.
fn product(g: &mut Graph, c: &Call<'_>) -> Built {
    const LONGEST: usize = 64;
    let longest = g.shape(c.value(0)?).iter().copied().max().unwrap_or(0);
    if longest > LONGEST {
        return Err(Fault::TooLarge(g.shape(c.value(0)?).to_vec()));
    }
    reduce(g, c, |g, x, axes, keep| {
        let mut result = x;
        for &axis in axes {
            let size = g.shape(result)[axis];
            let first = g.slice(result, axis, 0, 1);
            result = (1..size).fold(first, |product, i| {
                let slice = g.slice(result, axis, i, 1);
                g.mul(product, slice)
            });
        }
        let shape = crate::shape::reduce(g.shape(x), axes, keep);
        g.reshape(result, &shape)
    })
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

/// Sums up to each entry along an axis: a product with a triangle of ones.
fn cumulative_sum(g: &mut Graph, c: &Call<'_>) -> Built {
    const LONGEST: usize = 1 << 10;
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let axis = axis("axis", c.number(g, 1)? as i64, shape.len())?;
    let n = shape[axis];
    if n > LONGEST {
        return Err(Fault::TooLarge(vec![n, n]));
    }
    let (exclusive, reverse) = (c.int("exclusive", 0) != 0, c.int("reverse", 0) != 0);
    let counts = |from: usize, to: usize| {
        let (from, to) = if reverse { (to, from) } else { (from, to) };
        if exclusive { from < to } else { from <= to }
    };
    let ones: Vec<f64> = (0..n * n)
        .map(|i| f64::from(u8::from(counts(i / n, i % n))))
        .collect();
    let triangle = g.constant(&[n, n], &ones);
    // The axis goes last for the product, and back.
    let rows = crate::shape::numel(&shape) / n.max(1);
    let last = shape.len() - 1;
    let mut swap: Vec<usize> = (0..shape.len()).collect();
    swap.swap(axis, last);
    let moved = g.transpose(x.value, &swap);
    let moved_shape = g.shape(moved).to_vec();
    let flat = g.try_reshape(moved, &[rows, n])?;
    let sums = g.mm(flat, triangle, false, false);
    let sums = g.reshape(sums, &moved_shape);
    Ok(vec![Item {
        value: g.transpose(sums, &swap),
        ..x
    }])
}
