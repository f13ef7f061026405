//! A finished graph: named inputs and outputs, nothing dead in between.

use crate::eval;
use crate::graph::Graph;
use crate::ir::{Node, Op, Value};

/// Name and shape of an input or output of a [`Function`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name by which ONNX Runtime addresses the tensor.
    pub name: String,
    /// Sizes of its axes; empty for a scalar.
    pub shape: Vec<usize>,
}

/// An immutable tensor program with named inputs and outputs. Made by [`Graph::finish`](crate::Graph::finish) or
/// [`Model::function`](crate::Model::function); composed by [`Graph::inline`](crate::Graph::inline) and
/// [`Graph::vmap`](crate::Graph::vmap); written by [`Function::to_onnx`].
#[derive(Clone, Debug)]
pub struct Function {
    /// In order of evaluation.
    pub(crate) nodes: Vec<Node>,
    /// The node of each input, in the order of [`Function::inputs`].
    pub(crate) arguments: Vec<Value>,
    /// The node of each output, in the order of [`Function::outputs`].
    pub(crate) results: Vec<Value>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Function {
    /// Takes the nodes that `results` need, and all `arguments`, out of a larger graph.
    pub(crate) fn extract(
        nodes: &[Node],
        arguments: &[(String, Value)],
        results: &[(&str, Value)],
    ) -> Self {
        let mut live = vec![false; nodes.len()];
        for (_, value) in arguments {
            live[value.index()] = true;
        }
        for (_, value) in results {
            live[value.index()] = true;
        }
        for (i, node) in nodes.iter().enumerate().rev() {
            if live[i] {
                node.inputs.iter().for_each(|v| live[v.index()] = true);
            }
        }
        let mut renumbered = vec![Value(u32::MAX); nodes.len()];
        let mut kept = Vec::new();
        for (i, node) in nodes.iter().enumerate().filter(|&(i, _)| live[i]) {
            renumbered[i] = Value(kept.len() as u32);
            let inputs = node.inputs.iter().map(|v| renumbered[v.index()]).collect();
            kept.push(Node {
                inputs,
                ..node.clone()
            });
        }
        let port = |name: &str, value: Value| Port {
            name: name.to_owned(),
            shape: nodes[value.index()].shape.clone(),
        };
        Function {
            arguments: arguments
                .iter()
                .map(|(_, v)| renumbered[v.index()])
                .collect(),
            results: results.iter().map(|(_, v)| renumbered[v.index()]).collect(),
            inputs: arguments.iter().map(|(name, v)| port(name, *v)).collect(),
            outputs: results.iter().map(|(name, v)| port(name, *v)).collect(),
            nodes: kept,
        }
    }

    /// The inputs, in the order in which they were declared.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs, in the order in which they were given to [`Graph::finish`](crate::Graph::finish).
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Operators in the program: nodes that are neither inputs nor constants.
    pub fn node_count(&self) -> usize {
        let is_operator = |node: &&Node| !matches!(node.op, Op::Input(_) | Op::Constant(_));
        self.nodes.iter().filter(is_operator).count()
    }

    /// Floating-point operations of one run: 2 a multiply-add of a matrix product, 1 an elementwise result or reduced element.
    pub fn flops(&self) -> u64 {
        let operators = self.nodes.iter().filter(|node| !node.inputs.is_empty());
        operators
            .map(|node| {
                let inputs: Vec<_> = self.shapes(&node.inputs);
                node.op.flops(&inputs, &node.shape)
            })
            .sum()
    }

    /// Evaluates in float64, one row-major slice an input and one vector an output: the oracle for finite differences.
    /// It is exact rather than fast.
    ///
    /// # Panics
    /// If the number or the lengths of `inputs` differ from [`Function::inputs`].
    pub fn evaluate(&self, inputs: &[&[f64]]) -> Vec<Vec<f64>> {
        assert_eq!(inputs.len(), self.arguments.len(), "one slice an input");
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let value = match &node.op {
                Op::Input(i) => {
                    let expected = crate::shape::numel(&node.shape);
                    assert_eq!(
                        inputs[*i].len(),
                        expected,
                        "length of input '{}'",
                        self.inputs[*i].name
                    );
                    inputs[*i].to_vec()
                }
                op => {
                    let operands: Vec<eval::Operand<'_>> = node
                        .inputs
                        .iter()
                        .map(|v| {
                            (
                                self.nodes[v.index()].shape.as_slice(),
                                values[v.index()].as_slice(),
                            )
                        })
                        .collect();
                    eval::apply(op, &operands, &node.shape)
                }
            };
            values.push(value);
        }
        self.results
            .iter()
            .map(|v| values[v.index()].clone())
            .collect()
    }

    /// Builds the function anew, each operator by `build` from its node, its built operands, and all that is built so far.
    pub(crate) fn rebuild(
        &self,
        build: impl Fn(&mut Graph, &Node, &[Value], &[Value]) -> Value,
    ) -> Function {
        let mut g = Graph::new();
        let arguments: Vec<Value> = self
            .inputs
            .iter()
            .map(|port| g.input(&port.name, &port.shape))
            .collect();
        let mut built: Vec<Value> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let value = match &node.op {
                Op::Input(i) => arguments[*i],
                Op::Constant(data) => g.constant(&node.shape, &data.0),
                _ => {
                    let inputs: Vec<Value> = node.inputs.iter().map(|v| built[v.index()]).collect();
                    build(&mut g, node, &inputs, &built)
                }
            };
            built.push(value);
        }
        let results = self.outputs.iter().zip(&self.results);
        let results: Vec<_> = results
            .map(|(port, v)| (port.name.as_str(), built[v.index()]))
            .collect();
        g.finish(&results)
    }

    /// The shapes of some values.
    pub(crate) fn shapes(&self, values: &[Value]) -> Vec<&[usize]> {
        values
            .iter()
            .map(|v| self.nodes[v.index()].shape.as_slice())
            .collect()
    }
}
