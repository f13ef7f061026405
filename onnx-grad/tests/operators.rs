//! The elementary operators: read from ONNX and run on ONNX Runtime each gives what our evaluator gives; its first and second
//! order gradients agree with central differences in float64, and their ONNX form, run on ONNX Runtime, with the evaluator.

mod support;

use support::case::*;
use support::*;

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
fn the_norm_of_nothing_has_no_gradient() {
    let (f, _) = case("ReduceL2").input(&[2, 3]).integers(&[1]).function();
    let (first, second) = first_and_second_order(&f, 1);
    for derived in [first, second] {
        let results = derived.evaluate(&[&[0.0, 0.0, 0.0, 3.0, 0.0, 4.0]]);
        assert!(results.iter().flatten().all(|x| x.is_finite()));
        assert_eq!(results[1][..3], [0.0; 3]);
    }
}
