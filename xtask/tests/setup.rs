//! `cargo xtask setup` against what a machine can be like, with the real python3 and pip but no network.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// `xtask setup` in an empty workspace, with a folder of wheels as pip's only source.
fn setup(root: &Path, wheels: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .arg("setup")
        .env("CARGO_MANIFEST_DIR", root.join("xtask"))
        .env("PIP_NO_INDEX", "1")
        .env("PIP_FIND_LINKS", wheels)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("MUJOCO_DYLIB_PATH");
    command
}

/// Standard error of a run that must have failed.
fn refusal(output: Output) -> String {
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

/// A wheel that pip accepts, under the name of the pinned one, with something else inside.
const FORGE: &str = "
import sys, zipfile
name = sys.argv[1] + '/onnxruntime-1.31.1-py3-none-any.whl'
with zipfile.ZipFile(name, 'w') as wheel:
    info = 'onnxruntime-1.31.1.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: onnxruntime\\nVersion: 1.31.1\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
    wheel.writestr('onnxruntime/capi/libonnxruntime.so.1.31.1', 'not the library')
";

#[test]
fn a_wheel_that_is_not_the_pinned_one_is_refused_and_removed() {
    let (root, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut forge = Command::new("python3");
    forge.args(["-c", FORGE]).arg(wheels.path());
    assert!(forge.status().unwrap().success());

    let message = refusal(setup(root.path(), wheels.path()).output().unwrap());
    let sum = Command::new("python3")
        .args(["-c", "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())"])
        .arg(wheels.path().join("onnxruntime-1.31.1-py3-none-any.whl"))
        .output()
        .unwrap();
    let actual = String::from_utf8(sum.stdout).unwrap();
    let says = |words: &str| assert!(message.contains(words), "no `{words}` in: {message}");
    says("onnxruntime-1.31.1-py3-none-any.whl is not the pinned file and was removed");
    says(&format!("its SHA-256 is {}, expected ", actual.trim()));
    says("By hand: ");
    assert!(is_empty(&root.path().join("target/native")));
}

#[test]
fn without_network_it_says_what_pip_said_and_what_to_do_by_hand() {
    let (root, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let message = refusal(setup(root.path(), wheels.path()).output().unwrap());
    for words in [
        "could not fetch onnxruntime 1.31.1",
        "By hand: ",
        "ORT_DYLIB_PATH",
        "No matching distribution found for onnxruntime==1.31.1",
    ] {
        assert!(message.contains(words), "no `{words}` in: {message}");
    }
    assert!(is_empty(&root.path().join("target/native")));
}

#[test]
fn without_python_it_says_that_python_is_missing() {
    let (root, path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut setup = setup(root.path(), path.path());
    let message = refusal(setup.env("PATH", path.path()).output().unwrap());
    assert!(message.contains("python3 was not found"), "{message}");
    assert!(message.contains("By hand: "), "{message}");
}

#[test]
fn a_library_of_the_users_own_is_used_and_nothing_is_fetched() {
    let (root, wheels) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let own = root.path().join("own.so");
    fs::write(&own, "").unwrap();
    let mut setup = setup(root.path(), wheels.path());
    setup
        .env("ORT_DYLIB_PATH", &own)
        .env("MUJOCO_DYLIB_PATH", &own);
    assert!(setup.status().unwrap().success());
    assert!(!root.path().join("target").exists());

    let absent = root.path().join("absent.so");
    let message = refusal(setup.env("MUJOCO_DYLIB_PATH", &absent).output().unwrap());
    let expected = format!(
        "MUJOCO_DYLIB_PATH names {}, which is not a file",
        absent.display()
    );
    assert!(message.contains(&expected), "{message}");
}
