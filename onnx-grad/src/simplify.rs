//! Peephole rules, applied to each operator as it is built. A rule returns the value that stands for the operator, or nothing.
//!
//! Three canonical forms carry most of the work: a constant that is one number everywhere is an `Expand` of a scalar;
//! elementwise operators read through `Expand`; and constant factors travel outwards, through products, sums and data
//! movement, until one factor is left at the end, where the exporter hides it in a Gemm.

use crate::graph::Graph;
use crate::ir::{Binary, Op, Reduce, Unary, Value};

/// A simpler value for `op(inputs)` of shape `shape`, if a rule knows one.
pub(crate) fn simplify(g: &mut Graph, op: &Op, inputs: &[Value], shape: &[usize]) -> Option<Value> {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Select => {
            read_through_expand(g, op, inputs, shape).or_else(|| elementwise(g, op, inputs, shape))
        }
        Op::MatMul { ta, tb } => matmul(g, inputs[0], inputs[1], [*ta, *tb], shape),
        Op::Reduce { kind, axes, .. } => reduce(g, *kind, inputs[0], axes, op, shape),
        Op::Concat(axis) => concat(g, inputs, *axis, shape),
        Op::Reshape(_)
        | Op::Expand(_)
        | Op::Transpose(_)
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Gather { .. } => movement(g, op, inputs[0], shape),
        Op::SpdInverse | Op::Input(_) | Op::Constant(_) => None,
    }
}

/// Applies the operator before its operands are broadcast, and broadcasts the result where that is still needed.
fn read_through_expand(g: &mut Graph, op: &Op, inputs: &[Value], shape: &[usize]) -> Option<Value> {
    let stripped: Vec<Value> = inputs
        .iter()
        .map(|&v| match g.get(v).op {
            Op::Expand(_) => g.get(v).inputs[0],
            _ => v,
        })
        .collect();
    (stripped != inputs).then(|| {
        let small = g.node(op.clone(), &stripped);
        g.expand(small, shape)
    })
}

fn elementwise(g: &mut Graph, op: &Op, inputs: &[Value], shape: &[usize]) -> Option<Value> {
    match *op {
        Op::Unary(f) => unary(g, f, inputs[0]),
        Op::Binary(f) => {
            let [a, b] = [inputs[0], inputs[1]];
            let swapped = (g.data(a).is_some(), a) > (g.data(b).is_some(), b);
            if f.commutes() && swapped {
                return Some(g.node(op.clone(), &[b, a]));
            }
            binary(g, f, a, b, shape)
        }
        _ => select(g, inputs, shape),
    }
}

fn unary(g: &mut Graph, f: Unary, x: Value) -> Option<Value> {
    let inner = g.get(x).clone();
    match (f, inner.op) {
        (Unary::Neg, Op::Unary(Unary::Neg)) | (Unary::Relu, Op::Unary(Unary::Relu)) => {
            Some(if f == Unary::Neg { inner.inputs[0] } else { x })
        }
        (Unary::Neg, Op::Binary(Binary::Sub)) => Some(g.sub(inner.inputs[1], inner.inputs[0])),
        (Unary::Neg, Op::Binary(Binary::Mul)) => {
            let (base, factor) = scaled(g, x)?;
            Some(g.scale(base, -factor))
        }
        _ => None,
    }
}

