//! Composition: a finished function is built again inside of another graph, once ([`Graph::inline`]) or over a leading axis
//! ([`Graph::vmap`]).

use crate::function::Function;
use crate::graph::Graph;
use crate::ir::{Node, Op, Value};

/// An argument of [`Graph::vmap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// One entry a replica along the leading axis.
    Batched(Value),
    /// The same tensor for every replica. What depends on shared arguments only is computed once, and a product of a
    /// batched with a shared matrix is one large product.
    Shared(Value),
}

pub use Argument::{Batched, Shared};

impl Graph {
    /// Builds `f` into this graph with the given arguments, and returns its outputs.
    ///
    /// # Panics
    /// If the number or the shapes of `arguments` differ from the function's inputs.
    pub fn inline(&mut self, f: &Function, arguments: &[Value]) -> Vec<Value> {
        let arguments: Vec<Argument> = arguments.iter().map(|&v| Shared(v)).collect();
        self.vmap(f, &arguments)
    }

    /// Builds as many replicas of `f` as the batched arguments' leading axis is long. Outputs that depend on a batched
    /// argument have that axis in front; the others are as in `f`.
    ///
    /// # Panics
    /// If the number or the shapes of `arguments` differ from the function's inputs, or if leading axes disagree.
    pub fn vmap(&mut self, f: &Function, arguments: &[Argument]) -> Vec<Value> {
        assert_eq!(arguments.len(), f.inputs().len(), "one argument an input");
        let mut replicas = None;
        for (port, argument) in f.inputs().iter().zip(arguments) {
            let shape = match argument {
                Shared(v) => self.shape(*v),
                Batched(v) => {
                    let (first, rest) = self
                        .shape(*v)
                        .split_first()
                        .expect("a batched argument has a leading axis");
                    assert_eq!(
                        *replicas.get_or_insert(*first),
                        *first,
                        "leading axis of '{}'",
                        port.name
                    );
                    rest
                }
            };
            assert_eq!(shape, port.shape, "shape of argument '{}'", port.name);
        }
        let mut built: Vec<Argument> = Vec::with_capacity(f.nodes.len());
        for node in &f.nodes {
            let operands: Vec<Argument> = node.inputs.iter().map(|v| built[v.index()]).collect();
            let value = match (&node.op, replicas) {
                (Op::Input(i), _) => arguments[*i],
                (Op::Constant(data), _) => Shared(self.constant(&node.shape, &data.0)),
                (_, Some(replicas)) if operands.iter().any(|a| matches!(a, Batched(_))) => {
                    Batched(self.batched_node(node, &operands, replicas))
                }
                (op, _) => {
                    let operands: Vec<Value> = operands.iter().map(|a| a.value()).collect();
                    Shared(self.node(op.clone(), &operands))
                }
            };
            built.push(value);
        }
        f.results.iter().map(|v| built[v.index()].value()).collect()
    }

    /// One operator with the replica axis in front of at least one operand.
    fn batched_node(&mut self, node: &Node, operands: &[Argument], replicas: usize) -> Value {
        let rank = node.shape.len();
        let behind = |axes: &[usize]| axes.iter().map(|axis| axis + 1).collect::<Vec<_>>();
        let lead = |shape: &[usize]| {
            let mut led = vec![replicas];
            led.extend_from_slice(shape);
            led
        };
        let op = match &node.op {
            Op::Input(_) | Op::Constant(_) => unreachable!("has no operands"),
            Op::Unary(_) | Op::Binary(_) | Op::Select | Op::MatMul { .. } => {
                let aligned: Vec<Value> = operands.iter().map(|&a| self.align(a, rank)).collect();
                return self.node(node.op.clone(), &aligned);
            }
            Op::Concat(axis) => {
                let shapes: Vec<Vec<usize>> = operands
                    .iter()
                    .map(|&a| match a {
                        Batched(v) => self.shape(v).to_vec(),
                        Shared(v) => lead(self.shape(v)),
                    })
                    .collect();
                let parts: Vec<Value> = operands
                    .iter()
                    .zip(&shapes)
                    .map(|(a, shape)| self.expand(a.value(), shape))
                    .collect();
                return self.concat(&parts, axis + 1);
            }
            Op::SpdInverse => Op::SpdInverse,
            Op::Reduce { kind, axes, keep } => Op::Reduce {
                kind: *kind,
                axes: behind(axes),
                keep: *keep,
            },
            Op::Reshape(shape) => Op::Reshape(lead(shape)),
            Op::Expand(shape) => {
                let aligned = self.align(operands[0], rank);
                return self.expand(aligned, &lead(shape));
            }
            Op::Transpose(perm) => {
                let mut led = vec![0];
                led.extend(behind(perm));
                Op::Transpose(led)
            }
            Op::Slice { axis, start, len } => Op::Slice {
                axis: axis + 1,
                start: *start,
                len: *len,
            },
            Op::Pad {
                axis,
                before,
                after,
            } => Op::Pad {
                axis: axis + 1,
                before: *before,
                after: *after,
            },
            Op::Gather { axis, indices } => Op::Gather {
                axis: axis + 1,
                indices: indices.clone(),
            },
        };
        self.node(op, &[operands[0].value()])
    }

    /// Puts size-1 axes behind a batched operand's replica axis until its own rank is `rank`, so that broadcasting, which
    /// aligns shapes at the end, keeps replica axes over each other.
    fn align(&mut self, argument: Argument, rank: usize) -> Value {
        let Batched(v) = argument else {
            return argument.value();
        };
        let (first, rest) = self
            .shape(v)
            .split_first()
            .expect("a batched operand has a leading axis");
        let mut shape = vec![*first];
        shape.resize(1 + rank - rest.len(), 1);
        shape.extend_from_slice(rest);
        self.reshape(v, &shape)
    }
}

impl Argument {
    fn value(self) -> Value {
        match self {
            Batched(v) | Shared(v) => v,
        }
    }
}
