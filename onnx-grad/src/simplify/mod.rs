//! Peephole rules, applied to each operator as it is built. A rule returns the value that stands for the operator, or nothing.
//!
//! Three canonical forms carry most of the work: a constant that is one number everywhere is an `Expand` of a scalar;
//! elementwise operators read through `Expand`; and constant factors travel outwards, through products, sums and data
//! movement, until one factor is left at the end, where the exporter hides it in a Gemm.

mod elementwise;
mod movement;
mod products;

use crate::graph::Graph;
use crate::ir::{Binary, Op, Unary, Value};
use elementwise::{elementwise, read_through_expand};
use movement::{concat, movement};
use products::{matmul, reduce};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval;
    use crate::ir::Reduce;
    use crate::shape::numel;

    /// A seeded generator (SplitMix64).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((z ^ (z >> 31)) % n as u64) as usize
        }

        fn number(&mut self) -> f64 {
            [0.0, 1.0, -1.0, 2.0, 0.5, -3.0][self.below(6)]
        }

        /// Any operator with any operands; most do not fit each other.
        fn op(&mut self, shape: &[usize]) -> Op {
            let axis = self.below(shape.len().max(1));
            let size = shape.get(axis).copied().unwrap_or(1);
            let kind = [Reduce::Sum, Reduce::Max][self.below(2)];
            let unary = [Unary::Neg, Unary::Relu, Unary::Tanh, Unary::Abs][self.below(4)];
            let binary = [
                Binary::Add,
                Binary::Sub,
                Binary::Mul,
                Binary::Div,
                Binary::Max,
                Binary::Min,
                Binary::Greater,
            ];
            match self.below(14) {
                0 => Op::Unary(unary),
                1..=4 => Op::Binary(binary[self.below(7)]),
                5 => Op::Select,
                6 => Op::MatMul {
                    ta: self.below(2) == 0,
                    tb: self.below(2) == 0,
                },
                7 => Op::Reduce {
                    kind,
                    axes: vec![axis],
                    keep: self.below(2) == 0,
                },
                8 => {
                    let mut reversed = shape.to_vec();
                    reversed.reverse();
                    Op::Reshape(reversed)
                }
                9 => Op::Expand([&[2], shape].concat()),
                10 => Op::Transpose((0..shape.len()).rev().collect()),
                11 => {
                    let start = self.below(size.max(1));
                    Op::Slice {
                        axis,
                        start,
                        len: self.below(size - start + 1),
                    }
                }
                12 => Op::Pad {
                    axis,
                    before: self.below(3),
                    after: self.below(2),
                },
                _ => match self.below(2) {
                    0 => Op::Concat(axis),
                    _ => Op::Gather {
                        axis,
                        indices: (0..3).map(|_| self.below(size.max(1))).collect(),
                    },
                },
            }
        }
    }

    /// Builds random programs and keeps beside each value what its operator gives without any rule.
    #[test]
    fn every_rule_keeps_the_value() {
        for seed in 0..2000 {
            let mut random = Random(seed);
            let mut g = Graph::new();
            let mut inputs: Vec<Vec<f64>> = vec![];
            let mut values: Vec<(Value, Vec<f64>)> = vec![];
            for (i, shape) in [vec![2, 3], vec![3], vec![2, 1], vec![3, 2]]
                .iter()
                .enumerate()
            {
                let data: Vec<f64> = (0..numel(shape))
                    .map(|i| random.number() + 0.1 * (i + 1) as f64)
                    .collect();
                values.push((g.input(&format!("x{i}"), shape), data.clone()));
                inputs.push(data);
                let number = random.number();
                values.push((g.scalar(number), vec![number]));
                values.push((g.full(shape, number), vec![number; numel(shape)]));
            }
            for _ in 0..60 {
                let picks: Vec<usize> = (0..3).map(|_| random.below(values.len())).collect();
                let op = random.op(g.shape(values[picks[0]].0));
                let count = match op {
                    Op::Binary(_) | Op::MatMul { .. } | Op::Concat(_) => 2,
                    Op::Select => 3,
                    _ => 1,
                };
                let operands: Vec<Value> = picks[..count].iter().map(|&i| values[i].0).collect();
                let shapes: Vec<Vec<usize>> =
                    operands.iter().map(|&v| g.shape(v).to_vec()).collect();
                let slices: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
                let Some(shape) = op
                    .infer(&slices)
                    .filter(|shape| numel(shape) <= 64 && numel(shape) > 0)
                else {
                    continue;
                };
                let data: Vec<eval::Operand<'_>> = slices
                    .iter()
                    .zip(&picks)
                    .map(|(s, &i)| (*s, values[i].1.as_slice()))
                    .collect();
                let expected = eval::apply(&op, &data, &shape);
                if expected.iter().all(|x| x.is_finite() && x.abs() < 1e6) {
                    let value = g.node(op, &operands);
                    assert_eq!(g.shape(value), shape);
                    values.push((value, expected));
                }
            }
            let names: Vec<String> = (0..values.len()).map(|i| i.to_string()).collect();
            let outputs: Vec<(&str, Value)> = names
                .iter()
                .map(String::as_str)
                .zip(values.iter().map(|v| v.0))
                .collect();
            let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
            let found = g.finish(&outputs).evaluate(&slices);
            for (found, (value, expected)) in found.iter().zip(&values) {
                let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * (1.0 + b.abs());
                let op = &g.get(*value).op;
                assert!(
                    found.iter().zip(expected).all(close),
                    "seed {seed}, {op:?}: {found:?} {expected:?}"
                );
            }
        }
    }

    #[test]
    fn the_gradients_of_a_split_come_together_as_one_concatenation() {
        let mut g = Graph::new();
        let x = g.input("x", &[2, 5]);
        let (a, b, c) = (
            g.slice(x, 1, 0, 2),
            g.slice(x, 1, 2, 1),
            g.slice(x, 1, 3, 2),
        );
        let doubled = g.scale(b, 2.0);
        let (a, b, c) = (
            g.pad(a, 1, 0, 3),
            g.pad(doubled, 1, 2, 2),
            g.pad(c, 1, 3, 0),
        );
        let sum = g.add(c, a);
        let sum = g.add(sum, b);
        let f = g.finish(&[("y", sum)]);
        let data: Vec<f64> = (0..10).map(f64::from).collect();
        assert_eq!(
            f.evaluate(&[&data])[0],
            [0.0, 1.0, 4.0, 3.0, 4.0, 5.0, 6.0, 14.0, 8.0, 9.0]
        );
        let mut h = Graph::new();
        let x = h.input("x", &[2, 5]);
        let (a, b) = (h.slice(x, 1, 0, 2), h.slice(x, 1, 2, 3));
        let (a, b) = (h.pad(a, 1, 0, 3), h.pad(b, 1, 2, 0));
        assert_eq!(h.add(b, a), x);
    }
}
