//! The gate: whatever the window holds, the parameters planned with are not worse than theta*, nor far from it.

mod support;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{Walker, robot, runtime, tick};
use surefoot::adapt::{Adapter, Effort};
use surefoot::log::schema::Decision;
use surefoot::model::{DynamicsModel, Parameters, Program, Runtime, derive};
use surefoot::robot::{AdaptSettings, Rule};
use surefoot::state::{Transition, Window};

/// Windows that are tried, clean and poisoned, each poisoned by its own seed.
const TRIALS: u64 = 1_000;
/// Transitions behind a window that it is judged on.
const HELD_OUT: usize = 16;

/// Samples of a robot, one tick apart: state, and the action applied until then.
struct Recording(Vec<(Vec<f32>, Vec<f32>)>);

impl Recording {
    /// A robot that walks under the loop's own commands.
    fn new(runtime: &Runtime, changes: &[&str], seed: u64, ticks: usize) -> Self {
        let robot = robot(Rule::OneStep);
        let mut tick = tick(runtime, &robot, seed);
        let walked = Walker::new(&robot, changes, seed).walk(&mut tick, ticks);
        let sample = |(input, outcome): (support::Input, surefoot::tick::Outcome)| {
            (outcome.record.state, input.applied)
        };
        Self(walked.into_iter().map(sample).collect())
    }

    fn window(&self, model: &DynamicsModel) -> Window {
        let contract = &model.contract;
        let (states, actions) = (contract.state.len(), contract.action.len());
        let mut window = Window::new(contract.adapt.window, states, actions, 100_000);
        for (index, (state, applied)) in self.0.iter().enumerate() {
            window.push(100_000 * index as u64, applied, state);
        }
        window
    }
}

/// Scores parameters on transitions that the window does not hold.
struct Judge(Program);

impl Judge {
    fn new(runtime: &Runtime, model: &DynamicsModel) -> Self {
        let errors = derive::errors(&model.onnx, &model.contract).unwrap();
        Self(Program::new(runtime, "errors", &errors, model.onnx.opset(), || 0).unwrap())
    }

    fn loss(&mut self, held_out: &Window, parameters: &Parameters) -> f32 {
        let program = &mut self.0;
        let fields: [fn(&Transition) -> &[f32]; 3] =
            [|t| &t.state, |t| &t.action, |t| &t.next_state];
        for (input, field) in fields.into_iter().enumerate() {
            let rows = held_out.transitions().flat_map(field);
            for (place, value) in program.input_mut(input).iter_mut().zip(rows) {
                *place = *value;
            }
        }
        program.set_parameters(3, parameters);
        program.run().unwrap();
        let errors = &program.output(0)[..held_out.len()];
        errors.iter().sum::<f32>() / errors.len() as f32
    }
}

/// Spoils up to a fifth of a window's transitions, in one of the ways in which sensors fail.
fn poison(samples: &mut [(Vec<f32>, Vec<f32>)], scales: &[f32], random: &mut ChaCha8Rng) {
    // A wrong sample spoils the transition into it and the one out of it.
    let most = (samples.len() - 1) / 10;
    let count = random.random_range(1..=most);
    match random.random_range(0..3) {
        0 => {
            for _ in 0..count {
                let at = random.random_range(0..samples.len());
                let (state, _) = &mut samples[at];
                let one = random.random_range(0..2 * scales.len());
                for (channel, value) in state.iter_mut().enumerate() {
                    if one == channel || one >= scales.len() {
                        let sign = if random.random_bool(0.5) { 1.0 } else { -1.0 };
                        *value += sign * random.random_range(10.0..100.0) * scales[channel];
                    }
                }
            }
        }
        // Stuck: samples that repeat the one before them.
        1 => {
            let start = random.random_range(1..samples.len() - 2 * count);
            let stuck = samples[start - 1].0.clone();
            for (state, _) in &mut samples[start..start + 2 * count - 1] {
                state.clone_from(&stuck);
            }
        }
        // Shifted in time: samples that are some ticks late.
        _ => {
            let late = random.random_range(1..5);
            let start = random.random_range(late..samples.len() - 2 * count);
            let old = samples.to_vec();
            for index in start..start + 2 * count - 1 {
                samples[index].0.clone_from(&old[index - late].0);
            }
        }
    }
}

