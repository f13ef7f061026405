//! Like `operators.rs`, for the operators that are composed of others: layers, contractions, indexed reads and writes.

mod support;

use onnx_grad::Model;
use support::case::*;
use support::*;

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
