//! Every operator: read from ONNX and run on ONNX Runtime it gives what our evaluator gives; its first and second order
//! gradients agree with central differences in float64, and their ONNX form, run on ONNX Runtime, with the evaluator.

mod support;

use onnx_grad::proto::{AttributeProto, TensorProto};
use onnx_grad::{Function, Model};
use support::*;

/// A model of one node.
#[derive(Default)]
struct Case {
    op: &'static str,
    label: String,
    opset: i64,
    /// Shape and range of each float input.
    inputs: Vec<(Vec<usize>, f64, f64)>,
    constants: Vec<TensorProto>,
    operands: Vec<String>,
    attributes: Vec<AttributeProto>,
    outputs: usize,
    /// Further results, which are no outputs of the model.
    unused: usize,
}

fn case(op: &'static str) -> Case {
    Case {
        op,
        label: op.to_owned(),
        opset: 18,
        outputs: 1,
        ..Default::default()
    }
}

impl Case {
    fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }
    fn input(self, shape: &[usize]) -> Self {
        self.input_in(shape, -2.0, 2.0)
    }
    fn input_in(mut self, shape: &[usize], low: f64, high: f64) -> Self {
        self.operands.push(format!("x{}", self.inputs.len()));
        self.label += &format!(" {shape:?}");
        self.inputs.push((shape.to_vec(), low, high));
        self
    }
    fn skip(mut self) -> Self {
        self.operands.push(String::new());
        self
    }
    fn constant(mut self, tensor: TensorProto) -> Self {
        self.operands.push(tensor.name().to_owned());
        self.constants.push(tensor);
        self
    }
    fn integers(self, list: &[i64]) -> Self {
        let name = format!("c{}", self.constants.len());
        self.constant(integers(&name, &[list.len()], list))
    }
    fn number(self, x: f64) -> Self {
        let name = format!("c{}", self.constants.len());
        self.constant(floats(&name, &[], &[x]))
    }
    fn int(mut self, name: &str, i: i64) -> Self {
        self.label += &format!(" {name}={i}");
        self.attributes.push(attribute_int(name, i));
        self
    }
    fn float(mut self, name: &str, x: f32) -> Self {
        self.attributes.push(attribute_float(name, x));
        self
    }
    fn ints(mut self, name: &str, list: &[i64]) -> Self {
        self.attributes.push(attribute_ints(name, list));
        self
    }
    fn string(mut self, name: &str, s: &str) -> Self {
        self.attributes.push(attribute_string(name, s));
        self
    }
    fn unused(mut self, count: usize) -> Self {
        self.unused = count;
        self
    }
    fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    /// The model; the shapes of the outputs are known once it has been read.
    fn model(&self, output_shapes: &[Vec<usize>]) -> Vec<u8> {
        let names: Vec<String> = (0..self.inputs.len()).map(|i| format!("x{i}")).collect();
        let inputs: Vec<_> = names
            .iter()
            .zip(&self.inputs)
            .map(|(n, i)| (n.as_str(), i.0.clone()))
            .collect();
        let results: Vec<String> = (0..self.outputs).map(|i| format!("y{i}")).collect();
        let outputs: Vec<_> = results
            .iter()
            .map(String::as_str)
            .zip(output_shapes.iter().cloned())
            .collect();
        let operands: Vec<&str> = self.operands.iter().map(String::as_str).collect();
        let unused = (0..self.unused).map(|i| format!("unused{i}"));
        let results: Vec<String> = results.iter().cloned().chain(unused).collect();
        let results: Vec<&str> = results.iter().map(String::as_str).collect();
        let node = node(self.op, &operands, &results, self.attributes.clone());
        bytes(&model(
            self.opset,
            &inputs,
            vec![node],
            self.constants.clone(),
            &outputs,
        ))
    }

    fn function(&self) -> (Function, Vec<u8>) {
        let unknown = vec![vec![]; self.outputs];
        let f = Model::read(&self.model(&unknown)).and_then(|model| model.function(&[]));
        let f = f.unwrap_or_else(|e| panic!("{}: {e}", self.label));
        let shapes: Vec<Vec<usize>> = f.outputs().iter().map(|port| port.shape.clone()).collect();
        (f, self.model(&shapes))
    }

    fn check(&self, seed: u64) {
        let mut random = Random(seed);
        let data: Vec<Vec<f64>> = self
            .inputs
            .iter()
            .map(|(shape, low, high)| random.tensor(numel(shape), *low, *high))
            .map(|tensor| tensor.into_iter().map(|x| f64::from(x as f32)).collect())
            .collect();
        let (f, original) = self.function();
        assert_differentiates(&self.label, &f, &data, seed);
        let slices: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
        let fed: Vec<_> = self
            .inputs
            .iter()
            .zip(&data)
            .map(|(i, d)| (i.0.clone(), d.clone()))
            .collect();
        let (first, second) = first_and_second_order(&f, seed);
        for (what, f, onnx) in [
            ("the operator", &f, original),
            ("its first order", &first, first.to_onnx(self.opset)),
            ("its second order", &second, second.to_onnx(self.opset)),
        ] {
            let expected = f.evaluate(&slices);
            let found = run_onnx(&onnx, &fed, 1);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let found: Vec<f64> = found.iter().map(|&x| f64::from(x)).collect();
                let error = relative_error(&found, expected, 1.0);
                assert!(
                    error < 2e-5,
                    "{}: {what} on ONNX Runtime, output {i}: error {error:.1e}\n{found:?}\n{expected:?}",
                    self.label
                );
            }
        }
    }
}