/// Most that the error on the transitions behind a window may be, as a ratio to that of theta*.
const LARGEST_HARM: f32 = 1.05;

#[test]
fn no_window_makes_the_model_worse_than_theta_star() {
    let runtime = runtime();
    let model = support::model(&runtime);
    let scales = model.contract.scales();
    let length = model.contract.adapt.window + 1;
    let recordings = [&[][..], &["lose-middle-left@0s"], &["payload-10g-rear@0s"]]
        .map(|changes| Recording::new(&runtime, changes, 0, 200));
    let mut adapter = Adapter::new(&runtime, &model, &AdaptSettings::default(), || 0).unwrap();
    let mut judge = Judge::new(&runtime, &model);
    let mut adapted = 0;
    for trial in 0..TRIALS {
        let mut random = ChaCha8Rng::seed_from_u64(trial);
        let all = &recordings[random.random_range(0..recordings.len())].0;
        let start = random.random_range(0..all.len() - length - HELD_OUT);
        let (past, future) = all[start..start + length + HELD_OUT].split_at(length);
        let held_out = Recording(future.to_vec()).window(&model);
        let star = judge.loss(&held_out, &Parameters::new(&model.parameters()));
        let mut spoiled = past.to_vec();
        poison(&mut spoiled, &scales, &mut random);
        for past in [past.to_vec(), spoiled] {
            let window = Recording(past).window(&model);
            let (record, fault) = adapter.update(&window, true, Effort::Adapt);
            assert!(fault.is_none());
            adapted += usize::from(record.decision() == Decision::Adapted);
            let ratio = judge.loss(&held_out, adapter.parameters()) / star;
            assert!(ratio <= LARGEST_HARM, "trial {trial}: {ratio}, {record:?}");
        }
    }
    assert!(
        adapted > TRIALS as usize,
        "only {adapted} of {} windows were learned from",
        2 * TRIALS
    );
}

#[test]
fn a_divergent_step_never_moves_the_parameters_further_than_allowed() {
    let runtime = runtime();
    let recordings = [&["lose-middle-left@0s"][..], &["payload-20g-rear@0s"]]
        .map(|changes| Recording::new(&runtime, changes, 0, 60));
    let mut moved = 0;
    for factor in [1.0, 30.0, 1_000.0, 1e30] {
        let mut model = support::model(&runtime);
        for step in model.contract.adapt.steps.values_mut() {
            *step *= factor;
        }
        for rule in [Rule::OneStep, Rule::Continued] {
            let settings = AdaptSettings {
                rule,
                step_norm_limit: 1.0,
                ..AdaptSettings::default()
            };
            let mut adapter = Adapter::new(&runtime, &model, &settings, || 0).unwrap();
            let empty = Recording(Vec::new()).window(&model);
            let star = adapter
                .update(&empty, false, Effort::Adapt)
                .0
                .parameter_hash;
            for Recording(samples) in &recordings {
                for end in 2..samples.len() {
                    let start = end.saturating_sub(33);
                    let window = Recording(samples[start..end].to_vec()).window(&model);
                    let (record, fault) = adapter.update(&window, true, Effort::Adapt);
                    assert!(fault.is_none());
                    let distance = distance(adapter.parameters().values(), &model.parameters());
                    assert!(
                        distance <= 1.0 + 1e-5,
                        "{rule:?} x {factor}: {distance} from theta*, {record:?}"
                    );
                    if record.decision() == Decision::Adapted {
                        moved += 1;
                        let recorded = record.step_norm.unwrap();
                        assert!(
                            (f64::from(recorded) - distance).abs() < 1e-4,
                            "{recorded} {distance}"
                        );
                    } else {
                        assert_eq!(record.parameter_hash, star, "rolled back in the same tick");
                        assert_eq!(distance, 0.0);
                    }
                }
            }
        }
    }
    assert!(moved > 50, "{moved} steps were within the limit");
}

/// Euclidean distance between two sets of parameters; NaN when one is not finite.
fn distance(a: &[Vec<f32>], b: &[&[f32]]) -> f64 {
    let values = a.iter().flatten().zip(b.iter().copied().flatten());
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    values.map(square).sum::<f64>().sqrt()
}
