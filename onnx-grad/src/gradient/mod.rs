//! Reverse-mode differentiation: vector-Jacobian products, built into the graph that they differentiate, out of the operators
//! that they differentiate. So a gradient can be differentiated again.

mod elementwise;
mod matmul;
mod movement;
mod reduce;

use crate::graph::Graph;
use crate::ir::{Node, Op, Value};
use crate::shape::numel;

impl Graph {
    /// The gradient of a scalar with respect to each value of `wrt`, in its shape; zeros where `of` does not depend on it.
    /// A value of `wrt` may be an intermediate one. For second order, differentiate what this returned.
    ///
    /// # Panics
    /// If `of` has not exactly one element.
    pub fn gradient(&mut self, of: Value, wrt: &[Value]) -> Vec<Value> {
        assert_eq!(numel(self.shape(of)), 1, "the gradient is that of a scalar");
        let depends = self.dependents(of, wrt);
        let mut adjoints: Vec<Option<Value>> = vec![None; of.index() + 1];
        let shape = self.shape(of).to_vec();
        adjoints[of.index()] = Some(self.full(&shape, 1.0));
        for i in (0..=of.index()).rev() {
            let (true, Some(d)) = (depends[i], adjoints[i]) else {
                continue;
            };
            let node = self.nodes()[i].clone();
            if !node.inputs.iter().any(|v| depends[v.index()]) {
                continue;
            }
            let contributions = pull_back(self, &node, Value(i as u32), d);
            for (input, contribution) in node.inputs.iter().zip(contributions) {
                let slot = input.index();
                if let (true, Some(contribution)) = (depends[slot], contribution) {
                    let sum = match adjoints[slot] {
                        Some(sum) => self.add(sum, contribution),
                        None => contribution,
                    };
                    adjoints[slot] = Some(sum);
                }
            }
        }
        wrt.iter()
            .map(|&v| match adjoints.get(v.index()).copied().flatten() {
                Some(adjoint) => adjoint,
                None => {
                    let shape = self.shape(v).to_vec();
                    self.full(&shape, 0.0)
                }
            })
            .collect()
    }

    /// Which values up to `of` are in `wrt` or computed from one that is.
    fn dependents(&self, of: Value, wrt: &[Value]) -> Vec<bool> {
        let mut depends = vec![false; of.index() + 1];
        for slot in wrt
            .iter()
            .map(|v| v.index())
            .filter(|&slot| slot <= of.index())
        {
            depends[slot] = true;
        }
        for (i, node) in self.nodes()[..=of.index()].iter().enumerate() {
            depends[i] |= node.inputs.iter().any(|v| depends[v.index()]);
        }
        depends
    }

    /// Sums a gradient over the axes along which an operand of shape `shape` was broadcast.
    fn unbroadcast(&mut self, d: Value, shape: &[usize]) -> Value {
        let from = self.shape(d);
        let lead = from.len() - shape.len();
        let repeated: Vec<usize> = (0..from.len())
            .filter(|&i| i < lead || (shape[i - lead] == 1 && from[i] != 1))
            .collect();
        let sum = self.reduce_sum(d, &repeated, true);
        self.reshape(sum, shape)
    }
}

/// The gradient with respect to each operand of `node`, given the gradient `d` with respect to its result `y`; `None` where
/// it is zero everywhere.
fn pull_back(g: &mut Graph, node: &Node, y: Value, d: Value) -> Vec<Option<Value>> {
    let x = &node.inputs;
    match &node.op {
        Op::Input(_) | Op::Constant(_) => vec![],
        Op::Unary(f) => vec![elementwise::unary(g, *f, x[0], y, d)],
        Op::Binary(f) => elementwise::binary(g, *f, x[0], x[1], y, d),
        Op::Select => elementwise::select(g, x[0], x[1], x[2], d),
        Op::MatMul { ta, tb } => matmul::matmul(g, x[0], x[1], *ta, *tb, d),
        Op::SpdInverse => vec![Some(matmul::inverse(g, y, d))],
        Op::Reduce { kind, axes, .. } => vec![Some(reduce::reduce(g, *kind, axes, x[0], y, d))],
        op => movement::movement(g, op, x, d)
            .into_iter()
            .map(Some)
            .collect(),
    }
}
