//! Operators that move elements, and those that compute shapes, which are folded.

use super::Rule;
use super::call::{Call, Item, axis};
use super::tensor::Tensor;
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Op, Value};
use crate::shape::{broadcast, numel, strides};
use std::sync::Arc;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Concat", concat),
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("Pad", pad),
    ("Range", range),
    ("Reshape", reshape),
    ("Shape", shape),
    ("Size", |g, c| {
        let count = numel(g.shape(c.value(0)?));
        Ok(vec![Item::int(g.scalar(count as f64))])
    }),
    ("Slice", slice),
    ("Split", split),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Unsqueeze", unsqueeze),
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

fn concat(g: &mut Graph, c: &Call<'_>) -> Built {
    let items = c.all()?;
    let axis = c.axis("axis", 0, g.shape(items[0].value).len())?;
    let values: Vec<Value> = items.iter().map(|item| item.value).collect();
    Ok(vec![Item {
        value: g.checked(Op::Concat(axis), &values)?,
        kind: items[0].kind,
    }])
}

fn expand(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let wanted = c.sizes(g, 1)?;
    let Some(shape) = broadcast(g.shape(x.value), &wanted) else {
        return Err(Fault::Shapes(vec![g.shape(x.value).to_vec(), wanted]));
    };
    Ok(vec![Item {
        value: g.try_expand(x.value, &shape)?,
        kind: x.kind,
    }])
}

fn flatten(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value);
    let rank = shape.len();
    // The axis may lie one behind the last: then all axes are rows.
    let at = match c.int("axis", 1) {
        end if end == rank as i64 => rank,
        at => axis("axis", at, rank)?,
    };
    let flat = [numel(&shape[..at]), numel(&shape[at..])];
    Ok(vec![Item {
        value: g.try_reshape(x.value, &flat)?,
        kind: x.kind,
    }])
}

fn reshape(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let from = g.shape(x.value).to_vec();
    let wanted = c.integers(g, 1)?;
    let keep_zero = c.int("allowzero", 0) != 0;
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (i, &size) in wanted.iter().enumerate() {
        shape.push(match size {
            0 if !keep_zero => *from
                .get(i)
                .ok_or(Fault::Operand(1, "copies an axis that is not there"))?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            0.. => size as usize,
            _ => {
                return Err(Fault::Operand(
                    1,
                    "has a negative size, or more than one open size",
                ));
            }
        });
    }
    if let Some(i) = open {
        let rest = numel(&shape);
        if rest == 0 || !numel(&from).is_multiple_of(rest) {
            return Err(Fault::Shapes(vec![from, shape]));
        }
        shape[i] = numel(&from) / rest;
    }
    Ok(vec![Item {
        value: g.try_reshape(x.value, &shape)?,
        kind: x.kind,
    }])
}

fn squeeze(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let axes = match c.axes(g, 1, shape.len())? {
        Some(axes) => axes,
        None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
    };
    let squeezed = crate::shape::reduce(&shape, &axes, false);
    Ok(vec![Item {
        value: g.try_reshape(x.value, &squeezed)?,
        kind: x.kind,
    }])
}

fn unsqueeze(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let mut shape = g.shape(x.value).to_vec();
    let count = match c.ints("axes") {
        Some(axes) => axes.len(),
        None => numel(g.shape(c.value(1)?)),
    };
    let rank = shape.len().saturating_add(count);
    for axis in c.axes(g, 1, rank)?.unwrap_or_default() {
        shape.insert(axis, 1);
    }
    Ok(vec![Item {
        value: g.try_reshape(x.value, &shape)?,
        kind: x.kind,
    }])
}

fn transpose(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let rank = g.shape(x.value).len();
    let perm = match c.ints("perm") {
        Some(perm) => perm
            .iter()
            .map(|&p| axis("perm", p, rank))
            .collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![Item {
        value: g.checked(Op::Transpose(perm), &[x.value])?,
        kind: x.kind,
    }])
}

