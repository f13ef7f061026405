//! Model-local functions: each call is replaced by the function's nodes.

use crate::error::{Error, Fault};
use crate::import;
use crate::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto};
use std::collections::HashMap;

/// More nodes than this are refused: calls within calls multiply.
const MOST_NODES: usize = 1 << 16;
/// Calls nested deeper than this are refused: they may be circular.
const DEEPEST: usize = 16;

/// The graph's nodes with all calls expanded.
pub(super) fn expand(
    file: &ModelProto,
    model: &str,
    nodes: &[NodeProto],
) -> Result<Vec<NodeProto>, Error> {
    let functions = file
        .functions
        .iter()
        .map(|f| ((f.domain(), f.name()), f))
        .collect();
    let mut expander = Expander {
        functions,
        model,
        expanded: vec![],
        calls: 0,
    };
    for node in nodes {
        expander.add(node.clone(), 0)?;
    }
    Ok(expander.expanded)
}

struct Expander<'a> {
    functions: HashMap<(&'a str, &'a str), &'a FunctionProto>,
    model: &'a str,
    expanded: Vec<NodeProto>,
    calls: usize,
}

impl Expander<'_> {
    fn add(&mut self, node: NodeProto, depth: usize) -> Result<(), Error> {
        let Some(&function) = self.functions.get(&(node.domain(), node.op_type())) else {
            self.expanded.push(node);
            return Ok(());
        };
        if depth == DEEPEST || self.expanded.len() > MOST_NODES || self.calls > MOST_NODES {
            return Err(import::at_node(self.model, &node, Fault::Recursion));
        }
        self.calls += 1;
        let names = bindings(function, &node, self.calls);
        for inner in &function.node {
            let mut inner = inner.clone();
            inner.name = Some(format!(
                "{}/{}",
                import::node_name(&node),
                import::node_name(&inner)
            ));
            for name in inner
                .input
                .iter_mut()
                .chain(&mut inner.output)
                .filter(|name| !name.is_empty())
            {
                *name = rename(&names, name, self.calls);
            }
            inner.attribute = inner
                .attribute
                .iter()
                .filter_map(|a| resolve(a, function, &node))
                .collect();
            self.add(inner, depth + 1)?;
        }
        Ok(())
    }
}

/// Formal names of inputs and outputs with the caller's own. An operand left out stays left out.
fn bindings<'f>(
    function: &'f FunctionProto,
    node: &NodeProto,
    call: usize,
) -> HashMap<&'f str, String> {
    let inputs = function.input.iter().enumerate().map(|(i, formal)| {
        let actual = node.input.get(i).cloned().unwrap_or_default();
        (formal.as_str(), actual)
    });
    let outputs = function.output.iter().enumerate().map(|(i, formal)| {
        let actual = node.output.get(i).filter(|name| !name.is_empty());
        (
            formal.as_str(),
            actual.cloned().unwrap_or_else(|| inside(formal, call)),
        )
    });
    inputs.chain(outputs).collect()
}

fn rename(names: &HashMap<&str, String>, name: &str, call: usize) -> String {
    names
        .get(name)
        .cloned()
        .unwrap_or_else(|| inside(name, call))
}

/// A name that no other call and no tensor of the graph has.
fn inside(name: &str, call: usize) -> String {
    format!("{name}@{call}")
}

/// An attribute of an inner node; one that refers to the function's own takes the caller's value, or the default, or is left
/// out.
fn resolve(
    attribute: &AttributeProto,
    function: &FunctionProto,
    node: &NodeProto,
) -> Option<AttributeProto> {
    if attribute.ref_attr_name().is_empty() {
        return Some(attribute.clone());
    }
    let given = node.attribute.iter().chain(&function.attribute_proto);
    let mut value = given
        .into_iter()
        .find(|a| a.name() == attribute.ref_attr_name())?
        .clone();
    value.name = attribute.name.clone();
    Some(value)
}