fn binary(g: &mut Graph, f: Binary, a: Value, b: Value, shape: &[usize]) -> Option<Value> {
    // A number is of rank 0 here, so that the result has the shape of the other operand.
    let number = g.uniform(b);
    match f {
        Binary::Add => {
            if number == Some(0.0) {
                return Some(a);
            }
            if let Some(v) = add_pads(g, a, b) {
                return Some(v);
            }
            if a == b {
                return Some(g.scale(a, 2.0));
            }
            match (scaled(g, a), scaled(g, b)) {
                (Some((x, p)), Some((y, q))) if p == q => {
                    let sum = g.add(x, y);
                    Some(g.scale(sum, p))
                }
                (_, Some((y, -1.0))) => Some(g.sub(a, y)),
                (Some((x, -1.0)), _) => Some(g.sub(b, x)),
                _ => None,
            }
        }
        Binary::Sub => {
            if number == Some(0.0) {
                return Some(a);
            }
            if g.uniform(a) == Some(0.0) {
                return Some(g.neg(b));
            }
            match (scaled(g, a), scaled(g, b)) {
                (Some((x, p)), Some((y, q))) if p == q => {
                    let difference = g.sub(x, y);
                    Some(g.scale(difference, p))
                }
                (_, Some((y, -1.0))) => Some(g.add(a, y)),
                _ => None,
            }
        }
        Binary::Mul => match number {
            Some(0.0) => Some(g.full(shape, 0.0)),
            Some(1.0) => Some(a),
            Some(-1.0) => Some(g.neg(a)),
            Some(c) => {
                let (x, d) = scaled(g, a)?;
                Some(g.scale(x, c * d))
            }
            None => {
                let ((x, c), y) = scaled(g, a)
                    .map(|s| (s, b))
                    .or_else(|| Some((scaled(g, b)?, a)))?;
                let product = g.mul(x, y);
                Some(g.scale(product, c))
            }
        },
        Binary::Div => match number {
            Some(c) if c != 0.0 => Some(g.scale(a, 1.0 / c)),
            _ => {
                if g.uniform(a) == Some(0.0) {
                    return Some(g.full(shape, 0.0));
                }
                if let Some((x, c)) = scaled(g, a) {
                    let quotient = g.div(x, b);
                    return Some(g.scale(quotient, c));
                }
                let (y, c) = scaled(g, b)?;
                let quotient = g.div(a, y);
                Some(g.scale(quotient, 1.0 / c))
            }
        },
        Binary::Pow => power(g, a, number?),
        Binary::Max if number == Some(0.0) => Some(g.relu(a)),
        Binary::Max | Binary::Min => (a == b).then_some(a),
        Binary::Greater => (a == b).then(|| g.full(shape, 0.0)),
    }
}

/// Constant exponents that need no `Pow`.
fn power(g: &mut Graph, a: Value, exponent: f64) -> Option<Value> {
    let shape = g.shape(a).to_vec();
    let one = g.scalar(1.0);
    match exponent {
        0.0 => Some(g.full(&shape, 1.0)),
        0.5 => Some(g.sqrt(a)),
        1.0 => Some(a),
        2.0 => Some(g.mul(a, a)),
        3.0 => {
            let square = g.mul(a, a);
            Some(g.mul(square, a))
        }
        -0.5 => {
            let root = g.sqrt(a);
            Some(g.div(one, root))
        }
        -1.0 => Some(g.div(one, a)),
        _ => None,
    }
}

fn select(g: &mut Graph, inputs: &[Value], shape: &[usize]) -> Option<Value> {
    let [mask, a, b] = [inputs[0], inputs[1], inputs[2]];
    let chosen = match g.uniform(mask) {
        _ if a == b => a,
        Some(0.0) => b,
        Some(_) => a,
        None => return None,
    };
    Some(g.expand(chosen, shape))
}

/// `v` as a value times a constant scalar other than 1.
fn scaled(g: &Graph, v: Value) -> Option<(Value, f64)> {
    let node = g.get(v);
    match node.op {
        Op::Unary(Unary::Neg) => Some((node.inputs[0], -1.0)),
        Op::Binary(Binary::Mul) if g.shape(node.inputs[1]).is_empty() => {
            Some((node.inputs[0], g.uniform(node.inputs[1])?))
        }
        _ => None,
    }
}

/// Padded pieces that lie side by side add up to their concatenation: the gradient of a split.
fn add_pads(g: &mut Graph, a: Value, b: Value) -> Option<Value> {
    let (x, y) = (g.get(a).clone(), g.get(b).clone());
    let (
        Op::Pad {
            axis,
            before: before_a,
            after: after_a,
        },
        Op::Pad {
            axis: other,
            before: before_b,
            after: after_b,
        },
    ) = (x.op, y.op)
    else {
        return None;
    };
    let size = x
        .shape
        .get(axis)
        .filter(|_| axis == other && x.shape == y.shape)?;
    let (first, second, before, after) = if size - after_a == before_b {
        (x.inputs[0], y.inputs[0], before_a, after_b)
    } else if size - after_b == before_a {
        (y.inputs[0], x.inputs[0], before_b, after_a)
    } else {
        return None;
    };
    let joined = g.concat(&[first, second], axis);
    Some(g.pad(joined, axis, before, after))
}

fn matmul(
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

fn reduce(
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

fn concat(g: &mut Graph, inputs: &[Value], axis: usize, shape: &[usize]) -> Option<Value> {
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
fn movement(g: &mut Graph, op: &Op, x: Value, shape: &[usize]) -> Option<Value> {
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
