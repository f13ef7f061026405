//! Meta-training in small: from simulated robots and from logs, repeatable to the bit, also when it is interrupted.

mod support;

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use support::{record, roach, robot, runtime};
use surefoot::model::DynamicsModel;
use surefoot::robot::Rule;
use surefoot::train::{Progress, Trained, train};

/// The shipped recipe in small; its paths are absolute, so that it can lie anywhere.
fn recipe(folder: &Path) -> PathBuf {
    let text = format!(
        r#"
robot = "{robot}"
seed = 5
[network]
state = ["x", "y", "yaw", "v_forward", "v_lateral", "yaw_rate", "leg_left", "leg_right"]
pose = ["x", "y", "yaw"]
angles = ["leg_left", "leg_right"]
hidden = [16]
activation = "tanh"
[simulation]
scene = "{scene}"
episodes = 16
episode_s = 4.0
terrains = ["carpet"]
upright_limit_rad = 1.2
upright = ["roll", "pitch"]
[[simulation.group]]
probability = 0.8
changes = ["lose-front-left", "lose-rear-right", "slow-left", "fast-right"]
[meta]
window = 8
future = 4
steps = 2
tasks = 8
updates = 120
learning_rate = 1e-2
inner_step = 0.1
inner_step_learning_rate = 1e-2
validation = 0.25
validate_every = 30
patience = 9
"#,
        robot = roach("robot.toml").display(),
        scene = roach("sim.toml").display(),
    );
    let path = folder.join("recipe.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn trained(recipe: &Path, logs: &[PathBuf], output: &Path, threads: usize) -> Trained {
    train(recipe, logs, output, threads, &|_| ()).unwrap()
}

/// The file is what was said, its contract is the robot's, and its self-check holds.
fn assert_usable(output: &Path, trained: &Trained) {
    let model = DynamicsModel::load(output, &runtime()).unwrap();
    assert_eq!(model.sha256, trained.model_sha256);
    assert_eq!(model.contract.adapt.window, 8);
    assert_eq!(model.contract.adapt.steps.len(), model.parameters().len());
    let indices = model.check_robot(&robot(Rule::OneStep)).unwrap();
    assert_eq!(indices, [0, 1, 5, 6, 7, 10, 11, 12]);
    let (before, after) = (trained.validation.before, trained.validation.after);
    assert!(after < before, "validation loss {before} -> {after}");
}

#[test]
fn a_recipe_gives_a_model_that_adapts_and_always_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let [first, second] = ["first.onnx", "second.onnx"].map(|name| folder.path().join(name));
    let once = trained(&recipe, &[], &first, 1);
    assert_eq!(once.updates, 120);
    assert!(once.validation.after < 1.0, "{:?}", once.validation);
    assert_usable(&first, &once);
    trained(&recipe, &[], &second, 2);
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap());
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 3, "nothing but the recipe and the models is left");
}

/// Trains until an update is done, and is then torn out of it.
fn interrupt(recipe: &Path, output: &Path, at: usize) {
    struct Interrupted;
    let interrupt = |progress: Progress| {
        if matches!(progress, Progress::Update { update, .. } if update == at) {
            resume_unwind(Box::new(Interrupted));
        }
    };
    let training = || train(recipe, &[], output, 2, &interrupt);
    let end = catch_unwind(AssertUnwindSafe(training)).unwrap_err();
    assert!(end.is::<Interrupted>());
}

/// Trains to the end, and returns the first update that was still to do.
fn first_update(recipe: &Path, output: &Path) -> usize {
    let first = OnceLock::new();
    let note = |progress: Progress| {
        if let Progress::Update { update, .. } = progress {
            first.get_or_init(|| update);
        }
    };
    train(recipe, &[], output, 2, &note).unwrap();
    first.into_inner().unwrap()
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let [whole, resumed] = ["whole.onnx", "resumed.onnx"].map(|name| folder.path().join(name));
    trained(&recipe, &[], &whole, 2);

    for at in [40, 100] {
        interrupt(&recipe, &resumed, at);
        assert!(!resumed.exists(), "half a model is none");
    }
    let first = first_update(&recipe, &resumed);
    assert_eq!(first, 91, "it goes on behind its last validation");
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&resumed).unwrap());
}

#[test]
fn a_killed_training_goes_on_when_the_command_is_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let [whole, resumed] = ["whole.onnx", "resumed.onnx"].map(|name| folder.path().join(name));
    let expected = trained(&recipe, &[], &whole, 2);

    let mut command = Command::new(env!("CARGO_BIN_EXE_surefoot"));
    command.arg("train").arg(&recipe).arg("--out").arg(&resumed);
    let mut killed = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(killed.stderr.take().unwrap()).lines();
    let validation = |line: &std::io::Result<String>| {
        line.as_ref()
            .is_ok_and(|line| line.contains("updates: validation"))
    };
    let second = said.by_ref().filter(validation).nth(1);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(second.is_some() && !resumed.exists());

    let output = command.arg("--json").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json, serde_json::to_value(&expected).unwrap());
    for key in ["model_sha256", "updates", "transitions"] {
        assert!(!json[key].is_null(), "{key}");
    }
    assert!(json["validation"]["before"].as_f64() > json["validation"]["after"].as_f64());
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&resumed).unwrap());
}

#[test]
fn another_recipe_does_not_go_on_with_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let output = folder.path().join("model.onnx");
    interrupt(&recipe, &output, 31);
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace("seed = 5", "seed = 6")).unwrap();
    assert_eq!(first_update(&recipe, &output), 1);
}

#[test]
fn logs_are_trained_from_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let changes: [&[&str]; 6] = [
        &[],
        &["lose-front-left@0s"],
        &["lose-rear-right@0s"],
        &["slow-left@0s"],
        &["fast-right@0s"],
        &["lose-front-left@0s"],
    ];
    let mut logs = Vec::new();
    for (seed, changes) in changes.into_iter().enumerate() {
        let log = folder.path().join(format!("{seed}.mcap"));
        record(Rule::OneStep, changes, seed as u64, 60, &log);
        logs.push(log);
    }
    let output = folder.path().join("model.onnx");
    let trained = trained(&recipe, &logs, &output, 2);
    // Of every four runs one is kept for validation.
    assert_eq!(trained.transitions, 5 * 59);
    assert_usable(&output, &trained);
}
