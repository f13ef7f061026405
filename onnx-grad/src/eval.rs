//! Evaluation in float64: folds constants while building, and is the oracle of the finite-difference tests.

use crate::ir::{Binary, Op, Reduce, Unary};
use crate::shape::{broadcast_strides, numel, split_matrix, strides};

/// Shape and row-major elements.
pub(crate) type Operand<'a> = (&'a [usize], &'a [f64]);

/// Applies one operator; `shape` is the result's, as inferred.
///
/// # Panics
/// For [`Op::Input`], which has no value of its own.
pub(crate) fn apply(op: &Op, inputs: &[Operand<'_>], shape: &[usize]) -> Vec<f64> {
    match op {
        Op::Input(_) => unreachable!("an input has no value of its own"),
        Op::Constant(data) => data.0.to_vec(),
        Op::Unary(f) => inputs[0].1.iter().map(|&x| unary(*f, x)).collect(),
        Op::Binary(f) => {
            let (a, b) = (read(inputs[0], shape), read(inputs[1], shape));
            a.iter().zip(&b).map(|(&a, &b)| binary(*f, a, b)).collect()
        }
        Op::Select => {
            let [mask, a, b] = [0, 1, 2].map(|i| read(inputs[i], shape));
            (0..mask.len())
                .map(|i| if mask[i] != 0.0 { a[i] } else { b[i] })
                .collect()
        }
        Op::MatMul { ta, tb } => matmul(inputs[0], inputs[1], *ta, *tb, shape),
        Op::SpdInverse => inverses(inputs[0]),
        Op::Reduce { kind, axes, .. } => reduce(*kind, inputs[0], axes, shape),
        Op::Reshape(_) => inputs[0].1.to_vec(),
        Op::Expand(_) => read(inputs[0], shape),
        Op::Transpose(perm) => {
            let strides = strides(inputs[0].0);
            let permuted: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
            walk(shape, &permuted).map(|i| inputs[0].1[i]).collect()
        }
        Op::Slice { axis, start, len } => rows(inputs[0], *axis)
            .flat_map(|(row, width)| &row[start * width..(start + len) * width])
            .copied()
            .collect(),
        Op::Pad {
            axis,
            before,
            after,
        } => {
            let mut result = Vec::with_capacity(numel(shape));
            for (row, width) in rows(inputs[0], *axis) {
                result.resize(result.len() + before * width, 0.0);
                result.extend_from_slice(row);
                result.resize(result.len() + after * width, 0.0);
            }
            result
        }
        Op::Concat(axis) => {
            let outer = numel(&shape[..*axis]);
            let part = |operand: &Operand<'_>, i: usize| {
                let size = operand.1.len() / outer;
                i * size..(i + 1) * size
            };
            let mut result = Vec::with_capacity(numel(shape));
            for i in 0..outer {
                for operand in inputs {
                    result.extend_from_slice(&operand.1[part(operand, i)]);
                }
            }
            result
        }
        Op::Gather { axis, indices } => {
            let mut result = Vec::with_capacity(numel(shape));
            for (row, width) in rows(inputs[0], *axis) {
                for i in indices.iter() {
                    result.extend_from_slice(&row[i * width..(i + 1) * width]);
                }
            }
            result
        }
    }
}

/// Offsets of the elements of `shape` in row-major order, under the given strides.
fn walk<'a>(shape: &'a [usize], strides: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    (0..numel(shape)).map(move |_| {
        let current = offset;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        current
    })
}

/// The operand as if broadcast to `shape`.
fn read(operand: Operand<'_>, shape: &[usize]) -> Vec<f64> {
    if operand.0 == shape {
        return operand.1.to_vec();
    }
    walk(shape, &broadcast_strides(operand.0, shape))
        .map(|i| operand.1[i])
        .collect()
}

/// The blocks of an operand from `axis` on, each with the number of elements one step along `axis` covers.
fn rows<'a>((shape, data): Operand<'a>, axis: usize) -> impl Iterator<Item = (&'a [f64], usize)> {
    let width = numel(&shape[axis + 1..]);
    let block = shape[axis] * width;
    (0..numel(&shape[..axis])).map(move |i| (&data[i * block..(i + 1) * block], width))
}

fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Relu => x.max(0.0),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Abs => x.abs(),
        Unary::Sign if x == 0.0 || x.is_nan() => x,
        Unary::Sign => x.signum(),
        Unary::Erf => libm::erf(x),
        Unary::Atan => x.atan(),
        Unary::Floor => x.floor(),
        Unary::Round => x.round_ties_even(),
    }
}

fn binary(f: Binary, a: f64, b: f64) -> f64 {
    match f {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Greater => f64::from(u8::from(a > b)),
    }
}

fn matmul(a: Operand<'_>, b: Operand<'_>, ta: bool, tb: bool, shape: &[usize]) -> Vec<f64> {
    let (Some((batch_a, [m, k])), Some((batch_b, [_, n]))) =
        (split_matrix(a.0, ta), split_matrix(b.0, tb))
    else {
        unreachable!("shapes were inferred")
    };
    let batch = &shape[..shape.len() - 2];
    let block = |from: &[usize], size: usize| -> Vec<usize> {
        walk(batch, &broadcast_strides(from, batch))
            .map(|i| i * size)
            .collect()
    };
    let (row_a, col_a) = if ta { (1, m) } else { (k, 1) };
    let (row_b, col_b) = if tb { (1, k) } else { (n, 1) };
    let mut result = vec![0.0; numel(shape)];
    for (i, (offset_a, offset_b)) in block(batch_a, m * k)
        .into_iter()
        .zip(block(batch_b, k * n))
        .enumerate()
    {
        let (a, b) = (&a.1[offset_a..], &b.1[offset_b..]);
        let out = &mut result[i * m * n..(i + 1) * m * n];
        for r in 0..m {
            for l in 0..k {
                let x = a[r * row_a + l * col_a];
                for c in 0..n {
                    out[r * n + c] += x * b[l * row_b + c * col_b];
                }
            }
        }
    }
    result
}

/// Sweeps every row of every matrix: after that each is its negative inverse.
fn inverses((shape, data): Operand<'_>) -> Vec<f64> {
    let n = shape[shape.len() - 1];
    let mut result = data.to_vec();
    for a in result.chunks_exact_mut((n * n).max(1)) {
        for k in 0..n {
            let pivot = a[k * n + k];
            let column: Vec<f64> = (0..n).map(|i| a[i * n + k]).collect();
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] = match (i == k, j == k) {
                        (true, true) => -1.0 / pivot,
                        (true, false) => column[j] / pivot,
                        (false, true) => column[i] / pivot,
                        (false, false) => a[i * n + j] - column[i] * column[j] / pivot,
                    };
                }
            }
        }
        a.iter_mut().for_each(|x| *x = -*x);
    }
    result
}

fn reduce(kind: Reduce, (shape, data): Operand<'_>, axes: &[usize], out: &[usize]) -> Vec<f64> {
    let kept = crate::shape::reduce(shape, axes, true);
    let (start, fold): (f64, fn(f64, f64) -> f64) = match kind {
        Reduce::Sum => (0.0, |a, b| a + b),
        Reduce::Max => (f64::NEG_INFINITY, f64::max),
    };
    let mut result = vec![start; numel(out)];
    for (i, &x) in walk(shape, &broadcast_strides(&kept, shape)).zip(data) {
        result[i] = fold(result[i], x);
    }
    result
}
