//! Rules of the elementwise operators.

use super::scaled;
use crate::graph::Graph;
use crate::ir::{Binary, Op, Unary, Value};

/// Applies the operator before its operands are broadcast, and broadcasts the result where that is still needed.
pub(super) fn read_through_expand(
    g: &mut Graph,
    op: &Op,
    inputs: &[Value],
    shape: &[usize],
) -> Option<Value> {
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

/// Rules for operands that are not broadcast.
pub(super) fn elementwise(
    g: &mut Graph,
    op: &Op,
    inputs: &[Value],
    shape: &[usize],
) -> Option<Value> {
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
