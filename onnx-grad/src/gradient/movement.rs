//! Rules of the operators that move elements: each element's gradient moves back.

use crate::graph::Graph;
use crate::ir::{Op, Value};
use std::collections::BTreeMap;

/// The gradient with respect to each operand.
///
/// # Panics
/// For operators that compute.
pub(super) fn movement(g: &mut Graph, op: &Op, inputs: &[Value], d: Value) -> Vec<Value> {
    let shape = g.shape(inputs[0]).to_vec();
    let back = match op {
        Op::Reshape(_) => g.reshape(d, &shape),
        Op::Expand(_) => g.unbroadcast(d, &shape),
        Op::Transpose(perm) => {
            let mut inverse = vec![0; perm.len()];
            for (i, &p) in perm.iter().enumerate() {
                inverse[p] = i;
            }
            g.transpose(d, &inverse)
        }
        Op::Slice { axis, start, len } => g.pad(d, *axis, *start, shape[*axis] - start - len),
        Op::Pad { axis, before, .. } => g.slice(d, *axis, *before, shape[*axis]),
        Op::Concat(axis) => return split(g, *axis, inputs, d),
        Op::Gather { axis, indices } => g.scatter_add(d, *axis, indices, shape[*axis]),
        _ => unreachable!("{op:?} computes"),
    };
    vec![back]
}

fn split(g: &mut Graph, axis: usize, inputs: &[Value], d: Value) -> Vec<Value> {
    let mut start = 0;
    inputs
        .iter()
        .map(|&input| {
            let len = g.shape(input)[axis];
            let part = g.slice(d, axis, start, len);
            start += len;
            part
        })
        .collect()
}

impl Graph {
    /// Adds the entries of `d` along `axis` up at `indices` of an axis of length `size`. Written by gathers, so that it is
    /// closed under differentiation and sums in a fixed order: entries of one place are added in pairs until each place has one.
    pub(crate) fn scatter_add(
        &mut self,
        d: Value,
        axis: usize,
        indices: &[usize],
        size: usize,
    ) -> Value {
        let mut sum = d;
        let mut places: Vec<usize> = indices.to_vec();
        loop {
            let mut entries: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (entry, &place) in places.iter().enumerate() {
                entries.entry(place).or_default().push(entry);
            }
            let zero = places.len();
            let padded = self.pad(sum, axis, 0, 1);
            if entries.values().all(|of_place| of_place.len() == 1) {
                let pick = |place| entries.get(&place).map_or(zero, |of_place| of_place[0]);
                let picks: Vec<usize> = (0..size).map(pick).collect();
                return self.gather(padded, axis, &picks);
            }
            let pairs = || {
                entries.iter().flat_map(|(&place, of_place)| {
                    of_place.chunks(2).map(move |pair| (place, pair))
                })
            };
            let first: Vec<usize> = pairs().map(|(_, pair)| pair[0]).collect();
            let second: Vec<usize> = pairs()
                .map(|(_, pair)| pair.get(1).copied().unwrap_or(zero))
                .collect();
            places = pairs().map(|(place, _)| place).collect();
            let (first, second) = (
                self.gather(padded, axis, &first),
                self.gather(padded, axis, &second),
            );
            sum = self.add(first, second);
        }
    }
}
