//! Where the native libraries are: ONNX Runtime and MuJoCo are loaded at run time, so that building needs neither.
//!
//! Search order: the environment variable, the folder beside the executable, `target/native` (of any folder above the
//! executable or the current folder; `cargo xtask setup` fills it), and last the system's own loader.

use std::cmp::Reverse;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

/// The path to load a library from.
///
/// `env_var` overrides everything when it is set and not empty, whether or not its file exists: a user's word is never
/// second-guessed. `stem` is the library's name without prefix and suffix, such as `"mujoco"`; versioned names such as
/// `libmujoco.so.3.17.0` match, and the newest version of a folder is taken. Where no file is found the bare name, such as
/// `libmujoco.so`, is returned, which the system's loader resolves or refuses.
pub fn find(env_var: &str, stem: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(env_var).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let executable = std::env::current_exe().ok();
    let current = std::env::current_dir().ok();
    let folders = folders(executable.as_deref(), current.as_deref());
    folders
        .iter()
        .find_map(|folder| newest(folder, stem))
        .unwrap_or_else(|| bare_name(stem).into())
}

/// The folders to look into, in order.
fn folders(executable: Option<&Path>, current: Option<&Path>) -> Vec<PathBuf> {
    let beside = executable.and_then(Path::parent);
    let above = beside
        .into_iter()
        .flat_map(Path::ancestors)
        .chain(current.into_iter().flat_map(Path::ancestors));
    beside
        .map(Path::to_path_buf)
        .into_iter()
        .chain(above.map(|folder| folder.join("target/native")))
        .collect()
}

/// The newest version of the library in a folder, if there is one.
fn newest(folder: &Path, stem: &str) -> Option<PathBuf> {
    let found = folder.read_dir().ok()?.filter_map(|entry| {
        let entry = entry.ok()?;
        let version = version(entry.file_name().to_str()?, stem)?;
        Some((version, entry.path()))
    });
    found
        .min_by_key(|(version, path)| (Reverse(version.clone()), path.clone()))
        .map(|(_, path)| path)
}

/// The version in a library's file name (empty where it has none), or `None` where the name is another library's.
///
/// Linux writes `libNAME.so.1.2.3`, macOS `libNAME.1.2.3.dylib`.
fn version(file_name: &str, stem: &str) -> Option<Vec<u32>> {
    let rest = file_name.strip_prefix(DLL_PREFIX)?.strip_prefix(stem)?;
    let (before, after) = rest.split_once(DLL_SUFFIX)?;
    let numbers = [before, after]
        .into_iter()
        .flat_map(|part| part.split('.').skip(1));
    if !(before.is_empty() || before.starts_with('.'))
        || !(after.is_empty() || after.starts_with('.'))
    {
        return None;
    }
    numbers.map(|number| number.parse().ok()).collect()
}

fn bare_name(stem: &str) -> String {
    format!("{DLL_PREFIX}{stem}{DLL_SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_the_executable_comes_before_target_native() {
        let folders = folders(
            Some(Path::new("/a/target/release/surefoot")),
            Some(Path::new("/b/c")),
        );
        let expected = [
            "/a/target/release",
            "/a/target/release/target/native",
            "/a/target/target/native",
            "/a/target/native",
            "/target/native",
            "/b/c/target/native",
            "/b/target/native",
            "/target/native",
        ];
        assert_eq!(folders, expected.map(PathBuf::from));
    }

    #[test]
    fn the_newest_version_of_the_right_library_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let name = |version: &str| format!("{}{version}", bare_name("mujoco"));
        for file in [
            &name(".3.9.0"),
            &name(".3.17.0"),
            &name(".txt"),
            &bare_name("mujoco_plugin"),
        ] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(
            newest(folder.path(), "mujoco"),
            Some(folder.path().join(name(".3.17.0")))
        );
        assert_eq!(newest(folder.path(), "onnxruntime"), None);
    }
}
