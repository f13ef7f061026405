//! Models as torch (both exporters) and JAX write them: the gradients of the mean squared error equal the framework's own.
//! `fixtures/make_zoo.py` made the files.

mod support;

use onnx_grad::{Dim, Function, Graph, Model, Value};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use support::*;

fn zoo() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/zoo");
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    files.sort();
    files
}

fn numbers(json: &Json) -> Vec<f64> {
    json.as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

/// `f` with its named axes bound to the number of rows.
fn bound(model: &Model, rows: usize) -> Function {
    let mut sizes = vec![];
    for dim in model.inputs().iter().flat_map(|input| &input.dims) {
        if let Dim::Named(name) = dim
            && !sizes.contains(&(name.as_str(), rows))
        {
            sizes.push((name.as_str(), rows));
        }
    }
    model.function(&sizes).unwrap()
}

/// The mean squared error against input `target`, and its gradient with respect to every input of `f`.
fn error_and_gradients(f: &Function) -> Function {
    let mut g = Graph::new();
    let inputs: Vec<Value> = f
        .inputs()
        .iter()
        .map(|p| g.input(&p.name, &p.shape))
        .collect();
    let target = g.input("target", &f.outputs()[0].shape);
    let prediction = g.inline(f, &inputs)[0];
    let error = g.sub(prediction, target);
    let square = g.mul(error, error);
    let axes: Vec<usize> = (0..g.shape(square).len()).collect();
    let loss = g.mean(square, &axes, false);
    let gradients = g.gradient(loss, &inputs);
    let names: Vec<String> = f.inputs().iter().map(|p| format!("d {}", p.name)).collect();
    let mut outputs = vec![("loss", loss)];
    outputs.extend(names.iter().map(String::as_str).zip(gradients));
    g.finish(&outputs)
}

/// Checks one model; returns how many gradients were compared.
fn check(path: &Path) -> usize {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let case: Json =
        serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
    let model =
        Model::read(&std::fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let derived = error_and_gradients(&bound(&model, case["rows"].as_u64().unwrap() as usize));
    let inputs: Vec<(Vec<usize>, Vec<f64>)> = derived
        .inputs()
        .iter()
        .map(|port| {
            let parameter = model.parameters().iter().find(|p| p.name == port.name);
            let data = match parameter {
                Some(parameter) => parameter.data.iter().map(|&x| f64::from(x)).collect(),
                None if port.name == "target" => numbers(&case["target"]),
                None => numbers(&case["inputs"][&port.name]),
            };
            (port.shape.clone(), data)
        })
        .collect();
    let slices: Vec<&[f64]> = inputs.iter().map(|(_, data)| data.as_slice()).collect();
    let exact = derived.evaluate(&slices);
    let onnx = run_onnx(&derived.to_onnx(model.opset()), &inputs, 1);
    let mut compared = 0;
    for (i, port) in derived.outputs().iter().enumerate() {
        let key = port.name.trim_start_matches("d ");
        let expected = match (
            &case["input_gradients"][key],
            &case["parameter_gradients"][key],
        ) {
            _ if port.name == "loss" => vec![case["loss"].as_f64().unwrap()],
            (Json::Null, Json::Null) => continue,
            (Json::Null, gradient) | (gradient, _) => numbers(gradient),
        };
        let single: Vec<f64> = onnx[i].iter().map(|&x| f64::from(x)).collect();
        let errors = [
            relative_error(&exact[i], &expected, 1e-3),
            relative_error(&single, &expected, 1e-3),
        ];
        assert!(
            errors[0] < 1e-5 && errors[1] < 1e-4,
            "{name}, {}: {errors:.1?}",
            port.name
        );
        compared += 1;
    }
    compared
}

#[test]
fn gradients_equal_the_frameworks_own() {
    let files = zoo();
    assert!(
        files.len() >= 24,
        "the zoo is incomplete: {} models",
        files.len()
    );
    for path in files {
        let compared = check(&path);
        println!(
            "{:24} {compared} gradients",
            path.file_stem().unwrap().to_str().unwrap()
        );
        assert!(compared >= 3);
    }
}

/// `f` of one scalar output, along the line `inputs + t * direction`: its slope at 0 by central differences.
fn slope(f: &Function, inputs: &[Vec<f64>], direction: &[Vec<f64>]) -> f64 {
    const STEP: f64 = 1e-5;
    let at = |t: f64| {
        let moved =
            |(x, d): (&Vec<f64>, &Vec<f64>)| x.iter().zip(d).map(|(x, d)| x + t * d).collect();
        let moved: Vec<Vec<f64>> = inputs.iter().zip(direction).map(moved).collect();
        let slices: Vec<&[f64]> = moved.iter().map(Vec::as_slice).collect();
        f.evaluate(&slices)[0][0]
    };
    (at(STEP) - at(-STEP)) / (2.0 * STEP)
}

#[test]
fn second_order_agrees_with_finite_differences_along_random_lines() {
    for path in zoo() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let case: Json =
            serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let model = Model::read(&std::fs::read(&path).unwrap()).unwrap();
        let f = bound(&model, case["rows"].as_u64().unwrap() as usize);
        let mut random = Random(9);
        let inputs: Vec<Vec<f64>> = f
            .inputs()
            .iter()
            .map(
                |port| match model.parameters().iter().find(|p| p.name == port.name) {
                    Some(parameter) => parameter.data.iter().map(|&x| f64::from(x)).collect(),
                    None => numbers(&case["inputs"][&port.name]),
                },
            )
            .collect();
        let (_, second) = first_and_second_order(&f, 3);
        let direction: Vec<Vec<f64>> = inputs
            .iter()
            .map(|x| random.tensor(x.len(), -1.0, 1.0))
            .collect();
        let slices: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let gradient = second.evaluate(&slices);
        let products = gradient[1..]
            .iter()
            .flatten()
            .zip(direction.iter().flatten())
            .map(|(g, d)| g * d);
        let (found, expected) = (products.sum::<f64>(), slope(&second, &inputs, &direction));
        let size = gradient[1..]
            .iter()
            .flatten()
            .map(|g| g * g)
            .sum::<f64>()
            .sqrt();
        assert!(
            (found - expected).abs() <= 1e-6 * size.max(1e-3),
            "{name}: {found} {expected}"
        );
    }
}
