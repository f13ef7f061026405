//! Operators that move elements.

use super::call::{Call, Item, axis};
use super::{LONGEST_GATHERED, Rule};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Op, Value};
use crate::shape::{broadcast, numel};
use std::sync::Arc;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Concat", concat),
    ("Expand", expand),
    ("Flatten", flatten),
    ("Gather", gather),
    ("Pad", pad),
    ("Reshape", reshape),
    ("Slice", slice),
    ("Split", split),
    ("Squeeze", squeeze),
    ("Tile", tile),
    ("Transpose", transpose),
    ("Trilu", trilu),
    ("Unsqueeze", unsqueeze),
];

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
                if size as usize > LONGEST_GATHERED {
                    return Err(Fault::TooLarge(g.shape(value).to_vec()));
                }
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

/// The indices from `start` to before `end`; both may lie outside of the axis.
fn stepped(start: i64, end: i64, step: i64, size: i64) -> Vec<usize> {
    if size == 0 {
        return vec![];
    }
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
pub(super) fn indices(c: &Call<'_>, g: &Graph, i: usize, size: usize) -> Result<Vec<usize>, Fault> {
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

/// The upper or the lower triangle of the last two axes; zeros elsewhere.
fn trilu(g: &mut Graph, c: &Call<'_>) -> Built {
    const MOST: usize = 1 << 20;
    let x = c.item(0)?;
    let Some((_, [rows, columns])) = crate::shape::split_matrix(g.shape(x.value), false) else {
        return Err(Fault::Shapes(vec![g.shape(x.value).to_vec()]));
    };
    if rows.saturating_mul(columns) > MOST {
        return Err(Fault::TooLarge(vec![rows, columns]));
    }
    let shift = if c.optional(1).is_some() {
        c.number(g, 1)?
    } else {
        0.0
    };
    let upper = c.int("upper", 1) != 0;
    let keeps = |i: usize| {
        let above = (i % columns) as f64 - (i / columns) as f64;
        if upper {
            above >= shift
        } else {
            above <= shift
        }
    };
    let mask: Vec<f64> = (0..rows * columns)
        .map(|i| f64::from(u8::from(keeps(i))))
        .collect();
    let (mask, zero) = (g.constant(&[rows, columns], &mask), g.scalar(0.0));
    Ok(vec![Item {
        value: g.select(mask, x.value, zero),
        ..x
    }])
}