/// Numpy slicing: bounds are clamped, steps other than 1 become a gather.
fn slice(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let rank = g.shape(x.value).len();
    let (starts, ends) = (c.integers(g, 1)?, c.integers(g, 2)?);
    let axes = match c.optional(3) {
        Some(_) => c.integers(g, 3)?,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = match c.optional(4) {
        Some(_) => c.integers(g, 4)?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Fault::Operand(
            1,
            "starts, ends, axes and steps differ in length",
        ));
    }
    let mut value = x.value;
    for (((&start, &end), &at), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis("axes", at, rank)?;
        let size = g.shape(value)[axis] as i64;
        let from_front = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
        value = match step {
            1 => {
                let start = from_front(start).clamp(0, size);
                let end = from_front(end).clamp(start, size);
                g.slice(value, axis, start as usize, (end - start) as usize)
            }
            0 => return Err(Fault::Operand(4, "a step is 0")),
            _ => {
                let indices = stepped(from_front(start), from_front(end), step, size);
                g.gather(value, axis, &indices)
            }
        };
    }
    Ok(vec![Item {
        value,
        kind: x.kind,
    }])
}

fn stepped(start: i64, end: i64, step: i64, size: i64) -> Vec<usize> {
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let (mut at, end) = (start.clamp(low.max(0), high), end.clamp(low, high));
    let mut indices = vec![];
    while (step > 0 && at < end) || (step < 0 && at > end) {
        indices.push(at as usize);
        at = at.saturating_add(step);
    }
    indices
}

/// Parts of given sizes, or as equal as possible.
fn split(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let axis = c.axis("axis", 0, g.shape(x.value).len())?;
    let size = g.shape(x.value)[axis];
    let sizes = match c.optional(1) {
        Some(_) => c.sizes(g, 1)?,
        None => {
            let parts = c.node.output.len().max(1);
            let part = size.div_ceil(parts);
            (0..parts)
                .map(|i| part.min(size.saturating_sub(i * part)))
                .collect()
        }
    };
    let mut start = 0;
    let mut parts = vec![];
    for len in sizes {
        let value = g.checked(Op::Slice { axis, start, len }, &[x.value])?;
        parts.push(Item {
            value,
            kind: x.kind,
        });
        start += len;
    }
    match start == size {
        true => Ok(parts),
        false => Err(Fault::Operand(1, "the parts do not add up to the axis")),
    }
}

/// Indices along an axis of `size`, which may count from the end.
fn indices(c: &Call<'_>, g: &Graph, i: usize, size: usize) -> Result<Vec<usize>, Fault> {
    let index = |x: i64| {
        let x = if x < 0 {
            x.checked_add(size as i64)?
        } else {
            x
        };
        usize::try_from(x).ok().filter(|&x| x < size)
    };
    let found = c
        .integers(g, i)?
        .into_iter()
        .map(index)
        .collect::<Option<Vec<_>>>();
    found.ok_or(Fault::Operand(i, "an index lies outside of the axis"))
}

fn gather(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let axis = c.axis("axis", 0, shape.len())?;
    let indices = indices(c, g, 1, shape[axis])?;
    let gathered = g.checked(
        Op::Gather {
            axis,
            indices: Arc::from(indices),
        },
        &[x.value],
    )?;
    let mut result = shape[..axis].to_vec();
    result.extend_from_slice(g.shape(c.value(1)?));
    result.extend_from_slice(&shape[axis + 1..]);
    Ok(vec![Item {
        value: g.try_reshape(gathered, &result)?,
        kind: x.kind,
    }])
}

