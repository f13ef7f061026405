//! Sequences of tensors: exporters split a tensor into one and pick its parts by constant positions.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Op, Value};
use crate::proto::NodeProto;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ConcatFromSequence", concat_from_sequence),
    ("SequenceAt", sequence_at),
    ("SequenceConstruct", |_, c| c.all()),
    ("SplitToSequence", split_to_sequence),
];

/// A sequence of more parts than this is refused.
const MOST_PARTS: usize = 1 << 16;

/// True for the operators whose results are the parts of one sequence.
pub(super) fn makes_one(node: &NodeProto) -> bool {
    matches!(node.op_type(), "SequenceConstruct" | "SplitToSequence")
}

fn parts<'a>(c: &Call<'a>) -> Result<&'a [Item], Fault> {
    c.sequence
        .ok_or(Fault::Operand(0, "is not a sequence made in this graph"))
}

fn sequence_at(g: &mut Graph, c: &Call<'_>) -> Built {
    let parts = parts(c)?;
    let at = c.number(g, 1)?;
    let at = if at < 0.0 {
        at + parts.len() as f64
    } else {
        at
    };
    let inside = (0.0..parts.len() as f64).contains(&at);
    match inside {
        true => Ok(vec![parts[at as usize]]),
        false => Err(Fault::Operand(1, "lies outside of the sequence")),
    }
}

fn concat_from_sequence(g: &mut Graph, c: &Call<'_>) -> Built {
    let parts = parts(c)?;
    let first = *parts
        .first()
        .ok_or(Fault::Operand(0, "is an empty sequence"))?;
    let stack = c.int("new_axis", 0) != 0;
    let axis = c.axis("axis", 0, g.shape(first.value).len() + usize::from(stack))?;
    let values: Vec<Value> = parts
        .iter()
        .map(|part| {
            let mut shape = g.shape(part.value).to_vec();
            if stack {
                shape.insert(axis.min(shape.len()), 1);
            }
            g.reshape(part.value, &shape)
        })
        .collect();
    Ok(vec![Item {
        value: g.checked(Op::Concat(axis), &values)?,
        kind: first.kind,
    }])
}

/// Parts of one size (a scalar), of given sizes, or of size 1.
fn split_to_sequence(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let axis = c.axis("axis", 0, g.shape(x.value).len())?;
    let size = g.shape(x.value)[axis];
    if size > MOST_PARTS {
        return Err(Fault::TooLarge(g.shape(x.value).to_vec()));
    }
    let (sizes, keep) = match c.optional(1) {
        None => (vec![1; size], c.int("keepdims", 1) != 0),
        Some(split) if g.shape(split.value).is_empty() => {
            let part = c.sizes(g, 1)?[0];
            if part == 0 {
                return Err(Fault::Operand(1, "a part has no elements"));
            }
            (
                (0..size)
                    .step_by(part)
                    .map(|start| part.min(size - start))
                    .collect(),
                true,
            )
        }
        Some(_) => (c.sizes(g, 1)?, true),
    };
    let mut start = 0usize;
    let mut parts = vec![];
    for len in sizes {
        let mut value = g.checked(Op::Slice { axis, start, len }, &[x.value])?;
        if !keep {
            let shape = crate::shape::reduce(g.shape(value), &[axis], false);
            value = g.reshape(value, &shape);
        }
        parts.push(Item {
            value,
            kind: x.kind,
        });
        start = start.saturating_add(len);
    }
    Ok(parts)
}
