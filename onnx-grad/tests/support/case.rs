//! Models of one node, and what is checked of each.

use super::*;
use onnx_grad::Model;

/// A model of one node.
#[derive(Default)]
pub struct Case {
    pub op: &'static str,
    pub label: String,
    pub opset: i64,
    /// Shape and range of each float input.
    pub inputs: Vec<(Vec<usize>, f64, f64)>,
    pub constants: Vec<TensorProto>,
    pub operands: Vec<String>,
    pub attributes: Vec<AttributeProto>,
    pub outputs: usize,
    /// Further results, which are no outputs of the model.
    pub unused: usize,
}

pub fn case(op: &'static str) -> Case {
    Case {
        op,
        label: op.to_owned(),
        opset: 18,
        outputs: 1,
        ..Default::default()
    }
}

impl Case {
    pub fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }
    pub fn input(self, shape: &[usize]) -> Self {
        self.input_in(shape, -2.0, 2.0)
    }
    pub fn input_in(mut self, shape: &[usize], low: f64, high: f64) -> Self {
        self.operands.push(format!("x{}", self.inputs.len()));
        self.label += &format!(" {shape:?}");
        self.inputs.push((shape.to_vec(), low, high));
        self
    }
    pub fn skip(mut self) -> Self {
        self.operands.push(String::new());
        self
    }
    pub fn constant(mut self, tensor: TensorProto) -> Self {
        self.operands.push(tensor.name().to_owned());
        self.constants.push(tensor);
        self
    }
    pub fn integers(self, list: &[i64]) -> Self {
        let name = format!("c{}", self.constants.len());
        self.constant(integers(&name, &[list.len()], list))
    }
    pub fn number(self, x: f64) -> Self {
        let name = format!("c{}", self.constants.len());
        self.constant(floats(&name, &[], &[x]))
    }
    pub fn int(mut self, name: &str, i: i64) -> Self {
        self.label += &format!(" {name}={i}");
        self.attributes.push(attribute_int(name, i));
        self
    }
    pub fn float(mut self, name: &str, x: f32) -> Self {
        self.attributes.push(attribute_float(name, x));
        self
    }
    pub fn ints(mut self, name: &str, list: &[i64]) -> Self {
        self.attributes.push(attribute_ints(name, list));
        self
    }
    pub fn string(mut self, name: &str, s: &str) -> Self {
        self.attributes.push(attribute_string(name, s));
        self
    }
    pub fn unused(mut self, count: usize) -> Self {
        self.unused = count;
        self
    }
    pub fn outputs(mut self, count: usize) -> Self {
        self.outputs = count;
        self
    }

    /// The model; the shapes of the outputs are known once it has been read.
    pub fn model(&self, output_shapes: &[Vec<usize>]) -> Vec<u8> {
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

    pub fn function(&self) -> (Function, Vec<u8>) {
        let unknown = vec![vec![]; self.outputs];
        let f = Model::read(&self.model(&unknown)).and_then(|model| model.function(&[]));
        let f = f.unwrap_or_else(|e| panic!("{}: {e}", self.label));
        let shapes: Vec<Vec<usize>> = f.outputs().iter().map(|port| port.shape.clone()).collect();
        (f, self.model(&shapes))
    }

    pub fn check(&self, seed: u64) {
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
pub fn check_all(cases: impl Fn(&mut Random) -> Vec<Case>) {
    for seed in 1..=4 {
        for case in cases(&mut Random(seed)) {
            case.check(seed);
        }
    }
}
