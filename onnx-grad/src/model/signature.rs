//! What torch notes about its own export: which stored tensors are parameters and which are buffers.

use crate::proto::{GraphProto, ModelProto};
use std::collections::BTreeSet;

const KEY: &str = "pkg.torch.export.ExportedProgram.graph_signature";

/// Names of stored tensors by their role in the module; empty if the exporter left no note.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Signature {
    pub parameters: BTreeSet<String>,
    pub buffers: BTreeSet<String>,
    /// True if the file lacks a parameter that the note lists: the exporter folded it, or merged it into an equal one.
    pub incomplete: bool,
}

impl Signature {
    /// Reads lines like `p_core_0_weight: PARAMETER target='core.0.weight'`.
    pub(super) fn read(file: &ModelProto, graph: &GraphProto) -> Self {
        let mut properties = graph.metadata_props.iter().chain(&file.metadata_props);
        let note = properties
            .find(|p| p.key() == KEY)
            .map_or("", |p| p.value());
        let mut signature = Signature::default();
        for line in note.lines() {
            let Some((_, role)) = line.split_once(": ") else {
                continue;
            };
            let Some(target) = role.split('\'').nth(1) else {
                continue;
            };
            match role.split_whitespace().next() {
                Some("PARAMETER") => signature.parameters.insert(target.to_owned()),
                Some("BUFFER") => signature.buffers.insert(target.to_owned()),
                _ => false,
            };
        }
        let stored: BTreeSet<&str> = graph
            .initializer
            .iter()
            .map(|tensor| tensor.name())
            .collect();
        signature.incomplete = signature
            .parameters
            .iter()
            .any(|name| !stored.contains(name.as_str()));
        signature
    }
}
