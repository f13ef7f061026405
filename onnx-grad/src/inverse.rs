//! The inverse of small symmetric positive definite matrices: what a closed-form ridge regression on the last layer needs.
//!
//! One operator with one rule (`d(A^-1) = -A^-1 dA A^-1`), so that differentiating it costs products only. It is written to ONNX
//! as sweeps (Goodnight, "A tutorial on the SWEEP operator", 1979), one for each row.

use crate::function::Function;
use crate::graph::Graph;
use crate::ir::{Op, Value};

impl Graph {
    /// The inverse over the last two axes of symmetric positive definite matrices `[…, n, n]`; the axes before are a batch.
    /// Meant for small `n`: the ONNX form has about six operators a row. Asymmetric or indefinite matrices give numbers
    /// without meaning.
    pub fn spd_inverse(&mut self, a: Value) -> Value {
        self.node(Op::SpdInverse, &[a])
    }

    /// `x` with `a x = b`, for symmetric positive definite `a [… , n, n]` and `b [… , n, k]`.
    ///
    /// ```
    /// let mut g = onnx_grad::Graph::new();
    /// let (a, b) = (g.input("a", &[2, 2]), g.input("b", &[2, 1]));
    /// let x = g.spd_solve(a, b);
    /// let f = g.finish(&[("x", x)]);
    /// assert_eq!(f.evaluate(&[&[2.0, 0.0, 0.0, 4.0], &[1.0, 1.0]]), [[0.5, 0.25]]);
    /// ```
    pub fn spd_solve(&mut self, a: Value, b: Value) -> Value {
        let inverse = self.spd_inverse(a);
        self.mm(inverse, b, false, false)
    }

    /// The inverse by simpler operators. A sweep of row `k` with column `c` and pivot `p` takes `c c^T / p` off the matrix and
    /// then puts `c / p` in row and column `k`, and `-1 / p` in the corner; after all rows the matrix is the negative inverse.
    /// With 2 taken off the diagonal beforehand and 1 added to `c` at `k`, the rank-1 update alone does all of that.
    fn sweep(&mut self, a: Value) -> Value {
        let shape = self.shape(a).to_vec();
        let rank = shape.len();
        let n = shape[rank - 1];
        let identity: Vec<f64> = (0..n * n)
            .map(|i| f64::from(u8::from(i % (n + 1) == 0)))
            .collect();
        let identity = self.constant(&[n, n], &identity);
        let two = self.scalar(2.0);
        let offset = self.scale(identity, 2.0);
        let mut swept = self.sub(a, offset);
        for k in 0..n {
            let column = self.slice(swept, rank - 1, k, 1);
            let corner = self.slice(column, rank - 2, k, 1);
            let pivot = self.add(corner, two);
            let unit = self.slice(identity, 1, k, 1);
            let raised = self.add(column, unit);
            let scaled = self.div(raised, pivot);
            let update = self.mm(raised, scaled, false, true);
            swept = self.sub(swept, update);
        }
        self.neg(swept)
    }
}

impl Function {
    /// The same function with every inverse spelt out.
    pub(crate) fn with_inverses_swept(&self) -> Function {
        self.rebuild(|g, node, inputs, _| match node.op {
            Op::SpdInverse => g.sweep(inputs[0]),
            _ => g.node(node.op.clone(), inputs),
        })
    }
}
