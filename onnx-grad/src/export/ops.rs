//! The ONNX form of each operator.

use super::gemm::Product;
use super::{MICROSOFT, Writer, float, int, ints};
use crate::ir::{Binary, Op, Reduce, Unary, Value};
use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, TensorProto};

impl Writer<'_> {
    /// One value by its own operator.
    pub(super) fn write_value(&mut self, v: Value) {
        let f = self.f;
        let node = &f.nodes[v.index()];
        match (&node.op, &node.inputs[..]) {
            (Op::Input(_) | Op::Constant(_), _) => {}
            (Op::Unary(Unary::Softplus), &[x]) => self.write_softplus(x, v),
            (Op::Binary(Binary::Greater), &[a, b]) => self.write_comparison(a, b, v),
            (Op::Binary(Binary::Div), &[one, x]) if self.is_one(one) => {
                let (input, output) = (self.name(x), self.name(v));
                self.push("Reciprocal", vec![input], output, vec![]);
            }
            (Op::Select, &[mask, a, b]) => {
                let inputs = vec![self.mask(mask), self.name(a), self.name(b)];
                let output = self.name(v);
                self.push("Where", inputs, output, vec![]);
            }
            (Op::MatMul { ta, tb }, &[a, b]) => {
                self.write_product(v, &Product::plain(a, b, *ta, *tb))
            }
            (op, operands) => {
                let mut inputs = operands.iter().map(|&input| self.name(input)).collect();
                let (op, attributes) = self.form(op, node.shape.len(), &mut inputs);
                let output = self.name(v);
                self.push(op, inputs, output, attributes);
            }
        }
    }

    /// The ONNX operator that an operator with a result of `rank` axes is, and its attributes; settings that ONNX takes as
    /// operands are appended to them.
    ///
    /// # Panics
    /// For operators with a form of their own in [`Writer::write_value`].
    fn form(
        &mut self,
        op: &Op,
        rank: usize,
        inputs: &mut Vec<String>,
    ) -> (&'static str, Vec<AttributeProto>) {
        match op {
            Op::Unary(f) => (unary(*f), vec![]),
            Op::Binary(f) => (binary(*f), vec![]),
            Op::Reduce {
                kind: Reduce::Sum,
                axes,
                keep,
            } => {
                inputs.push(self.integers(axes));
                ("ReduceSum", vec![int("keepdims", i64::from(*keep))])
            }
            Op::Reduce {
                kind: Reduce::Max,
                axes,
                keep,
            } => {
                let mut attributes = vec![int("keepdims", i64::from(*keep))];
                // The axes became an operand with opset 18.
                if self.opset < 18 {
                    attributes.push(ints("axes", axes));
                } else {
                    inputs.push(self.integers(axes));
                }
                ("ReduceMax", attributes)
            }
            Op::Reshape(shape) => {
                inputs.push(self.integers(shape));
                // Otherwise a 0 would mean "as in the operand".
                let empty = shape.contains(&0) && self.opset >= 14;
                (
                    "Reshape",
                    if empty {
                        vec![int("allowzero", 1)]
                    } else {
                        vec![]
                    },
                )
            }
            Op::Expand(shape) => {
                inputs.push(self.integers(shape));
                ("Expand", vec![])
            }
            Op::Transpose(perm) => ("Transpose", vec![ints("perm", perm)]),
            Op::Slice { axis, start, len } => {
                for list in [[*start], [start + len], [*axis]] {
                    inputs.push(self.integers(&list));
                }
                ("Slice", vec![])
            }
            Op::Pad {
                axis,
                before,
                after,
            } => {
                let mut amounts = vec![0; 2 * rank];
                amounts[*axis] = *before;
                amounts[rank + *axis] = *after;
                inputs.push(self.integers(&amounts));
                ("Pad", vec![])
            }
            Op::Concat(axis) => ("Concat", vec![int("axis", *axis as i64)]),
            Op::Gather { axis, indices } => {
                inputs.push(self.integers(indices));
                ("Gather", vec![int("axis", *axis as i64)])
            }
            Op::Input(_) | Op::Constant(_) | Op::Select | Op::MatMul { .. } | Op::SpdInverse => {
                unreachable!("{op:?} has a form of its own, or is spelt out before")
            }
        }
    }

    /// `max(x, 0) + log(1 + exp(-|x|))`: ONNX Runtime's own Softplus is about 30 times slower than a Tanh.
    fn write_softplus(&mut self, x: Value, v: Value) {
        let (x, output) = (self.name(x), self.name(v));
        let one = self.number(1.0);
        let names: [String; 6] = std::array::from_fn(|i| format!("{}{}s{i}", self.prefix, v.0));
        let step = |i: usize| names[i].clone();
        self.push("Relu", vec![x.clone()], step(0), vec![]);
        self.push("Abs", vec![x.clone()], step(1), vec![]);
        self.push("Neg", vec![step(1)], step(2), vec![]);
        self.push("Exp", vec![step(2)], step(3), vec![]);
        self.push("Add", vec![step(3), one], step(4), vec![]);
        self.push("Log", vec![step(4)], step(5), vec![]);
        self.push("Add", vec![step(0), step(5)], output, vec![]);
    }

    /// A stored scalar that is no value of the function.
    fn number(&mut self, x: f32) -> String {
        let name = format!("{}f{x}", self.prefix);
        if self.initializers.iter().all(|t| t.name() != name) {
            self.initializers.push(TensorProto {
                name: Some(name.clone()),
                data_type: Some(DataType::Float as i32),
                raw_data: Some(x.to_le_bytes().to_vec()),
                ..Default::default()
            });
        }
        name
    }

    /// A mask is written as booleans, and as floats too where some reader needs those.
    fn write_comparison(&mut self, a: Value, b: Value, v: Value) {
        let inputs = vec![self.name(a), self.name(b)];
        let mask = self.mask_name(v);
        self.push("Greater", inputs, mask.clone(), vec![]);
        if self.read_as_float(v) {
            let float = self.name(v);
            self.push(
                "Cast",
                vec![mask.clone()],
                float,
                vec![int("to", DataType::Float as i64)],
            );
        }
        self.bools.insert(v, mask);
    }

    fn is_one(&self, v: Value) -> bool {
        matches!(&self.f.nodes[v.index()].op, Op::Constant(data) if *data.0 == [1.0])
    }

    /// A matrix product with what was fused into it.
    pub(super) fn write_product(&mut self, v: Value, product: &Product) {
        let Product {
            a,
            b,
            ta,
            tb,
            alpha,
            addend,
        } = *product;
        let output = self.name(v);
        let mut inputs = vec![self.name(a), self.name(b)];
        if alpha == 1.0 && addend.is_none() && !ta && !tb {
            return self.push("MatMul", inputs, output, vec![]);
        }
        let mut attributes = vec![];
        if alpha != 1.0 {
            attributes.push(float("alpha", alpha));
        }
        for (name, transposed) in [("transA", ta), ("transB", tb)] {
            if transposed {
                attributes.push(int(name, 1));
            }
        }
        if self.f.nodes[v.index()].shape.len() > 2 || self.rank(a) > 2 || self.rank(b) > 2 {
            self.push("FusedMatMul", inputs, output, attributes);
            self.uses_microsoft = true;
            if let Some(node) = self.nodes.last_mut() {
                node.domain = Some(MICROSOFT.to_owned());
            }
            return;
        }
        if let Some((c, beta)) = addend {
            inputs.push(self.name(c));
            if beta != 1.0 {
                attributes.push(float("beta", beta));
            }
        }
        self.push("Gemm", inputs, output, attributes);
    }

    fn rank(&self, v: Value) -> usize {
        self.f.nodes[v.index()].shape.len()
    }
}

fn unary(f: Unary) -> &'static str {
    match f {
        Unary::Neg => "Neg",
        Unary::Exp => "Exp",
        Unary::Log => "Log",
        Unary::Sqrt => "Sqrt",
        Unary::Tanh => "Tanh",
        Unary::Sigmoid => "Sigmoid",
        Unary::Softplus => "Softplus",
        Unary::Relu => "Relu",
        Unary::Sin => "Sin",
        Unary::Cos => "Cos",
        Unary::Abs => "Abs",
        Unary::Sign => "Sign",
        Unary::Erf => "Erf",
        Unary::Atan => "Atan",
        Unary::Floor => "Floor",
        Unary::Round => "Round",
    }
}

fn binary(f: Binary) -> &'static str {
    match f {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::Max => "Max",
        Binary::Min => "Min",
        Binary::Greater => "Greater",
    }
}
