//! Models as exporters write them.

mod support;

use onnx_grad::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, ValueInfoProto, attribute_proto, tensor_proto, tensor_proto::DataType,
};
use onnx_grad::{Dim, Model};
use prost::Message;
use std::collections::BTreeMap;
use support::*;

const MAML: &[u8] = include_bytes!("fixtures/maml.onnx");

#[test]
fn what_a_model_says_of_itself() {
    let model = Model::read(MAML).unwrap();
    assert_eq!(model.opset(), 18);
    assert_eq!(model.inputs()[0].name, "x");
    assert_eq!(
        model.inputs()[0].dims,
        [Dim::Named("batch".into()), Dim::Fixed(5)]
    );
    let names: Vec<&str> = model.parameters().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names[..3], ["hidden.weight", "hidden.bias", "norm.weight"]);
    assert_eq!(model.parameters()[0].shape, [8, 5]);
}

#[test]
fn written_parameters_and_metadata_are_read_back_and_the_rest_is_kept() {
    let model = Model::read(MAML).unwrap();
    let bias: Vec<f32> = (0..3).map(|i| i as f32 + 0.5).collect();
    let metadata = BTreeMap::from([("surefoot.rate_hz".to_owned(), "50".to_owned())]);
    let bytes = model
        .write(&BTreeMap::from([("out.bias", bias.clone())]), &metadata)
        .unwrap();
    let again = Model::read(&bytes).unwrap();
    assert_eq!(again.metadata(), &metadata);
    for (old, new) in model.parameters().iter().zip(again.parameters()) {
        assert_eq!(old.name, new.name);
        assert_eq!(
            new.data,
            if new.name == "out.bias" {
                bias.clone()
            } else {
                old.data.clone()
            }
        );
    }
    assert_eq!(
        again.write(&BTreeMap::new(), &BTreeMap::new()).unwrap(),
        bytes
    );
    let error = model
        .write(&BTreeMap::from([("nobody", vec![])]), &metadata)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter 'nobody': the model has no such parameter"
    );
    let x = (vec![2, 5], Random(1).tensor(10, -1.0, 1.0));
    let [before, after] =
        [MAML, &bytes].map(|file| run_onnx(file, std::slice::from_ref(&x), 1)[0].clone());
    let moved = model.parameters().last().unwrap();
    for (i, (before, after)) in before.iter().zip(&after).enumerate() {
        let shift = bias[i % 3] - moved.data[i % 3];
        assert!((after - before - shift).abs() < 1e-5);
    }
}

fn zoo(name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/tests/fixtures/zoo/{name}.onnx",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn decoded(bytes: &[u8]) -> ModelProto {
    ModelProto::decode(bytes).unwrap()
}

#[test]
fn torch_says_which_tensors_are_buffers() {
    let names = |bytes: &[u8]| -> Vec<String> {
        Model::read(bytes)
            .unwrap()
            .parameters()
            .iter()
            .map(|p| p.name.clone())
            .collect()
    };
    let bytes = zoo("normalised");
    assert_eq!(
        names(&bytes),
        ["net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"]
    );
    let mut unsigned = decoded(&bytes);
    unsigned.graph.as_mut().unwrap().metadata_props.clear();
    assert!(names(&unsigned.encode_to_vec()).contains(&"delta_std".to_owned()));
}

