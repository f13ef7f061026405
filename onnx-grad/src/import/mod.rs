//! From ONNX nodes to the graph's own operators. One table of rules an operator family; each rule reads attributes, checks
//! shapes, then builds.

mod call;
mod constant;
mod convolution;
mod einsum;
mod elementwise;
mod linear;
mod movement;
mod norm;
mod recurrent;
mod reduce;
mod scatter;
mod selection;
mod sequence;
mod tensor;
mod trigonometry;

pub(crate) use call::{Call, Item, Kind};
pub(crate) use constant::literal;
pub(crate) use tensor::Tensor;

use crate::error::{Error, Fault};
use crate::export::MICROSOFT;
use crate::graph::Graph;
use crate::ir::Op;
use crate::proto::NodeProto;
use crate::shape::numel;
use std::collections::HashMap;

/// The gradient of a gather lists every place of the gathered axis.
const LONGEST_GATHERED: usize = 1 << 22;

/// Builds what one node computes.
pub(crate) type Rule = fn(&mut Graph, &Call<'_>) -> Result<Vec<Item>, Fault>;

/// A result with more elements than this is refused: no control loop can use it, and a hostile file can ask for it.
const LARGEST: usize = 1 << 32;

/// The rule of an operator of the default domain, or of the one operator of ONNX Runtime's own domain that is written here.
pub(crate) fn rule(node: &NodeProto) -> Option<Rule> {
    if node.domain() == MICROSOFT {
        return (node.op_type() == "FusedMatMul").then_some(linear::fused_matmul);
    }
    if !matches!(node.domain(), "" | "ai.onnx") {
        return None;
    }
    [
        constant::RULES,
        convolution::RULES,
        einsum::RULES,
        recurrent::RULES,
        scatter::RULES,
        selection::RULES,
        sequence::RULES,
        trigonometry::RULES,
        elementwise::RULES,
        linear::RULES,
        movement::RULES,
        norm::RULES,
        reduce::RULES,
    ]
    .into_iter()
    .flatten()
    .find(|(op, _)| *op == node.op_type())
    .map(|(_, rule)| *rule)
}

/// True if the node can be read, given that its operands can.
pub(crate) fn is_known(node: &NodeProto) -> bool {
    rule(node).is_some() || is_choice(node)
}

fn is_choice(node: &NodeProto) -> bool {
    node.op_type() == "If" && node.domain().is_empty()
}

/// A node's name, or that of its first output.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    match node.name() {
        "" => node.output.first().map_or("", String::as_str),
        name => name,
    }
}

/// Names the node at fault.
pub(crate) fn at_node(model: &str, node: &NodeProto, fault: Fault) -> Error {
    Error::Node {
        model: model.to_owned(),
        node: node_name(node).to_owned(),
        op: node.op_type().to_owned(),
        fault,
    }
}

/// Builds all nodes, in the file's order, which is one of evaluation; `items` holds the tensors defined before them and
/// receives theirs.
pub(crate) fn build<'m>(
    g: &mut Graph,
    model: &str,
    opset: i64,
    nodes: &'m [NodeProto],
    items: &mut HashMap<&'m str, Item>,
) -> Result<(), Error> {
    let mut sequences: HashMap<&str, Vec<Item>> = HashMap::new();
    for node in nodes {
        let fault = |fault| at_node(model, node, fault);
        if is_choice(node) {
            build_branch(g, model, opset, node, items)?;
            continue;
        }
        let call = call(opset, node, items, &sequences).map_err(fault)?;
        let rule = rule(node).ok_or_else(|| fault(Fault::UnknownOp))?;
        let results = rule(g, &call).map_err(fault)?;
        if let (true, Some(name)) = (sequence::makes_one(node), node.output.first()) {
            sequences.insert(name, results);
            continue;
        }
        let surplus = |i: &usize| *i >= results.len() && !node.output[*i].is_empty();
        if let Some(i) = (0..node.output.len()).find(surplus) {
            return Err(fault(Fault::Output(i)));
        }
        for (name, item) in node.output.iter().zip(results) {
            items.insert(name, item);
        }
    }
    Ok(())
}

/// Builds the branch of an `If` that its condition, which must be known now, chooses.
fn build_branch<'m>(
    g: &mut Graph,
    model: &str,
    opset: i64,
    node: &'m NodeProto,
    items: &mut HashMap<&'m str, Item>,
) -> Result<(), Error> {
    let fault = |fault| at_node(model, node, fault);
    let condition = call(opset, node, items, &HashMap::new())
        .and_then(|c| c.number(g, 0))
        .map_err(fault)?;
    let name = if condition != 0.0 {
        "then_branch"
    } else {
        "else_branch"
    };
    let attribute = node.attribute.iter().find(|a| a.name() == name);
    let missing = Fault::Attribute("then_branch", "a branch is missing");
    let branch = attribute
        .and_then(|a| a.g.as_ref())
        .ok_or_else(|| fault(missing))?;
    for stored in &branch.initializer {
        let tensor =
            Tensor::read(stored).map_err(|why| fault(Fault::Attribute("then_branch", why)))?;
        items.insert(stored.name(), literal(g, &tensor));
    }
    build(g, model, opset, &branch.node, items)?;
    for (i, (outer, inner)) in node.output.iter().zip(&branch.output).enumerate() {
        let item = *items
            .get(inner.name())
            .ok_or_else(|| fault(Fault::Output(i)))?;
        items.insert(outer, item);
    }
    Ok(())
}

/// Looks a node's operands up.
fn call<'a>(
    opset: i64,
    node: &'a NodeProto,
    items: &HashMap<&str, Item>,
    sequences: &'a HashMap<&str, Vec<Item>>,
) -> Result<Call<'a>, Fault> {
    let sequence = node
        .input
        .first()
        .and_then(|name| sequences.get(name.as_str()));
    let operand = |name: &String| match (name.as_str(), items.get(name.as_str())) {
        ("", _) => Ok(None),
        (_, Some(item)) => Ok(Some(*item)),
        (name, None) if sequences.contains_key(name) => Ok(None),
        (_, None) => Err(Fault::UndefinedOperand(name.clone())),
    };
    let operands = node
        .input
        .iter()
        .map(operand)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Call {
        node,
        operands,
        sequence: sequence.map(Vec::as_slice),
        opset,
    })
}

impl Graph {
    /// Builds an operator whose operands come from a file: checks what [`Graph::node`] takes for granted.
    pub(crate) fn checked(
        &mut self,
        op: Op,
        inputs: &[crate::Value],
    ) -> Result<crate::Value, Fault> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|&v| self.shape(v)).collect();
        if let Op::Gather { axis, .. } = op
            && shapes[0]
                .get(axis)
                .is_some_and(|&size| size > LONGEST_GATHERED)
        {
            return Err(Fault::TooLarge(shapes[0].to_vec()));
        }
        match op.infer(&shapes) {
            None => Err(Fault::Shapes(shapes.iter().map(|s| s.to_vec()).collect())),
            Some(shape) if numel(&shape) > LARGEST => Err(Fault::TooLarge(shape)),
            Some(_) => Ok(self.node(op, inputs)),
        }
    }
}