/// Checks each case with random sizes (1 to 4) under several seeds.
fn check_all(cases: impl Fn(&mut Random) -> Vec<Case>) {
    for seed in 1..=4 {
        for case in cases(&mut Random(seed)) {
            case.check(seed);
        }
    }
}

/// A pair of shapes that broadcast.
fn broadcasting(random: &mut Random) -> (Vec<usize>, Vec<usize>) {
    let full: Vec<usize> = (0..random.size(0, 3)).map(|_| random.size(1, 4)).collect();
    let mut part = |skip: usize| -> Vec<usize> {
        full.iter()
            .skip(skip)
            .map(|&d| if random.unit() < 0.3 { 1 } else { d })
            .collect()
    };
    let (a, b) = (part(0), part(full.len() / 2));
    if full.len().is_multiple_of(2) {
        (a, b)
    } else {
        (b, a)
    }
}

#[test]
fn elementwise_of_one_operand() {
    check_all(|r| {
        let shape: Vec<usize> = (0..r.size(0, 3)).map(|_| r.size(1, 4)).collect();
        let plain = [
            "Abs",
            "Cos",
            "Erf",
            "Exp",
            "HardSigmoid",
            "HardSwish",
            "Identity",
            "Mish",
            "Neg",
            "Relu",
            "Sigmoid",
            "Sign",
            "Sin",
            "Softplus",
            "Softsign",
            "Tanh",
            "Selu",
            "LeakyRelu",
        ];
        let mut cases: Vec<Case> = plain.iter().map(|op| case(op).input(&shape)).collect();
        for op in ["Atan", "Tan", "Sinh", "Cosh", "Floor", "Ceil", "Round"] {
            cases.push(case(op).input_in(&shape, -1.2, 1.2));
        }
        for op in ["Asin", "Acos"] {
            cases.push(case(op).input_in(&shape, -0.9, 0.9));
        }
        for op in ["Log", "Sqrt", "Reciprocal"] {
            cases.push(case(op).input_in(&shape, 0.3, 2.0));
        }
        for op in ["Elu", "Celu", "LeakyRelu", "ThresholdedRelu"] {
            cases.push(case(op).input(&shape).float("alpha", 0.7));
        }
        cases.push(
            case("Selu")
                .input(&shape)
                .float("alpha", 1.2)
                .float("gamma", 0.8),
        );
        cases.push(
            case("HardSigmoid")
                .input(&shape)
                .float("alpha", 0.3)
                .float("beta", 0.4),
        );
        cases.push(case("Gelu").opset(20).input(&shape));
        cases.push(
            case("Gelu")
                .opset(20)
                .input(&shape)
                .string("approximate", "tanh"),
        );
        cases.push(case("Clip").input(&shape).number(-0.5).number(0.9));
        cases.push(case("Clip").input(&shape).skip().number(0.4));
        cases.push(case("Clip").input(&shape).number(0.0));
        cases.push(case("Dropout").input(&shape));
        cases.push(case("Cast").input(&shape).int("to", 1));
        for p in [2.0, 3.0, 0.5, -1.0, -0.5, 1.0] {
            cases.push(case("Pow").input_in(&shape, 0.4, 2.0).number(p));
        }
        cases
    });
}

