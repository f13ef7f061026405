//! Rules of the operators that only move elements.

use super::scaled;
use crate::graph::Graph;
use crate::ir::{Op, Value};

/// Parts that are one number, or concatenations, or neighbouring slices.
pub(super) fn concat(
    g: &mut Graph,
    inputs: &[Value],
    axis: usize,
    shape: &[usize],
) -> Option<Value> {
    if inputs.len() == 1 {
        return Some(inputs[0]);
    }
    if let Some(x) = g.uniform(inputs[0])
        && inputs
            .iter()
            .all(|&v| g.uniform(v).map(f64::to_bits) == Some(x.to_bits()))
    {
        return Some(g.full(shape, x));
    }
    if let Some(nested) = inputs.iter().position(|&v| g.get(v).op == Op::Concat(axis)) {
        let mut flat = inputs[..nested].to_vec();
        flat.extend_from_slice(&g.get(inputs[nested]).inputs);
        flat.extend_from_slice(&inputs[nested + 1..]);
        return Some(g.concat(&flat, axis));
    }
    let slice = |v: Value| match g.get(v).op {
        Op::Slice {
            axis: a,
            start,
            len,
        } if a == axis => Some((g.get(v).inputs[0], start, len)),
        _ => None,
    };
    for (i, pair) in inputs.windows(2).enumerate() {
        if let (Some((x, start, len)), Some((y, next, more))) = (slice(pair[0]), slice(pair[1]))
            && x == y
            && start + len == next
        {
            let joined = g.slice(x, axis, start, len + more);
            let mut parts = inputs[..i].to_vec();
            parts.push(joined);
            parts.extend_from_slice(&inputs[i + 2..]);
            return Some(g.concat(&parts, axis));
        }
    }
    None
}

/// Operators that only move elements of one operand.
pub(super) fn movement(g: &mut Graph, op: &Op, x: Value, shape: &[usize]) -> Option<Value> {
    let node = g.get(x).clone();
    let pads = matches!(op, Op::Pad { .. });
    if node.shape == shape && !matches!(op, Op::Transpose(_) | Op::Gather { .. }) {
        return Some(x);
    }
    // One number everywhere stays so, unless zeros are put around another number.
    if !matches!(op, Op::Expand(_))
        && let Some(number) = g.uniform(x).filter(|&number| !pads || number == 0.0)
    {
        return Some(g.full(shape, number));
    }
    if let Some(value) = merge(g, op, x, &node.op, &node.inputs, shape) {
        return Some(value);
    }
    // A slice is dearer after its factor, but often has siblings that share it; broadcasting comes last of all.
    if matches!(op, Op::Slice { .. } | Op::Gather { .. } | Op::Expand(_)) {
        return None;
    }
    let (base, factor) = scaled(g, x)?;
    let moved = g.node(op.clone(), &[base]);
    Some(g.scale(moved, factor))
}

/// Two movements in a row that are one.
fn merge(
    g: &mut Graph,
    op: &Op,
    x: Value,
    inner: &Op,
    sources: &[Value],
    shape: &[usize],
) -> Option<Value> {
    match (op, inner) {
        (Op::Reshape(_), Op::Reshape(_)) => Some(g.reshape(sources[0], shape)),
        (Op::Reshape(_), Op::Reduce { kind, axes, keep }) => {
            // The form that keeps the axes and the form that drops them are a reshape apart.
            let other = crate::shape::reduce(g.shape(sources[0]), axes, !keep);
            let op = Op::Reduce {
                kind: *kind,
                axes: axes.clone(),
                keep: !keep,
            };
            (other == shape).then(|| g.node(op, sources))
        }
        (Op::Expand(_), Op::Expand(_)) => Some(g.expand(sources[0], shape)),
        (Op::Transpose(perm), Op::Transpose(first)) => {
            let both: Vec<usize> = perm.iter().map(|&p| first[p]).collect();
            Some(g.transpose(sources[0], &both))
        }
        (Op::Transpose(perm), _) => {
            let source = g.shape(x);
            let moved: Vec<usize> = perm.iter().copied().filter(|&p| source[p] != 1).collect();
            moved.is_sorted().then(|| g.reshape(x, shape))
        }
        (
            Op::Slice { axis, start, len },
            Op::Slice {
                axis: a,
                start: first,
                ..
            },
        ) if axis == a => Some(g.slice(sources[0], *axis, start + first, *len)),
        (
            Op::Slice { axis, start, len },
            Op::Pad {
                axis: a, before, ..
            },
        ) if axis == a => {
            let size = g.shape(sources[0])[*axis];
            let inside = start >= before && start + len <= before + size;
            inside.then(|| g.slice(sources[0], *axis, start - before, *len))
        }
        (Op::Slice { axis, start, len }, Op::Concat(a)) if axis == a => {
            let mut offset = 0;
            for &part in sources {
                let size = g.shape(part)[*axis];
                if *start >= offset && start + len <= offset + size {
                    return Some(g.slice(part, *axis, start - offset, *len));
                }
                offset += size;
            }
            None
        }
        (
            Op::Pad {
                axis,
                before,
                after,
            },
            Op::Pad {
                axis: a,
                before: b,
                after: c,
            },
        ) if axis == a => Some(g.pad(sources[0], *axis, before + b, after + c)),
        (Op::Gather { axis, indices }, _) => {
            let contiguous = indices.windows(2).all(|w| w[0] + 1 == w[1]);
            let start = *indices.first().filter(|_| contiguous)?;
            Some(g.slice(x, *axis, start, indices.len()))
        }
        _ => None,
    }
}
