//! Rules of the operators that move elements: each element's gradient moves back.

use crate::graph::Graph;
use crate::ir::{Op, Value};

/// The gradient with respect to each operand.
///
/// # Panics
/// For operators that compute.
pub(super) fn movement(g: &mut Graph, op: &Op, inputs: &[Value], d: Value) -> Vec<Value> {
    let shape = g.shape(inputs[0]).to_vec();
    let back = match op {
        Op::Reshape(_) => g.reshape(d, &shape),
        Op::Expand(_) => g.unbroadcast(d, &shape),
        Op::Transpose(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (i, &p) in perm.iter().enumerate() {
                inverse[p] = i;
            }
            g.transpose(d, &inverse)
        }
        Op::Slice { axis, start, len } => g.pad(d, *axis, *start, shape[*axis] - start - len),
        Op::Pad { axis, before, .. } => g.slice(d, *axis, *before, shape[*axis]),
        Op::Concat(axis) => return split(g, *axis, inputs, d),
        Op::Gather { axis, indices } => scatter_add(g, d, *axis, indices, shape[*axis]),
        _ => unreachable!("{op:?} computes"),
    };
    vec![back]
}

fn split(g: &mut Graph, axis: usize, inputs: &[Value], d: Value) -> Vec<Value> {
    let mut start = 0;
    inputs
        .iter()
        .map(|&input| {
            let len = g.shape(input)[axis];
            let part = g.slice(d, axis, start, len);
            start += len;
            part
        })
        .collect()
}

/// Adds the entries of `d` up at `indices` of an axis of length `size`. Written as another gather, so that it is closed under
/// differentiation and sums in a fixed order: the n-th round takes, for each place, the n-th entry that goes there, or a zero.
fn scatter_add(g: &mut Graph, d: Value, axis: usize, indices: &[usize], size: usize) -> Value {
    let mut sources: Vec<Vec<usize>> = vec![vec![]; size];
    for (entry, &place) in indices.iter().enumerate() {
        sources[place].push(entry);
    }
    let rounds = sources.iter().map(Vec::len).max().unwrap_or(0);
    let zero = indices.len();
    let padded = g.pad(d, axis, 0, 1);
    let picks: Vec<usize> = (0..rounds)
        .flat_map(|round| {
            sources
                .iter()
                .map(move |s| s.get(round).copied().unwrap_or(zero))
        })
        .collect();
    let picked = g.gather(padded, axis, &picks);
    let mut shape = g.shape(d).to_vec();
    shape.splice(axis..=axis, [rounds, size]);
    let stacked = g.reshape(picked, &shape);
    g.reduce_sum(stacked, &[axis], false)
}