#[test]
fn elementwise_of_two_operands_with_broadcasting() {
    check_all(|r| {
        let (a, b) = broadcasting(r);
        let mut cases: Vec<Case> = ["Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum"]
            .iter()
            .map(|op| case(op).input(&a).input(&b))
            .collect();
        cases.push(case("Div").input(&a).input_in(&b, 0.5, 2.0));
        cases.push(case("Pow").input_in(&a, 0.5, 2.0).input(&b));
        cases.push(case("Mod").input(&a).input_in(&b, 0.5, 2.0).int("fmod", 1));
        cases.push(case("PRelu").input(&[2, 3]).input(&[3]));
        cases.push(case("Max").input(&a).input(&b).input(&a));
        let mask = bools("mask", &[3, 1], &[true, false, true]);
        cases.push(case("Where").constant(mask).input(&[3, 2]).input(&[2]));
        cases
    });
}

#[test]
fn matrix_products() {
    check_all(|r| {
        let [m, k, n, t] = [0; 4].map(|_| r.size(1, 4));
        let mut cases = vec![
            case("MatMul").input(&[m, k]).input(&[k, n]),
            case("MatMul").input(&[t, m, k]).input(&[k, n]),
            case("MatMul").input(&[m, k]).input(&[t, k, n]),
            case("MatMul").input(&[t, 1, m, k]).input(&[2, k, n]),
            case("MatMul").input(&[k]).input(&[k, n]),
            case("MatMul").input(&[t, m, k]).input(&[k]),
            case("MatMul").input(&[k]).input(&[k]),
        ];
        for (ta, tb) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let a = if ta == 1 { [k, m] } else { [m, k] };
            let b = if tb == 1 { [n, k] } else { [k, n] };
            let gemm = || {
                case("Gemm")
                    .int("transA", ta)
                    .int("transB", tb)
                    .input(&a)
                    .input(&b)
            };
            cases.push(gemm());
            cases.push(gemm().input(&[n]));
            cases.push(
                gemm()
                    .input(&[m, 1])
                    .float("alpha", 0.3)
                    .float("beta", -1.5),
            );
            cases.push(gemm().input(&[]));
        }
        cases
    });
}

#[test]
fn reductions() {
    check_all(|r| {
        let shape = [r.size(1, 4), r.size(2, 4), r.size(1, 3)];
        let mut cases = vec![];
        for op in [
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceSumSquare",
            "ReduceLogSumExp",
            "ReduceL1",
        ] {
            cases.push(case(op).input(&shape).integers(&[1]).int("keepdims", 0));
            cases.push(case(op).input(&shape).integers(&[0, -1]));
            cases.push(case(op).input(&shape));
        }
        cases.push(case("ReduceL2").input_in(&shape, 0.2, 2.0).integers(&[-1]));
        cases.push(
            case("ReduceLogSum")
                .input_in(&shape, 0.2, 2.0)
                .integers(&[-1]),
        );
        cases.push(
            case("ReduceMean")
                .opset(13)
                .input(&shape)
                .ints("axes", &[1]),
        );
        cases.push(
            case("ReduceMax")
                .opset(13)
                .input(&shape)
                .ints("axes", &[0, 2])
                .int("keepdims", 0),
        );
        cases.push(
            case("ReduceSum")
                .input(&shape)
                .int("noop_with_empty_axes", 1),
        );
        cases
    });
}

