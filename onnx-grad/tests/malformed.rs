//! Bytes that are no model, or a strange one: an answer in words, never a panic.

mod support;

use onnx_grad::{Error, Model};
use support::*;

const SMALL: &[u8] = include_bytes!("fixtures/maml.onnx");

/// Reads, and if that works derives something, whatever comes of it.
fn exercise(bytes: &[u8]) -> bool {
    let Ok(model) = Model::read(bytes) else {
        return false;
    };
    let names: Vec<String> = model
        .inputs()
        .iter()
        .flat_map(|input| &input.dims)
        .filter_map(|dim| match dim {
            onnx_grad::Dim::Named(name) => Some(name.clone()),
            onnx_grad::Dim::Fixed(_) => None,
        })
        .collect();
    let sizes: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let Ok(f) = model.function(&sizes) else {
        return false;
    };
    if f.flops() < 1 << 20 {
        f.to_onnx(model.opset());
    }
    true
}

#[test]
fn truncated_anywhere() {
    let read = (0..SMALL.len()).filter(|&n| exercise(&SMALL[..n])).count();
    // Protobuf has no end mark: a cut between two top-level fields behind the graph may go unnoticed.
    assert!(read < 8, "{read} truncations were read");
}

#[test]
fn every_byte_changed() {
    for i in 0..SMALL.len() {
        for change in [0x01, 0x80, 0xff, 0x7f] {
            let mut bytes = SMALL.to_vec();
            bytes[i] ^= change;
            exercise(&bytes);
        }
    }
}

#[test]
fn random_bytes_and_random_damage() {
    let mut random = Random(1);
    for _ in 0..3000 {
        let mut bytes = SMALL.to_vec();
        for _ in 0..random.size(1, 12) {
            let at = random.size(0, bytes.len() - 1);
            match random.size(0, 2) {
                0 => bytes[at] = random.size(0, 255) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.size(0, 255) as u8),
            }
        }
        exercise(&bytes);
        let noise: Vec<u8> = (0..random.size(0, 64))
            .map(|_| random.size(0, 255) as u8)
            .collect();
        exercise(&noise);
    }
}

fn fails(bytes: &[u8]) -> String {
    Model::read(bytes)
        .and_then(|model| model.function(&[]))
        .unwrap_err()
        .to_string()
}

/// A model `y = op(x, w)` over `x [2, 3]` and a parameter `w [3]`.
fn one_node(op: &str) -> onnx_grad::proto::ModelProto {
    let nodes = vec![node(op, &["x", "w"], &["y"], vec![])];
    let w = floats("w", &[3], &[1.0, 2.0, 3.0]);
    model(
        18,
        &[("x", vec![2, 3])],
        nodes,
        vec![w],
        &[("y", vec![2, 3])],
    )
}

#[test]
fn each_fault_is_named() {
    assert_eq!(
        fails(b""),
        "ONNX IR version 0 is not supported: export with IR version 4 to 13"
    );
    let message = fails(&bytes(&one_node("Bernoulli")));
    assert_eq!(
        message,
        "model 'test', node 'the_Bernoulli' (Bernoulli): this operator has no gradient rule; express it by operators that \
         have one"
    );
    let mut strange = one_node("Add");
    strange.opset_import[0].version = Some(99);
    assert!(fails(&bytes(&strange)).contains("opset 99"));
    let mut strange = one_node("Add");
    strange.graph.as_mut().unwrap().node[0].input[0] = "nobody".into();
    assert!(fails(&bytes(&strange)).contains("'nobody' is not defined before"));
    let mut strange = one_node("Add");
    strange.graph.as_mut().unwrap().initializer[0].dims = vec![4];
    assert_eq!(
        fails(&bytes(&strange)),
        "initializer 'w': its data does not fill its shape"
    );
    let mut strange = one_node("Add");
    strange.graph.as_mut().unwrap().initializer[0] = floats("w", &[2], &[1.0, 2.0]);
    assert!(
        fails(&bytes(&strange))
            .contains("the_Add' (Add): operands of shapes [[2, 3], [2]] do not fit")
    );
    let mut strange = one_node("Add");
    strange.graph.as_mut().unwrap().node[0].output[0] = "x".into();
    assert_eq!(fails(&bytes(&strange)), "tensor 'x' is defined twice");
    let mut strange = one_node("Add");
    strange
        .graph
        .as_mut()
        .unwrap()
        .initializer
        .push(floats("w", &[1], &[1.0]));
    assert_eq!(fails(&bytes(&strange)), "tensor 'w' is defined twice");
}

#[test]
fn merged_parameters_are_refused_and_shared_ones_are_not() {
    let tied = |data: &[f64]| {
        let nodes = vec![
            node("Mul", &["x", "gamma"], &["h"], vec![]),
            node("Tanh", &["h"], &["t"], vec![]),
            node("Add", &["t", "gamma"], &["y"], vec![]),
        ];
        let gamma = floats("gamma", &[3], data);
        bytes(&model(
            18,
            &[("x", vec![2, 3])],
            nodes,
            vec![gamma],
            &[("y", vec![2, 3])],
        ))
    };
    match Model::read(&tied(&[1.0, 1.0, 1.0])).unwrap_err() {
        Error::Tied {
            name,
            first,
            second,
        } => {
            assert_eq!(
                (name.as_str(), first.as_str(), second.as_str()),
                ("gamma", "the_Mul", "the_Add")
            );
        }
        other => panic!("{other}"),
    }
    assert!(Model::read(&tied(&[1.0, 2.0, 3.0])).is_ok());
}

#[test]
fn axes_must_be_bound_by_their_names() {
    let model = Model::read(SMALL).unwrap();
    assert_eq!(
        model.function(&[]).unwrap_err().to_string(),
        "axis 'batch' has no size: bind it"
    );
    let error = model.function(&[("batch", 2), ("time", 3)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no input has an axis named 'time'; the named axes are [\"batch\"]"
    );
}
