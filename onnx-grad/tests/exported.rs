//! Models as exporters write them.

mod support;

use onnx_grad::{Dim, Model};
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