#[test]
fn movement_of_elements() {
    check_all(|r| {
        let [a, b, c] = [r.size(2, 4), r.size(3, 5), r.size(1, 3)];
        let shape = [a, b, c];
        vec![
            case("Concat")
                .input(&[a, 2])
                .input(&[a, 1])
                .input(&[a, 3])
                .int("axis", -1),
            case("Concat").input(&[1, 2]).input(&[a, 2]).int("axis", 0),
            case("Slice")
                .input(&shape)
                .integers(&[1])
                .integers(&[i64::MAX])
                .integers(&[1]),
            case("Slice")
                .input(&shape)
                .integers(&[-2, 0])
                .integers(&[-1, 1])
                .integers(&[1, 0]),
            case("Slice")
                .input(&shape)
                .integers(&[-1])
                .integers(&[i64::MIN])
                .integers(&[1])
                .integers(&[-2]),
            case("Slice")
                .input(&shape)
                .integers(&[0])
                .integers(&[b as i64])
                .integers(&[1])
                .integers(&[2]),
            case("Split")
                .input(&shape)
                .integers(&[1, b as i64 - 1])
                .int("axis", 1)
                .outputs(2),
            case("Split")
                .opset(13)
                .input(&[a, 6])
                .int("axis", -1)
                .outputs(3),
            case("Split")
                .input(&[7, c])
                .int("num_outputs", 3)
                .outputs(3),
            case("Reshape").input(&shape).integers(&[0, -1]),
            case("Reshape").input(&shape).integers(&[c as i64, 1, -1]),
            case("Transpose").input(&shape),
            case("Transpose").input(&shape).ints("perm", &[1, 0, 2]),
            case("Transpose").input(&shape).ints("perm", &[0, 2, 1]),
            case("Expand")
                .input(&[b, 1])
                .integers(&[a as i64, 1, c as i64]),
            case("Flatten").input(&shape).int("axis", 2),
            case("Flatten").input(&shape).int("axis", 0),
            case("Squeeze").input(&[1, a, 1]).integers(&[0]),
            case("Squeeze").input(&[1, a, 1]),
            case("Unsqueeze").input(&[a, c]).integers(&[0, -1]),
            case("Gather")
                .input(&shape)
                .constant(integers("i", &[2, 2], &[0, 2, 2, -1]))
                .int("axis", 1),
            case("Gather")
                .input(&shape)
                .constant(integers("i", &[], &[1])),
            case("Gather")
                .input(&shape)
                .constant(integers("i", &[2], &[1, 0]))
                .int("axis", 0),
            case("GatherElements")
                .input(&[3, a])
                .constant(integers(
                    "i",
                    &[2, a],
                    &vec![2, 0, 1, 1, -1, 0, 0, 0][..2 * a],
                ))
                .int("axis", 0),
            case("Pad").input(&shape).integers(&[0, 1, 0, 2, 0, 1]),
            case("Pad")
                .input(&shape)
                .integers(&[1, -1, 0, 0, 2, 0])
                .number(0.5),
            case("Pad")
                .input(&shape)
                .integers(&[1, 2])
                .skip()
                .integers(&[1]),
            case("Trilu")
                .input(&shape)
                .constant(integers("k", &[], &[1])),
            case("Trilu").input(&[b, b]).int("upper", 0),
            case("CumSum")
                .input(&shape)
                .constant(integers("axis", &[], &[1])),
            case("CumSum")
                .input(&shape)
                .constant(integers("axis", &[], &[-1]))
                .int("exclusive", 1)
                .int("reverse", 1),
            case("Tile").input(&shape).integers(&[2, 1, 3]),
        ]
    });
}

#[test]
fn normalisation() {
    check_all(|r| {
        let [n, ch, l] = [r.size(1, 3), 2 * r.size(1, 2), r.size(3, 4)];
        let positive = |c: Case| {
            c.input_in(&[ch], 0.5, 1.5)
                .input(&[ch])
                .input(&[ch])
                .input_in(&[ch], 0.5, 2.0)
        };
        vec![
            case("Softmax").input(&[n, l]),
            case("Softmax").input(&[n, l, ch]).int("axis", 1),
            case("LogSoftmax").input(&[n, l]),
            case("LayerNormalization")
                .input(&[n, ch, l])
                .input(&[l])
                .input(&[l]),
            case("LayerNormalization")
                .input(&[n, l, ch])
                .input(&[l, ch])
                .int("axis", 1)
                .float("epsilon", 1e-3),
            case("RMSNormalization")
                .opset(23)
                .input(&[n, l])
                .input(&[l]),
            positive(case("BatchNormalization").input(&[n, ch, l])),
            positive(case("BatchNormalization").input(&[n, ch])),
            case("InstanceNormalization")
                .input(&[n, ch, l])
                .input(&[ch])
                .input(&[ch]),
            case("GroupNormalization")
                .opset(21)
                .input(&[n, ch, l])
                .input(&[ch])
                .input(&[ch])
                .int("num_groups", 2),
        ]
    });
}

#[test]
fn einsums() {
    check_all(|r| {
        let [a, b, c, d] = [0; 4].map(|_| r.size(1, 4));
        let einsum = |equation: &str, first: &[usize], second: &[usize]| {
            case("Einsum")
                .string("equation", equation)
                .input(first)
                .input(second)
        };
        vec![
            einsum("ij,jk->ik", &[a, b], &[b, c]),
            einsum("ij,jk", &[a, b], &[b, c]),
            einsum("ebi, eio -> ebo", &[a, b, c], &[a, c, d]),
            einsum("bi,eio->ebo", &[b, c], &[a, c, d]),
            einsum("ij,kj->ki", &[a, b], &[c, b]),
            einsum("ij,ij->", &[a, b], &[a, b]),
            einsum("i,j->ij", &[a], &[b]),
            einsum("ijk,il->l", &[a, b, c], &[a, d]),
            einsum("...ij,...jk->...ik", &[a, b, c], &[a, c, d]),
            einsum("bhqd,bhkd->bhqk", &[a, 2, b, c], &[a, 2, d, c]),
            case("Einsum").string("equation", "ij->ji").input(&[a, b]),
            case("Einsum").string("equation", "ij->j").input(&[a, b]),
        ]
    });
}

