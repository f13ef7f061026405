//! Operators that pick by value. Which entry is picked has no gradient; what it holds has.

use super::Rule;
use super::call::{Call, Item, axis};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ArgMax", |g, c| arg_max(g, c, false)),
    ("ArgMin", |g, c| arg_max(g, c, true)),
    ("OneHot", one_hot),
    ("TopK", top_k),
];

/// A mask of the first (or last) largest entry along an axis, and that entry's index, with size 1 there.
fn largest(g: &mut Graph, x: Value, axis: usize, last: bool) -> (Value, Value) {
    let shape = g.shape(x).to_vec();
    let size = shape[axis];
    let mut along = vec![1; shape.len()];
    along[axis] = size;
    let places: Vec<f64> = (0..size).map(|i| i as f64).collect();
    let places = g.constant(&along, &places);
    let outside = g.scalar(if last { -1.0 } else { size as f64 });
    let top = g.reduce_max(x, &[axis], true);
    let below = g.greater(top, x);
    let candidates = g.select(below, outside, places);
    let index = if last {
        g.reduce_max(candidates, &[axis], true)
    } else {
        let negative = g.neg(candidates);
        let first = g.reduce_max(negative, &[axis], true);
        g.neg(first)
    };
    (equals(g, places, index), index)
}

fn equals(g: &mut Graph, a: Value, b: Value) -> Value {
    let (above, below) = (g.greater(a, b), g.greater(b, a));
    let differs = g.add(above, below);
    let one = g.scalar(1.0);
    g.sub(one, differs)
}

fn arg_max(g: &mut Graph, c: &Call<'_>, smallest: bool) -> Result<Vec<Item>, Fault> {
    let x = c.value(0)?;
    let axis = c.axis("axis", 0, g.shape(x).len())?;
    if g.shape(x)[axis] == 0 {
        return Err(Fault::Operand(0, "has no entries along the axis"));
    }
    let x = if smallest { g.neg(x) } else { x };
    let (_, index) = largest(g, x, axis, c.int("select_last_index", 0) != 0);
    let shape = crate::shape::reduce(g.shape(x), &[axis], c.int("keepdims", 1) != 0);
    Ok(vec![Item::int(g.reshape(index, &shape))])
}

/// The `k` largest (or smallest) entries along an axis in order, and their indices: one after another, each taken out before
/// the next is looked for.
fn top_k(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    const MOST: usize = 64;
    let x = c.value(0)?;
    let axis = c.axis("axis", -1, g.shape(x).len())?;
    let [k] = c.sizes(g, 1)?[..] else {
        return Err(Fault::Operand(1, "holds one number"));
    };
    if k == 0 || k > g.shape(x)[axis].min(MOST) {
        return Err(Fault::Operand(
            1,
            "is 0, or more than the entries, or more than 64",
        ));
    }
    let sign = if c.int("largest", 1) != 0 { 1.0 } else { -1.0 };
    let (mut left, nothing) = (g.scale(x, sign), g.scalar(f64::NEG_INFINITY));
    let zero = g.scalar(0.0);
    let (mut values, mut indices) = (vec![], vec![]);
    for _ in 0..k {
        let (picked, index) = largest(g, left, axis, false);
        let held = g.select(picked, x, zero);
        values.push(g.reduce_sum(held, &[axis], true));
        indices.push(index);
        left = g.select(picked, nothing, left);
    }
    Ok(vec![
        Item::float(g.concat(&values, axis)),
        Item::int(g.concat(&indices, axis)),
    ])
}

/// `on` where the index along a new axis is the operand's, else `off`.
fn one_hot(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    const DEEPEST: usize = 1 << 16;
    let [depth] = c.sizes(g, 1)?[..] else {
        return Err(Fault::Operand(1, "holds one number"));
    };
    let values = c.item(2)?;
    if depth == 0 || depth > DEEPEST || g.shape(values.value) != [2] {
        return Err(Fault::Operand(
            1,
            "the depth is 0 or too large, or the values are not two",
        ));
    }
    let indices = c.value(0)?;
    let mut shape = g.shape(indices).to_vec();
    let axis = axis("axis", c.int("axis", -1), shape.len() + 1)?;
    shape.insert(axis, 1);
    let indices = g.reshape(indices, &shape);
    let mut along = vec![1; shape.len()];
    along[axis] = depth;
    let places: Vec<f64> = (0..depth).map(|i| i as f64).collect();
    let places = g.constant(&along, &places);
    // An index may count from the end.
    let (zero, size) = (g.scalar(0.0), g.scalar(depth as f64));
    let negative = g.greater(zero, indices);
    let turns = g.mul(negative, size);
    let indices = g.add(indices, turns);
    let hot = equals(g, places, indices);
    let (off, on) = (
        g.slice(values.value, 0, 0, 1),
        g.slice(values.value, 0, 1, 1),
    );
    let (off, on) = (g.reshape(off, &[]), g.reshape(on, &[]));
    Ok(vec![Item {
        value: g.select(hot, on, off),
        ..values
    }])
}