#[test]
fn parameters_are_chosen_by_patterns() {
    let model = Model::read(MAML).unwrap();
    let names = |patterns: &[&str]| {
        model
            .matching(patterns)
            .map(|ps| ps.iter().map(|p| p.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(&["out.*"]).unwrap(), ["out.weight", "out.bias"]);
    assert_eq!(
        names(&["*.bias"]).unwrap(),
        ["hidden.bias", "norm.bias", "second.bias", "out.bias"]
    );
    assert_eq!(names(&["*"]).unwrap().len(), model.parameters().len());
    assert_eq!(
        names(&["out.*", "third*"]).unwrap_err().to_string(),
        "parameter 'third*': matches no parameter"
    );
}

#[test]
fn tensors_in_a_side_file_are_read_from_below_the_models_folder_only() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = decoded(MAML);
    let mut side = vec![0u8; 64];
    for tensor in &mut file.graph.as_mut().unwrap().initializer {
        let raw = tensor.raw_data.take().unwrap();
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        tensor.external_data = vec![
            entry("location", "weights.bin".into()),
            entry("offset", side.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(tensor_proto::DataLocation::External as i32);
        side.extend(raw);
    }
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, file.encode_to_vec()).unwrap();
    let missing = Model::open(&path).unwrap_err().to_string();
    assert!(
        missing.contains("weights.bin") && missing.contains("not found"),
        "{missing}"
    );
    std::fs::write(folder.path().join("weights.bin"), &side).unwrap();
    let model = Model::open(&path).unwrap();
    assert_eq!(model.parameters(), Model::read(MAML).unwrap().parameters());
    // What is written is one file again.
    let bytes = model.write(&BTreeMap::new(), &BTreeMap::new()).unwrap();
    assert_eq!(
        Model::read(&bytes).unwrap().parameters(),
        model.parameters()
    );
    let message = Model::read(&file.encode_to_vec()).unwrap_err().to_string();
    assert!(
        message.contains("open the model from its file"),
        "{message}"
    );
    for (key, value, complaint) in [
        ("location", "../weights.bin", "not below"),
        ("location", "/etc/hostname", "not below"),
        ("offset", "4000000", "outside of the side file"),
        ("length", "-4", "malformed"),
    ] {
        let mut strange = file.clone();
        let entries = &mut strange.graph.as_mut().unwrap().initializer[0].external_data;
        entries.iter_mut().find(|e| e.key() == key).unwrap().value = Some(value.into());
        std::fs::write(&path, strange.encode_to_vec()).unwrap();
        let message = Model::open(&path).unwrap_err().to_string();
        assert!(message.contains(complaint), "{message}");
    }
}

#[test]
fn weights_of_other_widths_are_read_and_written_in_their_own() {
    for element in [DataType::Double, DataType::Float16, DataType::Bfloat16] {
        let mut file = decoded(MAML);
        let tensor = &mut file.graph.as_mut().unwrap().initializer[0];
        tensor.data_type = Some(element as i32);
        // Numbers that every width holds exactly.
        let numbers: Vec<f32> = (0..40).map(|i| (i as f32 - 20.0) / 8.0).collect();
        let width = if element == DataType::Double { 8 } else { 2 };
        tensor.raw_data = Some(vec![0; 40 * width]);
        let model = Model::read(&file.encode_to_vec()).unwrap();
        let bytes = model
            .write(
                &BTreeMap::from([("hidden.weight", numbers.clone())]),
                &BTreeMap::new(),
            )
            .unwrap();
        let stored = &decoded(&bytes).graph.unwrap().initializer[0];
        assert_eq!(
            (stored.data_type(), stored.raw_data().len()),
            (element as i32, 40 * width)
        );
        assert_eq!(Model::read(&bytes).unwrap().parameters()[0].data, numbers);
    }
}

/// `y = scaled(x) + scaled(w)` where `scaled(t; factor = 2) = t * t * factor`, a model-local function.
fn with_function() -> ModelProto {
    let call = |input, output, attributes| {
        let mut call = node("Scaled", &[input], &[output], attributes);
        call.domain = Some("local".into());
        call.name = Some(format!("{output} by Scaled"));
        call
    };
    let nodes = vec![
        call("x", "a", vec![attribute_float("factor", 3.0)]),
        call("w", "b", vec![]),
        node("Add", &["a", "b"], &["y"], vec![]),
    ];
    let mut file = model(
        18,
        &[("x", vec![2])],
        nodes,
        vec![floats("w", &[2], &[0.5, -1.0])],
        &[("y", vec![2])],
    );
    let mut constant = node(
        "Constant",
        &[],
        &["c"],
        vec![attribute_float("value_float", 0.0)],
    );
    constant.attribute[0].ref_attr_name = Some("factor".into());
    file.functions.push(FunctionProto {
        name: Some("Scaled".into()),
        domain: Some("local".into()),
        input: vec!["t".into()],
        output: vec!["out".into()],
        attribute_proto: vec![attribute_float("factor", 2.0)],
        node: vec![
            constant,
            node("Mul", &["t", "t"], &["square"], vec![]),
            NodeProto {
                name: None,
                ..node("Mul", &["square", "c"], &["out"], vec![])
            },
        ],
        opset_import: file.opset_import.clone(),
        ..Default::default()
    });
    file.opset_import.push(OperatorSetIdProto {
        domain: Some("local".into()),
        version: Some(1),
    });
    file
}

#[test]
fn model_local_functions_are_expanded() {
    let file = with_function().encode_to_vec();
    let f = Model::read(&file).unwrap().function(&[]).unwrap();
    assert_eq!(f.evaluate(&[&[1.0, 2.0], &[0.5, -1.0]]), [[3.5, 14.0]]);
    let found = run_onnx(&file, &[(vec![2], vec![1.0, 2.0])], 1);
    assert_eq!(found, [[3.5, 14.0]]);
    let mut circular = with_function();
    let inner = &mut circular.functions[0].node[1];
    (inner.op_type, inner.domain) = (Some("Scaled".into()), Some("local".into()));
    inner.input.truncate(1);
    let message = Model::read(&circular.encode_to_vec())
        .unwrap_err()
        .to_string();
    assert!(message.contains("nest too deep"), "{message}");
}

#[test]
fn a_choice_that_the_shapes_decide_is_made_and_another_is_refused() {
    let branch = |name: &str, op: &str| {
        let graph = GraphProto {
            name: Some(name.into()),
            node: vec![node(op, &["x"], &[name], vec![])],
            output: vec![ValueInfoProto {
                name: Some(name.into()),
                ..Default::default()
            }],
            ..Default::default()
        };
        AttributeProto {
            name: Some(format!("{name}_branch")),
            g: Some(graph),
            r#type: Some(attribute_proto::AttributeType::Graph as i32),
            ..Default::default()
        }
    };
    let nodes = |source: &str| {
        vec![
            node("Size", &[source], &["size"], vec![]),
            node(
                "Greater",
                &[if source == "x" { "size" } else { "x" }, "limit"],
                &["large"],
                vec![],
            ),
            node(
                "If",
                &["large"],
                &["y"],
                vec![branch("then", "Relu"), branch("else", "Neg")],
            ),
        ]
    };
    let limit = |tensor| vec![tensor];
    let build = |source: &str, limit| {
        bytes(&model(
            18,
            &[("x", vec![1, 1])],
            nodes(source),
            limit,
            &[("y", vec![1, 1])],
        ))
    };
    let f = |bound| {
        Model::read(&build("x", limit(integers("limit", &[], &[bound]))))
            .unwrap()
            .function(&[])
            .unwrap()
    };
    assert_eq!(f(0).evaluate(&[&[-2.0]]), [[0.0]]);
    assert_eq!(f(1).evaluate(&[&[-2.0]]), [[2.0]]);
    let open = Model::read(&build("limit", limit(floats("limit", &[], &[0.0])))).unwrap();
    let message = open.function(&[]).unwrap_err().to_string();
    assert!(
        message.contains("(If): operand 0 must be a constant"),
        "{message}"
    );
}