#[test]
fn convolutions() {
    check_all(|r| {
        let [n, filters, length] = [r.size(1, 2), 2 * r.size(1, 2), r.size(5, 7)];
        let conv = || case("Conv").input(&[n, 2, length]);
        vec![
            conv().input(&[filters, 2, 3]).input(&[filters]),
            conv().input(&[filters, 2, 1]),
            conv()
                .input(&[filters, 2, 3])
                .ints("pads", &[1, 2])
                .ints("strides", &[2]),
            conv()
                .input(&[filters, 2, 2])
                .ints("dilations", &[2])
                .input(&[filters]),
            conv()
                .input(&[filters, 1, 3])
                .int("group", 2)
                .string("auto_pad", "SAME_UPPER"),
            case("Conv")
                .input(&[n, 2, 4, 5])
                .input(&[filters, 2, 3, 2])
                .ints("pads", &[1, 0, 0, 1])
                .input(&[filters]),
        ]
    });
}

#[test]
fn recurrent_layers() {
    check_all(|r| {
        let [t, n, i, h] = [r.size(1, 3), r.size(1, 2), r.size(1, 3), r.size(1, 3)];
        let layer = |op, gates: usize, directions: usize| {
            let c = case(op).int("hidden_size", h as i64).input(&[t, n, i]);
            c.input(&[directions, gates * h, i])
                .input(&[directions, gates * h, h])
        };
        let bias = |c: Case, gates: usize, directions: usize| c.input(&[directions, 2 * gates * h]);
        vec![
            layer("RNN", 1, 1).outputs(2),
            bias(layer("RNN", 1, 1).string("direction", "reverse"), 1, 1),
            layer("GRU", 3, 1),
            bias(layer("GRU", 3, 1).int("linear_before_reset", 1), 3, 1)
                .skip()
                .input(&[1, n, h])
                .outputs(2),
            bias(layer("LSTM", 4, 1), 4, 1)
                .skip()
                .input(&[1, n, h])
                .input(&[1, n, h])
                .outputs(3),
            bias(
                layer("LSTM", 4, 2).string("direction", "bidirectional"),
                4,
                2,
            )
            .outputs(2),
        ]
    });
}

#[test]
fn gathering_and_scattering_anywhere() {
    check_all(|r| {
        let a = r.size(2, 4);
        let tuples = || integers("i", &[2, 2], &[0, 1, 2, -1]);
        let columns = || integers("i", &[1, 3], &[2, 0, -1]);
        vec![
            case("GatherND").input(&[3, a]).constant(tuples()),
            case("GatherND").input(&[3, a, 2]).constant(tuples()),
            case("GatherND")
                .input(&[3, a])
                .constant(integers("i", &[4, 1], &[0, 2, 2, 1])),
            case("ScatterND")
                .input(&[3, a])
                .constant(tuples())
                .input(&[2]),
            case("ScatterND")
                .input(&[3, a, 2])
                .constant(tuples())
                .input(&[2, 2])
                .string("reduction", "add"),
            case("ScatterElements")
                .input(&[a, 3])
                .constant(columns())
                .input(&[1, 3])
                .int("axis", 1)
                .string("reduction", "add"),
            case("ScatterElements")
                .input(&[a, 3])
                .constant(integers("i", &[1, 2], &[1, 0]))
                .input(&[1, 2])
                .int("axis", 0),
        ]
    });
}

#[test]
fn edge_shapes() {
    let cases = || {
        vec![
            case("Add").input(&[]).input(&[]),
            case("Tanh").input(&[]),
            case("Mul").input(&[1]).input(&[1, 1]),
            case("ReduceSum").input(&[]),
            case("ReduceMean").input(&[1, 1]).integers(&[0]),
            case("MatMul").input(&[1, 1]).input(&[1, 1]),
            case("Concat").input(&[1]).input(&[1]).int("axis", 0),
            case("Softmax").input(&[2, 1]),
            case("LayerNormalization")
                .input(&[1, 2])
                .input(&[2])
                .input(&[2]),
            case("Transpose").input(&[1, 1, 1]).ints("perm", &[2, 0, 1]),
        ]
    };
    check_all(|_| cases());
}

