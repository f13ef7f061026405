//! Constants and shapes, which exist only while a file is read.

use super::Rule;
use super::call::{Call, Item};
use super::tensor::Tensor;
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;
use crate::shape::numel;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Range", range),
    ("Shape", shape),
    ("Size", |g, c| {
        let count = numel(g.shape(c.value(0)?));
        Ok(vec![Item::int(g.scalar(count as f64))])
    }),
];

/// A tensor of the file as a constant of the graph.
pub(crate) fn literal(g: &mut Graph, tensor: &Tensor) -> Item {
    Item {
        value: g.constant(&tensor.shape, &tensor.data),
        kind: tensor.kind,
    }
}

/// Applies a function to the elements of an integer constant.
pub(super) fn map_integers(g: &mut Graph, v: Value, f: impl Fn(f64) -> f64) -> Built {
    let shape = g.shape(v).to_vec();
    let value = if let Some(x) = g.uniform(v) {
        g.full(&shape, f(x))
    } else if let Some(data) = g.data(v) {
        let mapped: Vec<f64> = data.iter().map(|&x| f(x)).collect();
        g.constant(&shape, &mapped)
    } else {
        return Err(Fault::NotConstant(0));
    };
    Ok(vec![Item::int(value)])
}

fn constant(g: &mut Graph, c: &Call<'_>) -> Built {
    let list = |g: &mut Graph, data: Vec<f64>| g.constant(&[data.len()], &data);
    if let Some(proto) = c.tensor("value") {
        let tensor = Tensor::read(proto).map_err(|why| Fault::Attribute("value", why))?;
        return Ok(vec![literal(g, &tensor)]);
    }
    let item = if c.has("value_float") {
        Item::float(g.scalar(c.float("value_float", 0.0)))
    } else if c.has("value_int") {
        Item::int(g.scalar(c.int("value_int", 0) as f64))
    } else if let Some(floats) = c.floats("value_floats").filter(|_| c.has("value_floats")) {
        Item::float(list(g, floats.iter().map(|&x| f64::from(x)).collect()))
    } else if let Some(ints) = c.ints("value_ints") {
        Item::int(list(g, ints.iter().map(|&x| x as f64).collect()))
    } else {
        return Err(Fault::Attribute(
            "value",
            "is missing, or of a kind that is not supported",
        ));
    };
    Ok(vec![item])
}

fn constant_of_shape(g: &mut Graph, c: &Call<'_>) -> Built {
    let shape = c.sizes(g, 0)?;
    let fill = match c.tensor("value") {
        Some(proto) => {
            let tensor = Tensor::read(proto).map_err(|why| Fault::Attribute("value", why))?;
            let item = literal(g, &tensor);
            let [_] = tensor.data[..] else {
                return Err(Fault::Attribute("value", "holds one number"));
            };
            Item {
                value: g.reshape(item.value, &[]),
                ..item
            }
        }
        None => Item::float(g.scalar(0.0)),
    };
    Ok(vec![Item {
        value: g.try_expand(fill.value, &shape)?,
        ..fill
    }])
}

fn shape(g: &mut Graph, c: &Call<'_>) -> Built {
    let shape = g.shape(c.value(0)?).to_vec();
    let rank = shape.len() as i64;
    let bound = |name: &str, default: i64| {
        let at = c.int(name, default);
        let at = if at < 0 { at.saturating_add(rank) } else { at };
        at.clamp(0, rank) as usize
    };
    let (start, end) = (bound("start", 0), bound("end", rank));
    let sizes: Vec<f64> = shape[start..end.max(start)]
        .iter()
        .map(|&d| d as f64)
        .collect();
    Ok(vec![Item::int(g.constant(&[sizes.len()], &sizes))])
}

fn range(g: &mut Graph, c: &Call<'_>) -> Built {
    let (start, limit, step) = (c.number(g, 0)?, c.number(g, 1)?, c.number(g, 2)?);
    let count = ((limit - start) / step).ceil();
    if count.is_nan() || count > f64::from(1 << 20) {
        return Err(Fault::Operand(1, "the range is too long, or not finite"));
    }
    // A negative count saturates to an empty range.
    let numbers: Vec<f64> = (0..count as usize)
        .map(|i| start + i as f64 * step)
        .collect();
    Ok(vec![Item {
        value: g.constant(&[numbers.len()], &numbers),
        kind: c.item(0)?.kind,
    }])
}
