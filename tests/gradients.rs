//! `surefoot inspect --gradients`: what it answers equals the frameworks' own gradients, for every export of the zoo.

use std::path::{Path, PathBuf};
use std::process::Command;

use onnx_grad::{Dim, Io, Model};
use serde_json::{Value, json};
use surefoot::model::{Case, Runtime};

const FIXTURES: &str = "onnx-grad/tests/fixtures";

fn fixture(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A flat list as a nested one of this shape.
fn nested(flat: &[Value], shape: &[usize]) -> Value {
    match shape {
        [] => flat[0].clone(),
        [size, inner @ ..] => flat
            .chunks(flat.len() / size)
            .map(|part| nested(part, inner))
            .collect(),
    }
}

/// The flat list of a model's input or output, whose named axis has so many rows, as a nested one.
fn tensor(flat: &Value, io: &Io, rows: usize) -> Value {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => *size,
        Dim::Named(_) => rows,
    };
    nested(
        flat.as_array().unwrap(),
        &io.dims.iter().map(size).collect::<Vec<_>>(),
    )
}

fn inputs(flat: &Value, model: &Model, rows: usize) -> Value {
    let input = |io: &Io| (io.name.clone(), tensor(&flat[&io.name], io, rows));
    Value::Object(model.inputs().iter().map(input).collect())
}

/// The largest difference, as a ratio to the largest magnitude.
fn difference(found: &[f32], expected: &Value) -> f64 {
    let expected: Vec<f64> = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(1e-6, |largest: f64, v| largest.max(v.abs()));
    let off = found
        .iter()
        .zip(&expected)
        .map(|(f, e)| (f64::from(*f) - e).abs());
    off.fold(0.0, f64::max) / largest
}

#[test]
fn every_export_of_the_zoo_has_its_frameworks_gradients() {
    let runtime = Runtime::load().unwrap();
    let files = std::fs::read_dir(Path::new(FIXTURES).join("zoo")).unwrap();
    let mut checked = 0;
    for path in files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().unwrap() == "json")
    {
        let expected = fixture(&path);
        let model = Model::open(&path.with_extension("onnx")).unwrap();
        let rows = expected["rows"].as_u64().unwrap() as usize;
        let output = &model.outputs()[0];
        let case = json!({
            "inputs": inputs(&expected["inputs"], &model, rows),
            "output": output.name,
            "target": tensor(&expected["target"], output, rows),
        });
        let found = Case::from_json(&case.to_string())
            .unwrap()
            .compute(&model, &runtime);
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut compared = 0;
        let loss = f64::from(found.loss) / expected["loss"].as_f64().unwrap();
        assert!((loss - 1.0).abs() < 1e-5, "{}: {loss}", path.display());
        for (of, gradients) in [
            ("parameter_gradients", &found.parameter_gradients),
            ("input_gradients", &found.input_gradients),
        ] {
            // A float tensor that the framework does not train has no gradient of its own.
            for (name, gradient) in gradients
                .iter()
                .filter(|(name, _)| !expected[of][*name].is_null())
            {
                let off = difference(gradient, &expected[of][name]);
                assert!(off < 1e-4, "{}: {of} {name} is {off} off", path.display());
                compared += 1;
            }
        }
        assert!(
            compared >= 3,
            "{}: only {compared} gradients",
            path.display()
        );
        checked += 1;
    }
    assert!(checked >= 24, "only {checked} exports");
}

#[test]
fn meta_gradients_equal_jax_through_the_command() {
    let folder = tempfile::tempdir().unwrap();
    let expected = fixture(&Path::new(FIXTURES).join("maml.json"));
    let path = PathBuf::from(FIXTURES).join("maml.onnx");
    let model = Model::open(&path).unwrap();
    let [tasks, past, future] =
        ["tasks", "past", "future"].map(|key| expected[key].as_u64().unwrap() as usize);
    let part = |key: &str, io: &Io, task: usize, rows: usize| {
        let all = expected["data"][key].as_array().unwrap();
        let size = all.len() / tasks;
        tensor(&Value::from(all[task * size..][..size].to_vec()), io, rows)
    };
    let mut sums: std::collections::BTreeMap<String, Vec<f32>> = Default::default();
    for task in 0..tasks {
        let [input, output] = [&model.inputs()[0], &model.outputs()[0]];
        let case = json!({
            "inputs": { &input.name: part("past_x", input, task, past) },
            "output": output.name,
            "target": part("past_y", output, task, past),
            "inner_step": expected["alpha"],
            "query": {
                "inputs": { &input.name: part("future_x", input, task, future) },
                "target": part("future_y", output, task, future),
            },
        });
        let file = folder.path().join("case.json");
        std::fs::write(&file, case.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
        let answer = command
            .args(["inspect", "--json", "--gradients"])
            .arg(&file)
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            answer.status.success(),
            "{}",
            String::from_utf8_lossy(&answer.stderr)
        );
        let answer: Value = serde_json::from_slice(&answer.stdout).unwrap();
        for (name, gradient) in answer["meta_gradients"].as_object().unwrap() {
            let gradient = gradient.as_array().unwrap();
            let sum = sums
                .entry(name.clone())
                .or_insert_with(|| vec![0.0; gradient.len()]);
            for (sum, value) in sum.iter_mut().zip(gradient) {
                *sum += value.as_f64().unwrap() as f32 / tasks as f32;
            }
        }
    }
    let names = expected["meta_gradient"].as_object().unwrap();
    assert_eq!(sums.len(), names.len());
    for (name, gradient) in names {
        let off = difference(&sums[name], gradient);
        assert!(off < 1e-4, "{name} is {off} off");
    }
}

#[test]
fn a_case_that_does_not_fit_names_what_does_not() {
    let runtime = Runtime::load().unwrap();
    let model = Model::open(&Path::new(FIXTURES).join("zoo/mlp_relu.onnx")).unwrap();
    let state = vec![vec![0.5; 4]; 3];
    let fit = json!({
        "inputs": { "state": state, "action": vec![vec![0.5; 2]; 3] },
        "output": model.outputs()[0].name, "target": state,
    });
    let fault = |key: &str, value: Value| {
        let mut case = fit.clone();
        case.pointer_mut(key)
            .map(|place| *place = value.clone())
            .unwrap_or_else(|| {
                case[key.trim_start_matches('/')] = value;
            });
        let case = Case::from_json(&case.to_string());
        case.and_then(|case| case.compute(&model, &runtime))
            .unwrap_err()
            .to_string()
    };
    let query = json!({ "inputs": fit["inputs"], "target": fit["target"] });
    for (key, value, named) in [
        ("/output", json!("speed"), "speed"),
        ("/target", json!([[1.0]]), "target"),
        ("/inputs/state", json!([[1.0, 2.0]]), "state"),
        ("/inputs/state", json!([[1.0, 2.0], [3.0]]), "one shape"),
        ("/inputs/state", json!(vec![vec![0.5; 4]; 2]), "action"),
        ("/inputs", json!({ "state": state }), "action"),
        ("/parameters", json!(["core.9.weight"]), "core.9.weight"),
        ("/colour", json!("blue"), "colour"),
        ("/query", query, "inner_step"),
    ] {
        let message = fault(key, value);
        assert!(message.contains(named), "{key}: {message}");
    }
}