#[test]
fn empty_batches_give_empty_results_and_zero_gradients() {
    for case in [
        case("Gemm").input(&[0, 3]).input(&[3, 2]).input(&[2]),
        case("MatMul").input(&[0, 2, 3]).input(&[3, 2]),
        case("Tanh").input(&[0, 4]),
        case("Slice")
            .input(&[0, 4])
            .integers(&[-1])
            .integers(&[i64::MIN])
            .integers(&[0])
            .integers(&[-1]),
        case("Add").input(&[0, 4]).input(&[4]),
        case("Softmax").input(&[0, 3]),
        case("LayerNormalization")
            .input(&[0, 3])
            .input(&[3])
            .input(&[3]),
        case("Split")
            .input(&[0, 4])
            .integers(&[1, 3])
            .int("axis", 1)
            .outputs(2),
        case("Reshape").input(&[0, 4]).integers(&[0, 2, 2]),
    ] {
        let (f, _) = case.function();
        let (first, second) = first_and_second_order(&f, 1);
        for derived in [first, second] {
            let zeros: Vec<Vec<f64>> = f
                .inputs()
                .iter()
                .map(|p| vec![0.5; numel(&p.shape)])
                .collect();
            let slices: Vec<&[f64]> = zeros.iter().map(Vec::as_slice).collect();
            let results = derived.evaluate(&slices);
            assert!(
                results.iter().flatten().all(|&x| x == 0.0),
                "{}: {results:?}",
                case.label
            );
            let inputs: Vec<_> = f
                .inputs()
                .iter()
                .map(|p| p.shape.clone())
                .zip(zeros.clone())
                .collect();
            let onnx = run_onnx(&derived.to_onnx(18), &inputs, 1);
            assert!(
                onnx.iter().flatten().all(|&x| x == 0.0),
                "{}: {onnx:?}",
                case.label
            );
        }
    }
}

#[test]
fn picks_by_value() {
    check_all(|r| {
        let [a, b] = [r.size(1, 3), r.size(3, 5)];
        let top = |k: i64| case("TopK").input(&[a, b]).integers(&[k]).unused(1);
        vec![
            top(1),
            top(3),
            top(2).int("largest", 0),
            case("TopK")
                .input(&[b, a])
                .integers(&[2])
                .int("axis", 0)
                .unused(1),
        ]
    });
}

#[test]
fn indices_of_extremes_are_those_of_onnx_runtime() {
    for (op, attributes) in [
        ("ArgMax", vec![]),
        ("ArgMin", vec![attribute_int("axis", 1)]),
        (
            "ArgMax",
            vec![
                attribute_int("axis", -1),
                attribute_int("keepdims", 0),
                attribute_int("select_last_index", 1),
            ],
        ),
    ] {
        let nodes = |output_shape: Vec<usize>| {
            let depth = integers("depth", &[], &[3]);
            let values = floats("values", &[2], &[-1.0, 2.0]);
            let nodes = vec![
                node(op, &["x"], &["index"], attributes.clone()),
                node("OneHot", &["index", "depth", "values"], &["y"], vec![]),
            ];
            bytes(&model(
                18,
                &[("x", vec![3, 3])],
                nodes,
                vec![depth, values],
                &[("y", output_shape)],
            ))
        };
        let f = Model::read(&nodes(vec![]))
            .and_then(|m| m.function(&[]))
            .unwrap();
        let x = vec![0.5, 2.0, 2.0, -1.0, 2.0, -1.0, 3.0, 0.0, 3.0];
        let expected = run_onnx(
            &nodes(f.outputs()[0].shape.clone()),
            &[(vec![3, 3], x.clone())],
            1,
        );
        let found: Vec<f32> = f.evaluate(&[&x])[0].iter().map(|&x| x as f32).collect();
        assert_eq!(found, expected[0], "{op}");
    }
}

#[test]
fn the_norm_of_nothing_has_no_gradient() {
    let (f, _) = case("ReduceL2").input(&[2, 3]).integers(&[1]).function();
    let (first, second) = first_and_second_order(&f, 1);
    for derived in [first, second] {
        let results = derived.evaluate(&[&[0.0, 0.0, 0.0, 3.0, 0.0, 4.0]]);
        assert!(results.iter().flatten().all(|x| x.is_finite()));
        assert_eq!(results[1][..3], [0.0; 3]);
    }
}
