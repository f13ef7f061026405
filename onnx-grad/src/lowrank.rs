//! The low-rank form of gradient steps. The gradient of a layer's weights over `m` rows is a product `P Q` of rank `m`, so
//! that `x (W - P Q) = x W - (x P) Q`: the adapted weights need not exist. Where few rows are asked of them this is far
//! cheaper, and once it is batched over tasks, `x W` is one large product with weights that all tasks share.

use crate::function::Function;
use crate::graph::Graph;
use crate::ir::{Binary, Op, Unary, Value};
use crate::shape::numel;

/// `base ± step`, where the step is a matrix product times factors that keep its rank.
struct Update {
    base: Value,
    subtracts: bool,
    /// The product's operands and transpositions.
    operands: [Value; 2],
    transposed: [bool; 2],
    /// The length of the axis that the product sums over.
    rank: usize,
    /// Scalars, rows `[n]` or `[1, n]` and columns `[k, 1]`.
    factors: Vec<Value>,
}

impl Function {
    /// The same function with products by updated weights `x (W ± P Q)` written as `x W ± (x P) Q`, wherever an estimate says
    /// that this takes fewer floating-point operations. Learned step sizes may scale `P Q` by a number, by rows or by columns.
    /// Weights that are an output, or read by anything but products, are left alone.
    ///
    /// Meant for a task of meta-training (adapt on few rows, evaluate on few rows), before [`Graph::vmap`] and
    /// [`Graph::gradient`]; in a control loop the rollout asks many rows of the adapted weights, and nothing changes.
    ///
    /// ```
    /// let mut g = onnx_grad::Graph::new();
    /// let (past, d, future) = (g.input("past", &[4, 64]), g.input("d", &[4, 64]), g.input("future", &[4, 64]));
    /// let w = g.input("w", &[64, 64]);
    /// let step = g.mm(past, d, true, false);
    /// let adapted = g.sub(w, step);
    /// let y = g.mm(future, adapted, false, false);
    /// let f = g.finish(&[("y", y)]);
    /// assert!(f.factor_updates().flops() < f.flops());
    /// ```
    pub fn factor_updates(&self) -> Function {
        let factored = self.worth_factoring();
        self.rebuild(|g, node, inputs, built| match node.op {
            Op::MatMul { ta, tb } if factored[node.inputs[1].index()].is_some() => {
                times_updated(g, inputs[0], ta, node.inputs[1], tb, &factored, built)
            }
            _ => g.node(node.op.clone(), inputs),
        })
    }

    /// The updates to factor. An update's readers come behind it, so that they are decided before it.
    fn worth_factoring(&self) -> Vec<Option<Update>> {
        let mut chosen: Vec<Option<Update>> = self.nodes.iter().map(|_| None).collect();
        // How many rows are multiplied with each value; `None` where it must exist anyway.
        let mut rows: Vec<Option<usize>> = vec![Some(0); self.nodes.len()];
        for v in &self.results {
            rows[v.index()] = None;
        }
        for i in (0..self.nodes.len()).rev() {
            let node = &self.nodes[i];
            if let (Some(update), Some(rows)) = (self.update(Value(i as u32)), rows[i]) {
                let [k, n] = [node.shape[0] as u64, node.shape[1] as u64];
                let (rank, rows) = (update.rank as u64, rows as u64);
                if rows > 0 && rows * rank * (k + n) < rank * k * n + k * n {
                    chosen[i] = Some(update);
                }
            }
            for (position, input) in node.inputs.iter().enumerate() {
                let read = match (&node.op, &chosen[i]) {
                    (Op::MatMul { ta: false, .. }, _)
                        if position == 1 && node.inputs[0] != *input =>
                    {
                        let columns = node.shape[node.shape.len() - 1].max(1);
                        Some(numel(&node.shape) / columns)
                    }
                    (_, Some(update)) if *input == update.base => rows[i],
                    _ => None,
                };
                let slot = &mut rows[input.index()];
                *slot = slot.zip(read).map(|(sum, read)| sum + read);
            }
        }
        chosen
    }

