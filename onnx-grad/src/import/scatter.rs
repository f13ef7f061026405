//! Operators that read or write at indices into the whole tensor. The indices are constants, so that each is a gather.

use super::Rule;
use super::call::{Call, Item};
use super::movement::indices;
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;
use crate::shape::{numel, strides};

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("ScatterElements", scatter_elements),
    ("ScatterND", scatter_nd),
];

/// Where each element of an index tensor points: offsets in the row-major order of `shape`, of which it replaces one axis.
fn element_offsets(
    g: &Graph,
    c: &Call<'_>,
    shape: &[usize],
    axis: usize,
) -> Result<Vec<usize>, Fault> {
    let indices = indices(c, g, 1, shape[axis])?;
    let picked = g.shape(c.value(1)?);
    let fits =
        picked.len() == shape.len() && (0..shape.len()).all(|i| i == axis || picked[i] <= shape[i]);
    if !fits {
        return Err(Fault::Shapes(vec![shape.to_vec(), picked.to_vec()]));
    }
    let (from, to) = (strides(shape), strides(picked));
    let place = |flat: usize, i: usize| flat / to[i] % picked[i];
    let offset = |(flat, &index): (usize, &usize)| -> usize {
        (0..shape.len())
            .map(|i| from[i] * if i == axis { index } else { place(flat, i) })
            .sum()
    };
    Ok(indices.iter().enumerate().map(offset).collect())
}

/// Where each index tuple (the last axis of operand 1) points, element by element of the blocks that it addresses; and the
/// shape of the result: the tuples' axes, then the block's.
fn tuple_offsets(
    g: &Graph,
    c: &Call<'_>,
    shape: &[usize],
) -> Result<(Vec<usize>, Vec<usize>), Fault> {
    const MOST: usize = 1 << 20;
    let tuples = g.shape(c.value(1)?).to_vec();
    let misfit = || Fault::Shapes(vec![shape.to_vec(), tuples.clone()]);
    let (&length, outer) = tuples.split_last().ok_or_else(misfit)?;
    if length == 0 || length > shape.len() {
        return Err(misfit());
    }
    let block = numel(&shape[length..]);
    if numel(outer).saturating_mul(block) > MOST {
        return Err(Fault::TooLarge(tuples));
    }
    let strides = strides(shape);
    let mut offsets = vec![];
    for tuple in c.integers(g, 1)?.chunks_exact(length) {
        let mut start = 0;
        for ((&i, &size), stride) in tuple.iter().zip(shape).zip(&strides) {
            let i = if i < 0 {
                i.saturating_add(size as i64)
            } else {
                i
            };
            let inside = usize::try_from(i).ok().filter(|&i| i < size);
            start +=
                stride * inside.ok_or(Fault::Operand(1, "an index lies outside of the axis"))?;
        }
        offsets.extend(start..start + block);
    }
    Ok((offsets, [outer, &shape[length..]].concat()))
}

fn gather_elements(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let axis = c.axis("axis", 0, shape.len())?;
    let offsets = element_offsets(g, c, &shape, axis)?;
    let result = g.shape(c.value(1)?).to_vec();
    gather_flat(g, x, &offsets, &result)
}

fn gather_nd(g: &mut Graph, c: &Call<'_>) -> Built {
    if c.int("batch_dims", 0) != 0 {
        return Err(Fault::Attribute("batch_dims", "only 0 is supported"));
    }
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    let (offsets, result) = tuple_offsets(g, c, &shape)?;
    gather_flat(g, x, &offsets, &result)
}

fn gather_flat(g: &mut Graph, x: Item, offsets: &[usize], shape: &[usize]) -> Built {
    let count = numel(g.shape(x.value));
    let flat = g.try_reshape(x.value, &[count])?;
    let gathered = g.gather(flat, 0, offsets);
    Ok(vec![Item {
        value: g.try_reshape(gathered, shape)?,
        kind: x.kind,
    }])
}

fn scatter_elements(g: &mut Graph, c: &Call<'_>) -> Built {
    let shape = g.shape(c.value(0)?).to_vec();
    let axis = c.axis("axis", 0, shape.len())?;
    let offsets = element_offsets(g, c, &shape, axis)?;
    scatter(g, c, &shape, &offsets)
}

fn scatter_nd(g: &mut Graph, c: &Call<'_>) -> Built {
    let shape = g.shape(c.value(0)?).to_vec();
    let (offsets, _) = tuple_offsets(g, c, &shape)?;
    scatter(g, c, &shape, &offsets)
}

/// Puts the updates (operand 2) at the offsets of the data (operand 0), or adds them there.
fn scatter(g: &mut Graph, c: &Call<'_>, shape: &[usize], offsets: &[usize]) -> Built {
    const MOST: usize = 1 << 20;
    let (data, updates) = (c.item(0)?, c.value(2)?);
    let count = numel(shape);
    if numel(g.shape(updates)) != offsets.len() || count > MOST {
        return Err(Fault::Shapes(vec![
            shape.to_vec(),
            g.shape(updates).to_vec(),
        ]));
    }
    let updates = g.reshape(updates, &[offsets.len()]);
    let flat = g.reshape(data.value, &[count]);
    let result = match c.string("reduction").unwrap_or("none") {
        "add" => {
            let added = g.scatter_add(updates, 0, offsets, count);
            g.add(flat, added)
        }
        "none" => replace(g, flat, updates, offsets, count),
        _ => return Err(Fault::Attribute("reduction", "is 'none' or 'add'")),
    };
    Ok(vec![Item {
        value: g.reshape(result, shape),
        kind: data.kind,
    }])
}

/// The last update of a place wins.
fn replace(g: &mut Graph, flat: Value, updates: Value, offsets: &[usize], count: usize) -> Value {
    let mut sources: Vec<usize> = (0..count).collect();
    for (update, &offset) in offsets.iter().enumerate() {
        sources[offset] = count + update;
    }
    let all = g.concat(&[flat, updates], 0);
    g.gather(all, 0, &sources)
}
