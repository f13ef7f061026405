//! The builder. Every operator passes through [`Graph::node`], which folds constants, simplifies and shares equal nodes; so
//! importing, differentiating and batching are plain replays, and what they do not need vanishes by itself.

use crate::eval;
use crate::function::Function;
use crate::ir::{Binary, Data, Node, Op, Reduce, Unary, Value};
use crate::shape::numel;
use crate::simplify::simplify;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A constant larger than this many elements is never computed while building; it stays an operator.
const FOLD_LIMIT: usize = 1 << 20;

/// A tensor program under construction: float tensors of static shape, in single assignment.
///
/// # Panics
/// The builder's methods panic where operands do not fit the operator (shapes that do not broadcast, an axis outside of the
/// tensor), as indexing a slice does. A file's graph never gets that far: [`Model::read`](crate::Model::read) and
/// [`Model::function`](crate::Model::function) answer with an [`Error`](crate::Error).
///
/// ```
/// let mut g = onnx_grad::Graph::new();
/// let x = g.input("x", &[3]);
/// let squares = g.mul(x, x);
/// let loss = g.reduce_sum(squares, &[0], false);
/// let dx = g.gradient(loss, &[x])[0];
/// let f = g.finish(&[("loss", loss), ("dx", dx)]);
/// assert_eq!(f.evaluate(&[&[1.0, 2.0, 3.0]]), [vec![14.0], vec![2.0, 4.0, 6.0]]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    interned: HashMap<Node, Value>,
    inputs: Vec<(String, Value)>,
}

