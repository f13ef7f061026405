//! The graph's own language: about twenty operators over float tensors of static shape.
//!
//! Everything is a float: comparisons give masks of 0 and 1. Integers (shape arguments, indices) exist only while a file is
//! read, where they are folded away.

use crate::shape::{broadcast, broadcasts_to, matmul, numel, reduce, split_matrix};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A tensor in a [`Graph`](crate::Graph): a handle, valid only in the graph that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) u32);

impl Value {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One operator applied to earlier values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub op: Op,
    pub inputs: Vec<Value>,
    pub shape: Vec<usize>,
}

/// The operators. Axes are counted from the front; shapes are static.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// The n-th input of the graph.
    Input(usize),
    /// Numbers known while building, row-major.
    Constant(Data),
    /// Elementwise, one operand.
    Unary(Unary),
    /// Elementwise, two operands, numpy broadcasting.
    Binary(Binary),
    /// `mask != 0 ? a : b`, all three broadcast.
    Select,
    /// `op(a) op(b)` over the last two axes, the others broadcast; `op` transposes where its flag is set.
    MatMul { ta: bool, tb: bool },
    /// The inverse of symmetric positive definite matrices in the last two axes.
    SpdInverse,
    /// Folds the (sorted) axes away, or to size 1 if `keep`.
    Reduce {
        kind: Reduce,
        axes: Vec<usize>,
        keep: bool,
    },
    /// Same elements, row-major order, new shape.
    Reshape(Vec<usize>),
    /// Numpy broadcast to the shape.
    Expand(Vec<usize>),
    /// Output axis `i` is input axis `perm[i]`.
    Transpose(Vec<usize>),
    /// `len` entries along `axis`, from `start`.
    Slice {
        axis: usize,
        start: usize,
        len: usize,
    },
    /// Zeros before and after along `axis`.
    Pad {
        axis: usize,
        before: usize,
        after: usize,
    },
    /// The operands one after another along the axis.
    Concat(usize),
    /// The entries `indices` along `axis`, in that order.
    Gather { axis: usize, indices: Arc<[usize]> },
}

/// Elementwise functions of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Neg,
    Exp,
    Log,
    Sqrt,
    Tanh,
    Sigmoid,
    Softplus,
    Relu,
    Sin,
    Cos,
    Abs,
    Sign,
    Erf,
    Atan,
    Floor,
    /// To the nearest integer, ties to even.
    Round,
}

/// Elementwise functions of two operands. `Greater` gives a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    Greater,
}

impl Binary {
    pub(crate) fn commutes(self) -> bool {
        matches!(self, Binary::Add | Binary::Mul | Binary::Max | Binary::Min)
    }
}

/// Reductions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reduce {
    Sum,
    Max,
}

/// Constant numbers, equal when their bits are.
#[derive(Clone, Debug)]
pub(crate) struct Data(pub Arc<[f64]>);

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(other.0.iter())
                .all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

impl Eq for Data {}

impl Hash for Data {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
        for x in self.0.iter() {
            x.to_bits().hash(state);
        }
    }
}

impl Op {
    /// The result's shape, or `None` where the operands do not fit the operator.
    ///
    /// # Panics
    /// For [`Op::Input`] and [`Op::Constant`], whose shapes are given.
    pub(crate) fn infer(&self, inputs: &[&[usize]]) -> Option<Vec<usize>> {
        let axis_size = |axis: usize| inputs[0].get(axis).copied();
        let with_axis = |axis: usize, size: usize| {
            let mut shape = inputs[0].to_vec();
            shape[axis] = size;
            shape
        };
        match self {
            Op::Input(_) | Op::Constant(_) => {
                unreachable!("inputs and constants carry their shape")
            }
            Op::Unary(_) => Some(inputs[0].to_vec()),
            Op::Binary(_) => broadcast(inputs[0], inputs[1]),
            Op::Select => broadcast(inputs[0], &broadcast(inputs[1], inputs[2])?),
            Op::MatMul { ta, tb } => matmul(inputs[0], inputs[1], *ta, *tb),
            Op::SpdInverse => {
                let (_, [rows, columns]) = split_matrix(inputs[0], false)?;
                (rows == columns).then(|| inputs[0].to_vec())
            }
            Op::Reduce { axes, keep, .. } => {
                let sorted = axes.windows(2).all(|w| w[0] < w[1]);
                let inside = axes.last().is_none_or(|&a| a < inputs[0].len());
                (sorted && inside).then(|| reduce(inputs[0], axes, *keep))
            }
            Op::Reshape(shape) => (numel(shape) == numel(inputs[0])).then(|| shape.clone()),
            Op::Expand(shape) => broadcasts_to(inputs[0], shape).then(|| shape.clone()),
            Op::Transpose(perm) => {
                let mut seen = perm.clone();
                seen.sort_unstable();
                (seen.iter().copied().eq(0..inputs[0].len()))
                    .then(|| perm.iter().map(|&p| inputs[0][p]).collect())
            }
            Op::Slice { axis, start, len } => {
                let inside = start.checked_add(*len)? <= axis_size(*axis)?;
                inside.then(|| with_axis(*axis, *len))
            }
            Op::Pad {
                axis,
                before,
                after,
            } => {
                let size = axis_size(*axis)?
                    .checked_add(*before)?
                    .checked_add(*after)?;
                Some(with_axis(*axis, size))
            }
            Op::Concat(axis) => {
                let mut size = 0usize;
                for shape in inputs {
                    let like = shape.len() == inputs[0].len()
                        && (0..shape.len()).all(|i| i == *axis || shape[i] == inputs[0][i]);
                    size = size.checked_add(*shape.get(*axis).filter(|_| like)?)?;
                }
                Some(with_axis(*axis, size))
            }
            Op::Gather { axis, indices } => {
                let size = axis_size(*axis)?;
                (indices.iter().all(|&i| i < size)).then(|| with_axis(*axis, indices.len()))
            }
        }
    }

    /// Floating-point operations of one evaluation; 2 a multiply-add, 1 an elementwise result, 0 for data movement.
    pub(crate) fn flops(&self, inputs: &[&[usize]], shape: &[usize]) -> u64 {
        let count = |shape: &[usize]| numel(shape) as u64;
        match self {
            Op::MatMul { ta, .. } => {
                let rank = inputs[0].len();
                let inner = inputs[0][if *ta { rank - 2 } else { rank - 1 }] as u64;
                2 * inner * count(shape)
            }
            Op::SpdInverse => 2 * count(shape) * shape[shape.len() - 1] as u64,
            Op::Unary(_) | Op::Binary(_) | Op::Select => count(shape),
            Op::Reduce { .. } => count(inputs[0]),
            _ => 0,
        }
    }
}