    /// Reads `v` as a matrix plus or minus a low-rank step.
    fn update(&self, v: Value) -> Option<Update> {
        let node = &self.nodes[v.index()];
        let (op, [a, b]) = match (&node.op, &node.inputs[..]) {
            (Op::Binary(op @ (Binary::Sub | Binary::Add)), &[a, b]) => (*op, [a, b]),
            _ => return None,
        };
        self.step(v, a, b, op == Binary::Sub)
            .or_else(|| self.step(v, b, a, false).filter(|_| op == Binary::Add))
    }

    fn step(&self, v: Value, base: Value, step: Value, mut subtracts: bool) -> Option<Update> {
        let shape_of = |v: Value| self.nodes[v.index()].shape.as_slice();
        let shape = shape_of(v);
        if shape.len() != 2 || shape_of(base) != shape || shape_of(step) != shape || base == step {
            return None;
        }
        let mut factors = vec![];
        let mut at = step;
        loop {
            let node = &self.nodes[at.index()];
            match node.op {
                Op::Unary(Unary::Neg) => subtracts = !subtracts,
                Op::Binary(Binary::Mul) => {
                    let keeps_rank = |factor: &[usize]| {
                        numel(factor) == 1 || factor.len() == 1 || factor.contains(&1)
                    };
                    let [a, b] = [node.inputs[0], node.inputs[1]];
                    let (inner, factor) = if keeps_rank(shape_of(b)) {
                        (a, b)
                    } else {
                        (b, a)
                    };
                    if !keeps_rank(shape_of(factor)) || shape_of(inner) != shape {
                        return None;
                    }
                    factors.push(factor);
                    at = inner;
                    continue;
                }
                Op::MatMul { ta, tb } => {
                    let operands = [node.inputs[0], node.inputs[1]];
                    let inner = shape_of(operands[0])[if ta { 0 } else { 1 }];
                    return Some(Update {
                        base,
                        subtracts,
                        operands,
                        transposed: [ta, tb],
                        rank: inner,
                        factors,
                    });
                }
                _ => return None,
            }
            at = node.inputs[0];
        }
    }
}

/// `op(x) op(v)`, where `v` is a value of the old function, without building `v` if it is a factored update.
fn times_updated(
    g: &mut Graph,
    x: Value,
    ta: bool,
    v: Value,
    tb: bool,
    factored: &[Option<Update>],
    built: &[Value],
) -> Value {
    let Some(update) = &factored[v.index()] else {
        return g.mm(x, built[v.index()], ta, tb);
    };
    let direct = times_updated(g, x, ta, update.base, tb, factored, built);
    let [p, q] = update.operands.map(|v| built[v.index()]);
    let [tp, tq] = update.transposed;
    // Factors along the axis that is summed over scale what goes in, the others what comes out.
    let (mut before, mut after) = (vec![], vec![]);
    for &factor in &update.factors {
        let factor = built[factor.index()];
        let shape = g.shape(factor).to_vec();
        let row = shape.len() < 2 || shape[0] == 1;
        let flat = g.reshape(factor, &[numel(&shape)]);
        match row == tb && numel(&shape) > 1 {
            true => before.push(flat),
            false => after.push(flat),
        }
    }
    let scaled = before.into_iter().fold(x, |x, factor| g.mul(x, factor));
    let delta = if tb {
        let inner = g.mm(scaled, q, ta, !tq);
        g.mm(inner, p, false, !tp)
    } else {
        let inner = g.mm(scaled, p, ta, tp);
        g.mm(inner, q, false, tq)
    };
    let delta = after
        .into_iter()
        .fold(delta, |delta, factor| g.mul(delta, factor));
    if update.subtracts {
        g.sub(direct, delta)
    } else {
        g.add(direct, delta)
    }
}