impl Graph {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares the next input.
    ///
    /// # Panics
    /// If the name is taken.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        assert!(
            self.inputs.iter().all(|(n, _)| n != name),
            "two inputs named '{name}'"
        );
        let op = Op::Input(self.inputs.len());
        let value = self.intern(Node {
            op,
            inputs: vec![],
            shape: shape.to_vec(),
        });
        self.inputs.push((name.to_owned(), value));
        value
    }

    /// A tensor of known numbers, row-major.
    ///
    /// # Panics
    /// If the number of elements differs from the shape's.
    pub fn constant(&mut self, shape: &[usize], data: &[f64]) -> Value {
        assert_eq!(
            numel(shape),
            data.len(),
            "a constant's elements fill its shape"
        );
        let uniform = data
            .first()
            .filter(|x| data.iter().all(|y| y.to_bits() == x.to_bits()));
        match uniform {
            Some(&x) => self.full(shape, x),
            None => self.intern(Node {
                op: Op::Constant(Data(Arc::from(data))),
                inputs: vec![],
                shape: shape.to_vec(),
            }),
        }
    }

    /// A number, of rank 0.
    pub fn scalar(&mut self, x: f64) -> Value {
        self.intern(Node {
            op: Op::Constant(Data(Arc::from([x]))),
            inputs: vec![],
            shape: vec![],
        })
    }

    /// One number everywhere.
    pub fn full(&mut self, shape: &[usize], x: f64) -> Value {
        let x = self.scalar(x);
        self.expand(x, shape)
    }

    /// Sizes of a value's axes.
    pub fn shape(&self, v: Value) -> &[usize] {
        &self.nodes[v.index()].shape
    }

    /// Sum, broadcast.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Add), &[a, b])
    }

    /// Difference, broadcast.
    pub fn sub(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Sub), &[a, b])
    }

    /// Elementwise product, broadcast.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Mul), &[a, b])
    }

    /// Quotient, broadcast.
    pub fn div(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Div), &[a, b])
    }

    /// `a` to the power `b`, broadcast; differentiable with respect to `b` where `a > 0`.
    pub fn pow(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Pow), &[a, b])
    }

    /// The larger, broadcast; at ties each operand gets half of the gradient.
    pub fn max(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Max), &[a, b])
    }

    /// The smaller, broadcast; at ties each operand gets half of the gradient.
    pub fn min(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Min), &[a, b])
    }

    /// Mask of `a > b`, broadcast.
    pub fn greater(&mut self, a: Value, b: Value) -> Value {
        self.node(Op::Binary(Binary::Greater), &[a, b])
    }

    /// `a` where the mask is not 0, else `b`; all three broadcast.
    pub fn select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        self.node(Op::Select, &[mask, a, b])
    }

    /// `op(a) op(b)` over the last two axes, where `ta` and `tb` transpose; the axes before are broadcast. Ranks are at least 2.
    pub fn mm(&mut self, a: Value, b: Value, ta: bool, tb: bool) -> Value {
        self.node(Op::MatMul { ta, tb }, &[a, b])
    }

    /// Sum over `axes`, which stay with size 1 if `keepdims`.
    pub fn reduce_sum(&mut self, a: Value, axes: &[usize], keepdims: bool) -> Value {
        self.reduce(Reduce::Sum, a, axes, keepdims)
    }

    /// Maximum over `axes`; ties share the gradient evenly.
    pub fn reduce_max(&mut self, a: Value, axes: &[usize], keepdims: bool) -> Value {
        self.reduce(Reduce::Max, a, axes, keepdims)
    }

    /// Mean over `axes`.
    pub fn mean(&mut self, a: Value, axes: &[usize], keepdims: bool) -> Value {
        let count: usize = axes.iter().map(|&axis| self.shape(a)[axis]).product();
        let sum = self.reduce_sum(a, axes, keepdims);
        self.scale(sum, 1.0 / count as f64)
    }

    /// `a` times a number.
    pub fn scale(&mut self, a: Value, factor: f64) -> Value {
        let factor = self.scalar(factor);
        self.mul(a, factor)
    }

    /// Same elements in another shape.
    pub fn reshape(&mut self, a: Value, shape: &[usize]) -> Value {
        self.node(Op::Reshape(shape.to_vec()), &[a])
    }

    /// Output axis `i` is input axis `perm[i]`.
    pub fn transpose(&mut self, a: Value, perm: &[usize]) -> Value {
        self.node(Op::Transpose(perm.to_vec()), &[a])
    }

    /// Broadcast to `shape`.
    pub fn expand(&mut self, a: Value, shape: &[usize]) -> Value {
        self.node(Op::Expand(shape.to_vec()), &[a])
    }

    /// `len` entries along `axis`, from `start`.
    pub fn slice(&mut self, a: Value, axis: usize, start: usize, len: usize) -> Value {
        self.node(Op::Slice { axis, start, len }, &[a])
    }

    /// Zeros before and after along `axis`.
    pub fn pad(&mut self, a: Value, axis: usize, before: usize, after: usize) -> Value {
        self.node(
            Op::Pad {
                axis,
                before,
                after,
            },
            &[a],
        )
    }

    /// The values one after another along `axis`. At least one is needed.
    pub fn concat(&mut self, values: &[Value], axis: usize) -> Value {
        self.node(Op::Concat(axis), values)
    }

    /// The entries `indices` along `axis`, in that order, repeats allowed.
    pub fn gather(&mut self, a: Value, axis: usize, indices: &[usize]) -> Value {
        self.node(
            Op::Gather {
                axis,
                indices: Arc::from(indices),
            },
            &[a],
        )
    }

    /// Ends building: the program with all declared inputs and the given outputs, without what these do not need.
    ///
    /// # Panics
    /// If two outputs share a name.
    pub fn finish(&self, outputs: &[(&str, Value)]) -> Function {
        for (i, (name, _)) in outputs.iter().enumerate() {
            assert!(
                outputs[..i].iter().all(|(n, _)| n != name),
                "two outputs named '{name}'"
            );
        }
        Function::extract(&self.nodes, &self.inputs, outputs)
    }

    fn reduce(&mut self, kind: Reduce, a: Value, axes: &[usize], keep: bool) -> Value {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        self.node(Op::Reduce { kind, axes, keep }, &[a])
    }

    /// The one way into the graph for every operator but inputs and constants.
    pub(crate) fn node(&mut self, op: Op, inputs: &[Value]) -> Value {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&v| self.shape(v)).collect();
        let Some(shape) = op.infer(&shapes) else {
            panic!("{op:?} does not fit operands of shapes {shapes:?}");
        };
        if let Some(value) = self.fold(&op, inputs, &shape) {
            return value;
        }
        if let Some(value) = simplify(self, &op, inputs, &shape) {
            debug_assert_eq!(self.shape(value), shape, "{op:?}");
            return value;
        }
        self.intern(Node {
            op,
            inputs: inputs.to_vec(),
            shape,
        })
    }

    /// The node behind a value.
    pub(crate) fn get(&self, v: Value) -> &Node {
        &self.nodes[v.index()]
    }

    /// All nodes so far, in order of evaluation.
    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The elements of a constant, if `v` is one (broadcast ones are not spelt out).
    pub(crate) fn data(&self, v: Value) -> Option<&[f64]> {
        match &self.get(v).op {
            Op::Constant(data) => Some(&data.0),
            _ => None,
        }
    }

    /// The number that fills a constant, if `v` is one number everywhere.
    pub(crate) fn uniform(&self, v: Value) -> Option<f64> {
        match &self.get(v).op {
            Op::Constant(data) if data.0.len() == 1 => Some(data.0[0]),
            Op::Expand(_) => self
                .data(self.get(v).inputs[0])
                .filter(|d| d.len() == 1)
                .map(|d| d[0]),
            _ => None,
        }
    }

    /// The elements of a constant, broadcast ones spelt out; `None` if `v` is not constant, or too large.
    pub(crate) fn elements(&self, v: Value) -> Option<Cow<'_, [f64]>> {
        let count = numel(self.shape(v));
        match (self.data(v), self.uniform(v)) {
            (Some(data), _) => Some(Cow::Borrowed(data)),
            (_, Some(x)) if count <= FOLD_LIMIT => Some(Cow::Owned(vec![x; count])),
            _ => None,
        }
    }

    /// Applies an operator to constants right away. Broadcasting is kept symbolic: it only makes them larger.
    fn fold(&mut self, op: &Op, inputs: &[Value], shape: &[usize]) -> Option<Value> {
        if matches!(op, Op::Expand(_)) || inputs.is_empty() {
            return None;
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|&v| self.shape(v)).collect();
        if numel(shape) > FOLD_LIMIT || op.flops(&shapes, shape) > 64 * FOLD_LIMIT as u64 {
            return None;
        }
        let data: Option<Vec<Cow<'_, [f64]>>> = inputs.iter().map(|&v| self.elements(v)).collect();
        let data = data?;
        let operands: Vec<eval::Operand<'_>> =
            shapes.into_iter().zip(data.iter().map(|d| &**d)).collect();
        let result = eval::apply(op, &operands, shape);
        Some(self.constant(shape, &result))
    }

    fn intern(&mut self, node: Node) -> Value {
        if let Some(&value) = self.interned.get(&node) {
            return value;
        }
        let value = Value(u32::try_from(self.nodes.len()).expect("fewer than 2^32 nodes"));
        self.interned.insert(node.clone(), value);
        self.nodes.push(node);
        value
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])* $name:ident: $op:ident;)*) => {
        /// Elementwise functions of one operand.
        impl Graph {
            $($(#[$doc])*
            pub fn $name(&mut self, a: Value) -> Value {
                self.node(Op::Unary(Unary::$op), &[a])
            })*
        }
    };
}

unary_methods! {
    /// `-a`.
    neg: Neg;
    /// Exponential.
    exp: Exp;
    /// Natural logarithm.
    log: Log;
    /// Square root.
    sqrt: Sqrt;
    /// Hyperbolic tangent.
    tanh: Tanh;
    /// `1 / (1 + exp(-a))`.
    sigmoid: Sigmoid;
    /// `log(1 + exp(a))`, without overflow.
    softplus: Softplus;
    /// `max(a, 0)`, with gradient 0 at 0.
    relu: Relu;
    /// Sine of radians.
    sin: Sin;
    /// Cosine of radians.
    cos: Cos;
    /// Absolute value, with gradient 0 at 0.
    abs: Abs;
    /// -1, 0 or 1; its gradient is 0.
    sign: Sign;
    /// Gauss error function.
    erf: Erf;
    /// Arc tangent, in radians.
    atan: Atan;
    /// Largest integer not above; its gradient is 0.
    floor: Floor;
    /// Nearest integer, ties to even; its gradient is 0.
    round: Round;
}