/// Each element from its own index along the axis: a gather from the flattened tensor.
fn gather_elements(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let axis = c.axis("axis", 0, shape.len())?;
    let indices = indices(c, g, 1, shape[axis])?;
    let result = g.shape(c.value(1)?).to_vec();
    let fits =
        result.len() == shape.len() && (0..shape.len()).all(|i| i == axis || result[i] <= shape[i]);
    if !fits {
        return Err(Fault::Shapes(vec![shape, result]));
    }
    let (from, to) = (strides(&shape), strides(&result));
    let offset = |(flat, &index): (usize, &usize)| -> usize {
        (0..result.len())
            .map(|i| {
                from[i]
                    * if i == axis {
                        index
                    } else {
                        flat / to[i] % result[i]
                    }
            })
            .sum()
    };
    let offsets: Vec<usize> = indices.iter().enumerate().map(offset).collect();
    let flat = g.try_reshape(x.value, &[numel(&shape)])?;
    let gathered = g.gather(flat, 0, &offsets);
    Ok(vec![Item {
        value: g.reshape(gathered, &result),
        kind: x.kind,
    }])
}

/// Constant padding; negative amounts cut off.
fn pad(g: &mut Graph, c: &Call<'_>) -> Built {
    if c.string("mode").is_some_and(|mode| mode != "constant") {
        return Err(Fault::Attribute(
            "mode",
            "only constant padding is supported",
        ));
    }
    let x = c.item(0)?;
    let rank = g.shape(x.value).len();
    let amounts = c.integers(g, 1)?;
    let axes = match c.optional(3) {
        Some(_) => {
            let named = c.integers(g, 3)?;
            named
                .into_iter()
                .map(|a| axis("axes", a, rank))
                .collect::<Result<Vec<_>, _>>()?
        }
        None => (0..rank).collect(),
    };
    let fill = match c.optional(2) {
        Some(item) => item.value,
        None => g.scalar(0.0),
    };
    if amounts.len() != 2 * axes.len() || numel(g.shape(fill)) != 1 {
        return Err(Fault::Operand(
            1,
            "needs an amount before and after each axis, and one number to fill in",
        ));
    }
    let fill = g.reshape(fill, &[]);
    let mut value = x.value;
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (amounts[i], amounts[i + axes.len()]);
        let cut = |amount: i64| amount.min(0).unsigned_abs() as usize;
        let size = g.shape(value)[axis];
        let len = size
            .checked_sub(cut(before))
            .and_then(|n| n.checked_sub(cut(after)));
        let len = len.ok_or(Fault::Operand(1, "cuts off more than there is"))?;
        value = g.slice(value, axis, cut(before), len);
        let put = |amount: i64| amount.max(0) as usize;
        value = pad_with(g, value, axis, put(before), put(after), fill)?;
    }
    Ok(vec![Item {
        value,
        kind: x.kind,
    }])
}

fn pad_with(
    g: &mut Graph,
    v: Value,
    axis: usize,
    before: usize,
    after: usize,
    fill: Value,
) -> Result<Value, Fault> {
    if g.uniform(fill) == Some(0.0) {
        return g.checked(
            Op::Pad {
                axis,
                before,
                after,
            },
            &[v],
        );
    }
    let mut block = |len: usize| {
        let mut shape = g.shape(v).to_vec();
        shape[axis] = len;
        g.try_expand(fill, &shape)
    };
    let parts = [block(before)?, v, block(after)?];
    g.checked(Op::Concat(axis), &parts)
}

fn tile(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let repeats = c.sizes(g, 1)?;
    if repeats.len() != shape.len() {
        return Err(Fault::Operand(1, "needs one count an axis"));
    }
    // A new axis before each one, repeated, then merged with it.
    let interleave = |first: &[usize]| {
        first
            .iter()
            .zip(&shape)
            .flat_map(|(&r, &d)| [r, d])
            .collect::<Vec<_>>()
    };
    let ones = vec![1; shape.len()];
    let tiled: Vec<usize> = repeats
        .iter()
        .zip(&shape)
        .map(|(&r, &d)| r.saturating_mul(d))
        .collect();
    let spread = g.try_reshape(x.value, &interleave(&ones))?;
    let repeated = g.try_expand(spread, &interleave(&repeats))?;
    Ok(vec![Item {
        value: g.try_reshape(repeated, &tiled)?,
        kind: x.kind,
    }])
}
