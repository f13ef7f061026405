//! The native libraries: which versions and files are pinned, and whether they are in place.
//!
//! They are put into `target/native` of the workspace, wherever `CARGO_TARGET_DIR` points: the runtime looks there from any
//! folder below the workspace.

use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::fetch;

/// A library that is loaded at run time, published as a Python wheel for each platform.
pub struct Library {
    /// The wheel's package name.
    pub package: &'static str,
    /// The pinned version.
    pub version: &'static str,
    /// The environment variable that names another file to use.
    pub override_var: &'static str,
    /// The wheel's licence and notice files, kept beside the library.
    pub notices: &'static [&'static str],
    builds: &'static [Build],
}

/// One platform's wheel of a library.
pub struct Build {
    os: &'static str,
    arch: &'static str,
    /// The platform tag that pip is asked for; the wheel's own may be an older one that this platform runs too.
    pub tag: &'static str,
    /// SHA-256 of the wheel.
    pub wheel_sha256: &'static str,
    /// The library's path in the wheel.
    pub member: &'static str,
    /// SHA-256 of the library.
    pub sha256: &'static str,
}

/// The CPython version whose wheels are pinned, whichever one pip runs on: the library is the same in each.
pub const PYTHON: &str = "3.12";

const LIBRARIES: [Library; 2] = [
    Library {
        package: "onnxruntime",
        version: "1.31.1",
        override_var: "ORT_DYLIB_PATH",
        notices: &["onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"],
        builds: &[
            Build {
                os: "linux",
                arch: "x86_64",
                tag: "manylinux_2_28_x86_64",
                wheel_sha256: "1f3dea47f2f0e5117c2404cea7d21fd253ae7836a3bf167a501cdfbb2600d536",
                member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
                sha256: "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
            },
            Build {
                os: "linux",
                arch: "aarch64",
                tag: "manylinux_2_28_aarch64",
                wheel_sha256: "0b9a492176886992e0e875f06bc0367e333f5fff11711a2d642e18b02f3009cc",
                member: "onnxruntime/capi/libonnxruntime.so.1.31.1",
                sha256: "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
            },
            Build {
                os: "macos",
                arch: "aarch64",
                tag: "macosx_14_0_arm64",
                wheel_sha256: "96dd2564b10ea7153ad9c207e7cd8e5917cb3ba521e0e0a62ac03486fdc8d56c",
                member: "onnxruntime/capi/libonnxruntime.1.31.1.dylib",
                sha256: "d586cbe89effc085a09d3341b3cfbd5c322517f9d397aeb20814af21433f2b36",
            },
        ],
    },
    Library {
        package: "mujoco",
        version: "3.17.0",
        override_var: "MUJOCO_DYLIB_PATH",
        notices: &[
            "mujoco-3.17.0.dist-info/licenses/LICENSE",
            "mujoco-3.17.0.dist-info/licenses/LICENSES_THIRD_PARTY.md",
        ],
        builds: &[
            Build {
                os: "linux",
                arch: "x86_64",
                tag: "manylinux_2_28_x86_64",
                wheel_sha256: "42371356efe53a5f5f73ed03fcb967bdf04048017f80e2fca01e71a360e42da2",
                member: "mujoco/libmujoco.so.3.17.0",
                sha256: "23496b023ee80fb61ab71167e94bc649f9941710fde96b18bb8204fb332523ad",
            },
            Build {
                os: "linux",
                arch: "aarch64",
                tag: "manylinux_2_28_aarch64",
                wheel_sha256: "525e09a00ecd964f06582773d9eeb03bb0e5a1675edf296a6868024759b3b235",
                member: "mujoco/libmujoco.so.3.17.0",
                sha256: "e2edd0204fb9229f75f332a4fcd1a32345bb9f90651dc0fddfa20ec0670db789",
            },
            Build {
                os: "macos",
                arch: "aarch64",
                tag: "macosx_14_0_arm64",
                wheel_sha256: "c677ab789299db70ca3fffe96b44a424bdad516cc87cc2a83898140923c2e91e",
                member: "mujoco/libmujoco.3.17.0.dylib",
                sha256: "454d51fa639100018579716bd68e61285e9b53c9241b029680d82dec95bc8d53",
            },
        ],
    },
];

/// Puts every library in place and says where each one is, on standard error.
///
/// # Errors
/// A library that is neither there nor fetchable; the message says what to do by hand.
pub fn setup(root: &Path) -> Result<()> {
    let folder = root.join("target/native");
    for library in &LIBRARIES {
        let path = library.provide(&folder)?;
        eprintln!(
            "{} {}: {}",
            library.package,
            library.version,
            path.display()
        );
    }
    Ok(())
}

impl Library {
    /// The path of the library to use: the user's own, or the pinned one in `folder`, fetched where it is not there yet.
    fn provide(&self, folder: &Path) -> Result<PathBuf> {
        if let Some(path) = std::env::var_os(self.override_var).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            ensure!(
                path.is_file(),
                "{} names {}, which is not a file",
                self.override_var,
                path.display()
            );
            return Ok(path);
        }
        let build = self.build(OS, ARCH)?;
        let path = folder.join(file_name(build.member));
        if !path.is_file() || fetch::sha256(&path)? != build.sha256 {
            eprintln!("fetching {} {} …", self.package, self.version);
            fetch::install(self, build, folder).with_context(|| self.by_hand(build, &path))?;
        }
        Ok(path)
    }

    /// The build for a platform, in the words of [`std::env::consts`].
    fn build(&self, os: &str, arch: &str) -> Result<&Build> {
        let mut builds = self.builds.iter();
        builds
            .find(|build| build.os == os && build.arch == arch)
            .with_context(|| {
                format!(
                    "no build of {} is pinned for {os} {arch}: get its version {} for this platform and set {} to the \
                     library's path",
                    self.package, self.version, self.override_var
                )
            })
    }

    fn by_hand(&self, build: &Build, path: &Path) -> String {
        format!(
            "could not fetch {package} {version}.\n\
             By hand: get the wheel of {package} {version} for CPython {PYTHON} and {tag} from the Python package index, \
             unzip it, and copy its {member} to {path}; or set {var} to a library that you have.\n\
             The cause",
            package = self.package,
            version = self.version,
            tag = build.tag,
            member = build.member,
            path = path.display(),
            var = self.override_var,
        )
    }
}

/// The last part of a path inside a wheel.
pub fn file_name(member: &str) -> &str {
    member.rsplit_once('/').map_or(member, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_gets_its_own_build_of_each_library() {
        for library in &LIBRARIES {
            for (os, arch, tag, suffix) in [
                ("linux", "x86_64", "manylinux_2_28_x86_64", ".so."),
                ("linux", "aarch64", "manylinux_2_28_aarch64", ".so."),
                ("macos", "aarch64", "macosx_14_0_arm64", ".dylib"),
            ] {
                let build = library.build(os, arch).unwrap();
                assert_eq!(build.tag, tag);
                assert!(build.member.contains(suffix), "{}", build.member);
                assert!(build.member.contains(library.version));
            }
        }
    }

    #[test]
    fn a_platform_without_a_build_is_told_what_to_do() {
        let error = LIBRARIES[0].build("linux", "riscv64").err().unwrap();
        assert_eq!(
            error.to_string(),
            "no build of onnxruntime is pinned for linux riscv64: get its version 1.31.1 for this platform and set \
             ORT_DYLIB_PATH to the library's path"
        );
    }
}
