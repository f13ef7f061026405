//! Bytes that are no model, or a strange one: an answer in words, never a panic.

mod support;

use onnx_grad::proto::{ModelProto, TensorProto, tensor_proto, tensor_shape_proto, type_proto};
use onnx_grad::{Error, Graph, Model, Value};
use prost::Message;
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
    let mut g = Graph::new();
    let inputs: Vec<Value> = f
        .inputs()
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let outputs = g.inline(&f, &inputs);
    let Some(&output) = outputs.first() else {
        return false;
    };
    let axes: Vec<usize> = (0..g.shape(output).len()).collect();
    let sum = g.reduce_sum(output, &axes, false);
    let gradients = g.gradient(sum, &inputs);
    let names: Vec<String> = (0..gradients.len())
        .map(|i| format!("gradient {i}"))
        .collect();
    let outputs: Vec<_> = names.iter().map(String::as_str).zip(gradients).collect();
    let derived = g.finish(&outputs);
    derived.to_onnx(model.opset());
    derived.flops() > 0
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

/// Bytes changed, removed, inserted and repeated at random places.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.size(1, 8) {
        let at = random.size(0, bytes.len() - 1);
        let byte = random.size(0, 255) as u8;
        match random.size(0, 4) {
            0 => bytes[at] = byte,
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, byte),
            _ => {
                let from = random.size(0, bytes.len() - 1);
                let len = random.size(0, 16).min(bytes.len() - from.max(at));
                bytes.copy_within(from..from + len, at);
            }
        }
    }
    bytes
}

/// A well-formed file that says something else: other operators, operands, attributes, sizes and indices.
fn rearrange(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const NUMBERS: [i64; 10] = [0, 1, -1, 2, 3, -2, 7, 1 << 31, i64::MAX, i64::MIN];
    let mut file = ModelProto::decode(bytes).unwrap();
    let graph = file.graph.as_mut().unwrap();
    for _ in 0..random.size(1, 4) {
        let names: Vec<String> = graph
            .node
            .iter()
            .flat_map(|n| n.input.iter().chain(&n.output))
            .cloned()
            .collect();
        let ops: Vec<Option<String>> = graph.node.iter().map(|n| n.op_type.clone()).collect();
        let at = random.size(0, graph.node.len() - 1);
        let number = NUMBERS[random.size(0, NUMBERS.len() - 1)];
        let node = &mut graph.node[at];
        match random.size(0, 6) {
            0 => node.op_type = ops[random.size(0, ops.len() - 1)].clone(),
            1 if !node.input.is_empty() => {
                let i = random.size(0, node.input.len() - 1);
                node.input[i] = names[random.size(0, names.len() - 1)].clone();
            }
            2 => node.input.truncate(random.size(0, node.input.len())),
            3 if !node.attribute.is_empty() => {
                let i = random.size(0, node.attribute.len() - 1);
                let attribute = &mut node.attribute[i];
                attribute.i = Some(number);
                attribute.f = Some(number as f32);
                if !attribute.ints.is_empty() {
                    let j = random.size(0, attribute.ints.len() - 1);
                    attribute.ints[j] = number;
                }
                if let Some(tensor) = &mut attribute.t {
                    overwrite(tensor, number, random);
                }
            }
            4 if !graph.initializer.is_empty() => {
                let i = random.size(0, graph.initializer.len() - 1);
                overwrite(&mut graph.initializer[i], number, random);
            }
            5 => node
                .attribute
                .truncate(random.size(0, node.attribute.len())),
            _ => {
                let i = random.size(0, graph.input.len() - 1);
                if let Some(type_proto::Value::TensorType(tensor)) = graph.input[i]
                    .r#type
                    .as_mut()
                    .and_then(|t| t.value.as_mut())
                {
                    let dims = &mut tensor.shape.get_or_insert_default().dim;
                    let axis = random.size(0, dims.len());
                    let size = Some(tensor_shape_proto::dimension::Value::DimValue(number));
                    dims.truncate(axis);
                    dims.push(tensor_shape_proto::Dimension {
                        value: size,
                        ..Default::default()
                    });
                }
            }
        }
    }
    file.encode_to_vec()
}

/// Other numbers or another shape; both still fill each other where that is easy.
fn overwrite(tensor: &mut TensorProto, number: i64, random: &mut Random) {
    match random.size(0, 3) {
        0 if tensor.data_type == Some(tensor_proto::DataType::Int64 as i32) => {
            let count = tensor.dims.iter().product::<i64>().clamp(0, 64) as usize;
            tensor.raw_data = Some(vec![number.to_le_bytes(); count].concat());
        }
        1 => tensor.dims.reverse(),
        2 => tensor.dims.insert(0, 1),
        _ => {
            let total: i64 = tensor.dims.iter().product();
            tensor.dims = vec![total];
        }
    }
}

/// Runs for the seconds in `ONNX_GRAD_FUZZ_SECONDS`; without it, for a fixed number of rounds.
#[test]
fn damaged_exports_and_noise() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zoo");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    let models: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let seconds = std::env::var("ONNX_GRAD_FUZZ_SECONDS")
        .ok()
        .map(|s| s.parse::<f64>().unwrap());
    let start = std::time::Instant::now();
    let (mut round, mut derived) = (0, 0usize);
    while seconds.map_or(round < 40, |limit| start.elapsed().as_secs_f64() < limit) {
        let mut random = Random(round);
        for model in &models {
            derived += usize::from(exercise(&damage(model, &mut random)));
            derived += usize::from(exercise(&rearrange(model, &mut random)));
        }
        let noise: Vec<u8> = (0..random.size(0, 64))
            .map(|_| random.size(0, 255) as u8)
            .collect();
        exercise(&noise);
        round += 1;
    }
    assert!(
        derived > 0,
        "no damaged model could be derived: the damage is too great to test anything"
    );
    println!(
        "{} models, {derived} of them usable",
        round as usize * models.len()
    );
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
        "the file holds no ONNX graph: copy or export it again"
    );
    let mut strange = one_node("Add");
    strange.ir_version = Some(99);
    assert!(fails(&bytes(&strange)).contains("IR version 99"));
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
fn parameters_that_torch_merged_are_refused_with_the_way_out() {
    for file in [
        &include_bytes!("fixtures/merged_dynamo.onnx")[..],
        include_bytes!("fixtures/merged_script.onnx"),
    ] {
        let message = Model::read(file).unwrap_err().to_string();
        assert!(
            message.starts_with("initializer '1.") && message.contains("optimize=False"),
            "{message}"
        );
    }
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
