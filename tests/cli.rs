//! Bad input to every verb: one clear message that names the thing and the remedy, no panic, nothing on standard output.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use onnx_grad::proto::ModelProto;
use prost::Message;
use serialport::TTYPort;
use support::{roach, scene};
use surefoot::sim::{Pace, SimulatedRobot, Simulation};
use surefoot_wire::Mode;

/// Runs `surefoot` with arguments that are separated by spaces, `@/` standing for the folder.
fn surefoot(folder: &Path, arguments: &str, environment: &[(&str, &str)]) -> Output {
    let arguments = arguments.replace("@/", &format!("{}/", folder.display()));
    Command::new(env!("CARGO_BIN_EXE_surefoot"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(arguments.split_whitespace())
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// Asserts that a command is refused with an exit code, and returns what it said.
fn refused(folder: &Path, arguments: &str, environment: &[(&str, &str)], code: i32) -> String {
    let output = surefoot(folder, arguments, environment);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
    assert!(!said.contains("panicked"), "{arguments}: {said}");
    assert!(output.stdout.is_empty(), "{arguments}");
    said
}

/// Asserts that a command fails with one line that holds all of `parts`.
fn fails(folder: &Path, arguments: &str, parts: &[&str]) {
    fails_with(folder, arguments, &[], parts);
}

fn fails_with(folder: &Path, arguments: &str, environment: &[(&str, &str)], parts: &[&str]) {
    let said = refused(folder, arguments, environment, 1);
    assert_eq!(said.lines().count(), 1, "{arguments}: {said}");
    assert!(said.starts_with("surefoot: "), "{said}");
    assert_parts(arguments, &said, parts);
}

/// Every part stands in the text, the first of them once.
fn assert_parts(arguments: &str, said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{arguments}: no {part:?} in {said}");
    }
    assert_eq!(said.matches(parts[0]).count(), 1, "{arguments}: {said}");
}

/// A folder to write bad files into.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

const RUN: &str = "run models/roach/robot.toml --port /dev/none --model @/model.onnx";

/// A file that is not TOML as it should be: the place stands in the message, with a caret.
fn points(arguments: &str, file: &str, text: &str, parts: &[&str]) {
    let folder = folder();
    write(folder.path(), file, text);
    let said = refused(folder.path(), arguments, &[], 1);
    assert!(said.contains(file), "{said}");
    assert_parts(arguments, &said, parts);
    assert!(
        said.lines()
            .any(|line| line.trim_matches([' ', '|', '^']).is_empty() && line.contains('^'))
    );
}

#[test]
fn a_wrong_key_is_shown_with_its_place() {
    let robot = std::fs::read_to_string(roach("robot.toml")).unwrap();
    let wrong = robot.replace("rate_hz = 10.0", "rate_hz = 10.0\nrat_hz = 3");
    let line = 1 + wrong.lines().position(|line| line == "rat_hz = 3").unwrap();
    let place = format!("line {line}, column 1");
    points(
        "run @/robot.toml",
        "robot.toml",
        &wrong,
        &[&place, "unknown field `rat_hz`", "`rate_hz`"],
    );
    let wrong = robot.replace("rate_hz = 10.0", "rate_hz = \"fast\"");
    points(
        "run @/robot.toml",
        "robot.toml",
        &wrong,
        &["invalid type", "expected f64"],
    );
    points(
        "train @/recipe.toml --out @/m.onnx",
        "recipe.toml",
        "sead = 1\n",
        &["line 1, column 1", "`sead`", "`seed`"],
    );
    points(
        "sim @/sim.toml",
        "sim.toml",
        "scene = [\n",
        &["sim.toml", "line 1"],
    );
}

#[test]
fn a_wrong_value_is_named_with_what_is_allowed() {
    let folder = folder();
    let robot = std::fs::read_to_string(roach("robot.toml")).unwrap();
    for (from, to, parts) in [
        (
            "rate_hz = 10.0",
            "rate_hz = -1.0",
            ["rate_hz is -1", "between 0.5 and 1000"],
        ),
        (
            "lifetime_ms = 250",
            "lifetime_ms = 20",
            ["link.lifetime_ms is 20", "ticks (150 ms)"],
        ),
        (
            "candidates = 500",
            "candidates = 0",
            ["plan.candidates is 0", "2 to 100000"],
        ),
        ("max = 60.0", "max = nan", ["left_speed", "must be"]),
        (
            "yaw = \"yaw\"",
            "yaw = \"jaw\"",
            ["path.yaw is 'jaw'", "[[observation]]"],
        ),
    ] {
        write(folder.path(), "robot.toml", robot.replacen(from, to, 1));
        fails(folder.path(), "run @/robot.toml", &parts);
    }
}

#[test]
fn missing_files_are_named() {
    let folder = folder();
    let none = folder.path();
    let file = |name: &str| none.join(name).display().to_string();
    let robot = file("robot.toml");
    fails(
        none,
        "run @/robot.toml",
        &[&robot, "No such file", "models/roach/robot.toml"],
    );
    fails(none, "demo --robot @/robot.toml", &[&robot, "No such file"]);
    fails(
        none,
        RUN,
        &[&file("model.onnx"), "No such file", "surefoot train"],
    );
    fails(
        none,
        "inspect @/model.onnx",
        &[&file("model.onnx"), "No such file"],
    );
    fails(
        none,
        "replay @/run.mcap",
        &[&file("run.mcap"), "No such file"],
    );
    fails(none, "sim @/sim.toml", &[&file("sim.toml"), "No such file"]);
    fails(
        none,
        "train @/r.toml --out @/m.onnx",
        &[&file("r.toml"), "No such file", "models/roach/recipe.toml"],
    );
    let recipe = "train models/roach/recipe.toml @/run.mcap --out @/m.onnx";
    fails(none, recipe, &[&file("run.mcap"), "No such file"]);
}

#[test]
fn a_truncated_model_is_refused_at_every_length() {
    let folder = folder();
    let model = std::fs::read(roach("model.onnx")).unwrap();
    let last = model.len() - 1;
    for length in [
        0,
        1,
        10,
        1_000,
        last / 2,
        last - 2_000,
        last - 200,
        last - 10,
        last,
    ] {
        let path = write(folder.path(), "model.onnx", &model[..length]);
        let path = path.display().to_string();
        fails(folder.path(), RUN, &[&path, "copy or export it again"]);
        fails(
            folder.path(),
            "inspect @/model.onnx",
            &[&path, "copy or export it again"],
        );
    }
}

/// The shipped model with other metadata.
fn with_metadata(key: &str, change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let model = onnx_grad::Model::read(&std::fs::read(roach("model.onnx")).unwrap()).unwrap();
    let value = change(&model.metadata()[key]);
    let metadata = BTreeMap::from([(key.to_owned(), value)]);
    resealed(&model.write(&BTreeMap::new(), &metadata).unwrap())
}

/// A model that was edited on purpose, with a seal that fits.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    surefoot::model::sealed(&onnx_grad::Model::read(bytes).unwrap()).unwrap()
}

#[test]
fn a_model_for_something_else_is_refused_with_what_differs() {
    let folder = folder();
    let unit = |state: &str| state.replacen("rad/s", "deg/s", 1);
    let cases: [(Vec<u8>, &[&str]); 5] = [
        (
            with_metadata("surefoot.robot", |_| "\"ghost\"".into()),
            &["not for this robot", "'ghost'", "'roach'"],
        ),
        (
            with_metadata("surefoot.period_s", |_| "0.05".into()),
            &["not for this robot", "0.05 s", "rate_hz = 10"],
        ),
        (
            with_metadata("surefoot.state", unit),
            &["not for this robot", "'yaw_rate'", "deg/s", "rad/s"],
        ),
        (
            with_metadata("surefoot.action", |action| {
                action.replace("left_speed", "tail")
            }),
            &["not for this robot", "'tail'", "'left_speed'"],
        ),
        (
            with_metadata("surefoot.version", |_| "9".into()),
            &["surefoot.version", "is 9, this program reads 1"],
        ),
    ];
    for (model, parts) in cases {
        write(folder.path(), "model.onnx", model);
        fails(folder.path(), RUN, parts);
    }
}

#[test]
fn a_model_that_computes_something_else_than_its_author_saw_is_refused() {
    let folder = folder();
    let model = onnx_grad::Model::read(&std::fs::read(roach("model.onnx")).unwrap()).unwrap();
    let first = &model.parameters()[0];
    let mut data = first.data.clone();
    data.iter_mut().for_each(|value| *value *= 1.5);
    let other = BTreeMap::from([(first.name.as_str(), data)]);
    let model = model.write(&other, &BTreeMap::new()).unwrap();
    write(folder.path(), "model.onnx", resealed(&model));
    fails(folder.path(), RUN, &["self-check", "the file is damaged"]);
}

#[test]
fn an_operator_without_a_rule_is_named_with_its_node() {
    let folder = folder();
    let mut model = ModelProto::decode(&std::fs::read(roach("model.onnx")).unwrap()[..]).unwrap();
    let nodes = &mut model.graph.as_mut().unwrap().node;
    let node = nodes
        .iter_mut()
        .find(|node| node.op_type() == "Tanh")
        .unwrap();
    node.op_type = Some("Hardmax".into());
    let name = format!("node '{}' (Hardmax)", node.name());
    let path = write(folder.path(), "model.onnx", model.encode_to_vec());
    let path = path.display().to_string();
    fails(
        folder.path(),
        RUN,
        &[&path, &name, "no gradient rule", "express it"],
    );
    fails(
        folder.path(),
        "inspect @/model.onnx",
        &[&path, &name, "no gradient rule"],
    );
}

#[test]
fn a_model_without_a_contract_is_told_where_to_get_one() {
    let folder = folder();
    let mut model = ModelProto::decode(&std::fs::read(roach("model.onnx")).unwrap()[..]).unwrap();
    model.metadata_props.clear();
    let path = write(folder.path(), "model.onnx", model.encode_to_vec());
    let path = path.display().to_string();
    fails(
        folder.path(),
        RUN,
        &[
            &path,
            "no `surefoot.version` in its metadata",
            "surefoot train",
        ],
    );
}

#[test]
fn a_missing_library_is_named_with_how_to_get_it() {
    let folder = folder();
    let robot = "run models/roach/robot.toml --port /dev/none";
    let nowhere = folder
        .path()
        .join("libonnxruntime.so")
        .display()
        .to_string();
    let ort = [("ORT_DYLIB_PATH", nowhere.as_str())];
    fails_with(
        folder.path(),
        robot,
        &ort,
        &[&nowhere, "cargo xtask setup", "ORT_DYLIB_PATH"],
    );
    let nowhere = write(folder.path(), "libmujoco.so", "no library")
        .display()
        .to_string();
    let mujoco = [("MUJOCO_DYLIB_PATH", nowhere.as_str())];
    fails_with(
        folder.path(),
        "sim",
        &mujoco,
        &[&nowhere, "cargo xtask setup", "MUJOCO_DYLIB_PATH"],
    );
}

#[test]
fn ports_that_are_none_are_named() {
    let folder = folder();
    let run = "run models/roach/robot.toml --port";
    fails(
        folder.path(),
        &format!("{run} /dev/none"),
        &["/dev/none", "no such port", "plug in"],
    );
    let file = write(folder.path(), "file", "").display().to_string();
    fails(
        folder.path(),
        &format!("{run} {file}"),
        &[&file, "serial port"],
    );
}

fn simulation() -> Simulation {
    let robot = SimulatedRobot::new(&scene(), None, &[], 0).unwrap();
    Simulation::start(robot, Pace::LockStep).unwrap()
}

#[test]
fn a_busy_port_is_named_with_who_to_ask() {
    let (folder, simulation) = (folder(), simulation());
    let port = simulation.port().display().to_string();
    let other = TTYPort::open(&serialport::new(&port, 1_000_000)).unwrap();
    let run = format!("run models/roach/robot.toml --lock-step --port {port}");
    let busy = format!("{port}: another program has it open");
    fails(folder.path(), &run, &[&busy, "stop that program"]);
    drop(other);
    simulation.finish().unwrap();
}

#[test]
fn a_log_is_never_overwritten_and_the_robot_not_armed_without_one() {
    let (folder, simulation) = (folder(), simulation());
    let log = write(folder.path(), "run.mcap", "precious");
    let port = simulation.port().display().to_string();
    let run = format!("run models/roach/robot.toml --lock-step --port {port} --log @/run.mcap");
    let path = log.display().to_string();
    fails(
        folder.path(),
        &run,
        &[&path, "File exists", "choose a new name"],
    );
    assert_eq!(std::fs::read(&log).unwrap(), b"precious");
    let outcome = simulation.finish().unwrap();
    assert!(outcome.modes.iter().all(|(_, mode)| *mode != Mode::Armed));
}

#[test]
fn what_is_no_log_is_not_replayed() {
    let folder = folder();
    let path = write(folder.path(), "run.mcap", "no log")
        .display()
        .to_string();
    fails(
        folder.path(),
        "replay @/run.mcap",
        &[&path, "not an MCAP file"],
    );
    let recipe = "train models/roach/recipe.toml @/run.mcap --out @/m.onnx";
    fails(folder.path(), recipe, &[&path, "not an MCAP file"]);
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let folder = folder();
    fails(
        folder.path(),
        "sim --terrain ice",
        &["terrain `ice`", "carpet", "turf"],
    );
    fails(
        folder.path(),
        "sim --change melt@2s",
        &["change `melt`", "lose-middle-left"],
    );
    fails(
        folder.path(),
        "sim --lose tail@2s",
        &["change `lose-tail`", "lose-middle-left"],
    );
    fails(
        folder.path(),
        "demo --terrain ice --out @/demo",
        &["terrain `ice`", "carpet"],
    );
}

#[test]
fn a_wrong_command_line_is_told_what_is_right() {
    let folder = folder();
    for (arguments, parts) in [
        (
            "run models/roach/robot.toml --rule magic",
            ["'magic'", "none, one_step, continued"],
        ),
        (
            "sim --lose middle-left",
            ["'middle-left'", "lose-middle-left@4s"],
        ),
        (
            "demo --change melt@soon",
            ["'melt@soon'", "NAME@TIME with a unit"],
        ),
        ("demo --seeds 0", ["'0'", "--seeds"]),
        ("replay", ["<LOG>", "--help"]),
        ("walk", ["'walk'", "--help"]),
    ] {
        let said = refused(folder.path(), arguments, &[], 2);
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}
