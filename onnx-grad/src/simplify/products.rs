//! Rules of matrix products and reductions.

use super::scaled;
use crate::graph::Graph;
use crate::ir::{Op, Reduce, Value};

/// Zeros, transposes and factors of the operands.
pub(super) fn matmul(
    g: &mut Graph,
    a: Value,
    b: Value,
    [ta, tb]: [bool; 2],
    shape: &[usize],
) -> Option<Value> {
    if g.uniform(a) == Some(0.0) || g.uniform(b) == Some(0.0) {
        return Some(g.full(shape, 0.0));
    }
    if let Some(x) = untransposed(g, a) {
        return Some(g.mm(x, b, !ta, tb));
    }
    if let Some(y) = untransposed(g, b) {
        return Some(g.mm(a, y, ta, !tb));
    }
    if let Some((x, c)) = scaled(g, a) {
        let product = g.mm(x, b, ta, tb);
        return Some(g.scale(product, c));
    }
    let (y, c) = scaled(g, b)?;
    let product = g.mm(a, y, ta, tb);
    Some(g.scale(product, c))
}

/// The operand of a transpose that swaps the last two axes only.
fn untransposed(g: &Graph, v: Value) -> Option<Value> {
    let node = g.get(v);
    let Op::Transpose(perm) = &node.op else {
        return None;
    };
    let batch = perm.len().checked_sub(2)?;
    let swaps = perm[..batch].iter().copied().eq(0..batch) && perm[batch] == batch + 1;
    swaps.then_some(node.inputs[0])
}

/// Size-1 axes, repeated axes and factors of the operand.
pub(super) fn reduce(
    g: &mut Graph,
    kind: Reduce,
    x: Value,
    axes: &[usize],
    op: &Op,
    shape: &[usize],
) -> Option<Value> {
    let node = g.get(x).clone();
    if axes.iter().all(|&axis| node.shape[axis] == 1) {
        return Some(g.reshape(x, shape));
    }
    if matches!(node.op, Op::Expand(_)) {
        return reduce_expand(g, kind, node.inputs[0], &node.shape, axes, op, shape);
    }
    let (base, factor) = scaled(g, x).filter(|_| kind == Reduce::Sum)?;
    let sum = g.node(op.clone(), &[base]);
    Some(g.scale(sum, factor))
}

/// Reducing along a repeated axis is a multiplication (sum) or nothing (maximum).
fn reduce_expand(
    g: &mut Graph,
    kind: Reduce,
    source: Value,
    expanded: &[usize],
    axes: &[usize],
    op: &Op,
    shape: &[usize],
) -> Option<Value> {
    let lead = expanded.len() - g.shape(source).len();
    let mut aligned = vec![1; lead];
    aligned.extend_from_slice(g.shape(source));
    let repeats: usize = axes
        .iter()
        .filter(|&&axis| aligned[axis] == 1)
        .map(|&axis| expanded[axis])
        .product();
    if repeats == 0 {
        return (kind == Reduce::Sum).then(|| g.full(shape, 0.0));
    }
    let small = g.reshape(source, &aligned);
    let small = g.node(op.clone(), &[small]);
    let result = g.expand(small, shape);
    Some(if kind == Reduce::Sum {
        g.scale(result, repeats as f64)
    } else {
        result
    })
}
