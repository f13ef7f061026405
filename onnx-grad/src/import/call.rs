//! One node being read: its operands and attributes.

use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Op, Value};
use crate::proto::{AttributeProto, NodeProto};
use std::borrow::Cow;

/// What the file says a tensor's elements are. The graph holds all of them as floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Float,
    Int,
    Bool,
}

/// A tensor of the file, as built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub value: Value,
    pub kind: Kind,
}

impl Item {
    pub(crate) fn float(value: Value) -> Self {
        Item {
            value,
            kind: Kind::Float,
        }
    }

    pub(crate) fn int(value: Value) -> Self {
        Item {
            value,
            kind: Kind::Int,
        }
    }

    pub(crate) fn bool(value: Value) -> Self {
        Item {
            value,
            kind: Kind::Bool,
        }
    }
}

/// A node, its operands (`None` where left out, or a sequence) and the version of the operator set.
pub(crate) struct Call<'a> {
    pub node: &'a NodeProto,
    pub operands: Vec<Option<Item>>,
    /// Operand 0, where it is a sequence of tensors.
    pub sequence: Option<&'a [Item]>,
    pub opset: i64,
}

impl Call<'_> {
    /// Operand `i`, if given.
    pub(crate) fn optional(&self, i: usize) -> Option<Item> {
        self.operands.get(i).copied().flatten()
    }

    /// Operand `i`, which the operator requires.
    pub(crate) fn item(&self, i: usize) -> Result<Item, Fault> {
        self.optional(i).ok_or(Fault::MissingOperand(i))
    }

    /// Operand `i`, of any kind.
    pub(crate) fn value(&self, i: usize) -> Result<Value, Fault> {
        Ok(self.item(i)?.value)
    }

    /// All operands, none left out, at least one.
    pub(crate) fn all(&self) -> Result<Vec<Item>, Fault> {
        let count = self.operands.len().max(1);
        (0..count).map(|i| self.item(i)).collect()
    }

    /// The elements of operand `i`, which must be known now.
    pub(crate) fn numbers(&self, g: &Graph, i: usize) -> Result<Vec<f64>, Fault> {
        let value = self.value(i)?;
        g.elements(value)
            .map(Cow::into_owned)
            .ok_or(Fault::NotConstant(i))
    }

    /// The elements of integer operand `i`, which must be known now.
    pub(crate) fn integers(&self, g: &Graph, i: usize) -> Result<Vec<i64>, Fault> {
        Ok(self.numbers(g, i)?.into_iter().map(|x| x as i64).collect())
    }

    /// The one number in operand `i`, which must be known now.
    pub(crate) fn number(&self, g: &Graph, i: usize) -> Result<f64, Fault> {
        match self.numbers(g, i)?[..] {
            [x] => Ok(x),
            _ => Err(Fault::Operand(i, "must hold one number")),
        }
    }

    /// The sizes in operand `i`.
    pub(crate) fn sizes(&self, g: &Graph, i: usize) -> Result<Vec<usize>, Fault> {
        let size =
            |x: i64| usize::try_from(x).map_err(|_| Fault::Operand(i, "sizes are not negative"));
        self.integers(g, i)?.into_iter().map(size).collect()
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name() == name)
    }

    /// True if the attribute is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).map_or(default, AttributeProto::f))
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, AttributeProto::i)
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name).map(|a| a.ints.as_slice())
    }

    pub(crate) fn floats(&self, name: &str) -> Option<&[f32]> {
        self.attribute(name).map(|a| a.floats.as_slice())
    }

    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.attribute(name)?.s()).ok()
    }

    pub(crate) fn strings(&self, name: &str) -> Option<&[Vec<u8>]> {
        self.attribute(name).map(|a| a.strings.as_slice())
    }

    pub(crate) fn tensor(&self, name: &str) -> Option<&crate::proto::TensorProto> {
        self.attribute(name)?.t.as_ref()
    }

    /// Axes given by attribute `axes` or, in newer versions, by operand `i`; `None` if by neither.
    pub(crate) fn axes(
        &self,
        g: &Graph,
        i: usize,
        rank: usize,
    ) -> Result<Option<Vec<usize>>, Fault> {
        let axes = match (self.ints("axes"), self.optional(i)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(_)) => self.integers(g, i)?,
            (None, None) => return Ok(None),
        };
        let mut axes = axes
            .into_iter()
            .map(|a| axis("axes", a, rank))
            .collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        match axes.windows(2).all(|w| w[0] < w[1]) {
            true => Ok(Some(axes)),
            false => Err(Fault::Attribute("axes", "an axis is named twice")),
        }
    }

    /// The axis in an attribute, counted from the front.
    pub(crate) fn axis(
        &self,
        name: &'static str,
        default: i64,
        rank: usize,
    ) -> Result<usize, Fault> {
        axis(name, self.int(name, default), rank)
    }
}

/// An axis that may be counted from the end, counted from the front.
pub(crate) fn axis(attribute: &'static str, axis: i64, rank: usize) -> Result<usize, Fault> {
    let rank = rank as i64;
    match axis {
        0.. if axis < rank => Ok(axis as usize),
        ..0 if axis.checked_add(rank).is_some_and(|a| a >= 0) => Ok((axis + rank) as usize),
        _ => Err(Fault::Attribute(
            attribute,
            "an axis lies outside of the tensor",
        )),
    }
}

/// Shorthands for rules: binary operators on tensors from a file.
impl Graph {
    pub(crate) fn try_binary(&mut self, f: Binary, a: Value, b: Value) -> Result<Value, Fault> {
        self.checked(Op::Binary(f), &[a, b])
    }

    pub(crate) fn try_expand(&mut self, v: Value, shape: &[usize]) -> Result<Value, Fault> {
        self.checked(Op::Expand(shape.to_vec()), &[v])
    }

    pub(crate) fn try_reshape(&mut self, v: Value, shape: &[usize]) -> Result<Value, Fault> {
        self.checked(Op::Reshape(shape.to_vec()), &[v])
    }
}
