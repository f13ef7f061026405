//! The rule of dependency: the steps of a tick do not know each other, only `tick` composes them, and what drives it stands above.

use std::collections::BTreeSet;
use std::path::Path;

/// A module and the modules that it may use. `hash`, `native`, `robot` and the log's messages are below all of them.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("link", &["guard"]),
    ("state", &[]),
    ("model", &["hash", "native", "robot"]),
    ("adapt", &["log", "model", "robot", "state"]),
    ("plan", &["model", "robot"]),
    ("guard", &["log", "robot"]),
    ("sim", &["native"]),
    ("log", &["hash"]),
    (
        "tick",
        &["adapt", "guard", "log", "model", "plan", "robot", "state"],
    ),
];

/// The modules of this crate that the code of a file or folder names, its comments aside.
fn used(path: &Path, found: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            used(&entry.unwrap().path(), found);
        }
        return;
    }
    let text = std::fs::read_to_string(path).unwrap_or_default();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
    {
        let names = line.split("crate::").skip(1);
        let name = |rest: &str| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .map(String::from)
        };
        found.extend(names.filter_map(name));
    }
}

#[test]
fn no_module_uses_another_than_it_may() {
    for (module, allowed) in MAY_USE {
        let mut found = BTreeSet::new();
        let path = Path::new("src").join(module);
        used(
            &if path.is_dir() {
                path
            } else {
                path.with_extension("rs")
            },
            &mut found,
        );
        found.remove(module);
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        let more: Vec<_> = found.difference(&allowed).collect();
        assert!(more.is_empty(), "src/{module} uses {more:?}");
    }
}
