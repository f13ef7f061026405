//! Tensors that exporters put in a file beside the model.

use crate::error::Error;
use crate::proto::{GraphProto, TensorProto, tensor_proto::DataLocation};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Reads a file whole.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|e| Error::File {
        path: path.to_owned(),
        kind: e.kind(),
    })
}

/// Moves what lies in side files within `folder` into the graph.
pub(super) fn load(graph: &mut GraphProto, folder: &Path) -> Result<(), Error> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    for tensor in &mut graph.initializer {
        if tensor.data_location() != DataLocation::External {
            continue;
        }
        let path = folder.join(location(tensor)?);
        let bytes = match files.entry(path) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let bytes = read_file(entry.key())?;
                entry.insert(bytes)
            }
        };
        let range = range(tensor, bytes.len())?;
        tensor.raw_data = Some(bytes[range].to_vec());
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor
        .external_data
        .iter()
        .find(|entry| entry.key() == key)
        .map(|entry| entry.value())
}

fn fault(tensor: &TensorProto, reason: &'static str) -> Error {
    Error::Initializer {
        name: tensor.name().to_owned(),
        reason,
    }
}

/// The side file's path: below the model's folder, never elsewhere.
fn location(tensor: &TensorProto) -> Result<&Path, Error> {
    let path = Path::new(entry(tensor, "location").unwrap_or(""));
    let below = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match below && path.components().next().is_some() {
        true => Ok(path),
        false => Err(fault(
            tensor,
            "its side file is not below the model's folder",
        )),
    }
}

fn range(tensor: &TensorProto, size: usize) -> Result<std::ops::Range<usize>, Error> {
    let number = |key, default: usize| match entry(tensor, key) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| fault(tensor, "its place in the side file is malformed")),
    };
    let offset: usize = number("offset", 0)?;
    let length: usize = number("length", size.saturating_sub(offset))?;
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(offset..end),
        _ => Err(fault(tensor, "its place lies outside of the side file")),
    }
}
