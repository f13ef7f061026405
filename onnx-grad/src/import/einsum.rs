//! Einsum over one or two operands, as transposes around one matrix product.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::Value;
use std::collections::BTreeMap;

pub(super) const RULES: &[(&str, Rule)] = &[("Einsum", einsum)];

/// One label an axis. The axes of an ellipsis, counted from its end, get the labels '0', '1', ….
type Labels = Vec<char>;

fn einsum(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    let malformed = Fault::Attribute("equation", "is malformed");
    let equation: String = c
        .string("equation")
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let (terms, output) = match equation.split_once("->") {
        Some((terms, output)) => (terms, Some(output)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = terms.split(',').collect();
    let items = c.all()?;
    if terms.len() != items.len() || items.len() > 2 {
        return Err(Fault::Attribute(
            "equation",
            "only one or two operands are supported",
        ));
    }
    let mut sizes: BTreeMap<char, usize> = BTreeMap::new();
    let mut operands: Vec<(Value, Labels)> = vec![];
    for (term, item) in terms.iter().zip(&items) {
        let shape = g.shape(item.value);
        let labels = label(term, shape.len()).ok_or(malformed.clone())?;
        for (&label, &size) in labels.iter().zip(shape) {
            if *sizes.entry(label).or_insert(size) != size {
                let shapes = items
                    .iter()
                    .map(|item| g.shape(item.value).to_vec())
                    .collect();
                return Err(Fault::Shapes(shapes));
            }
        }
        operands.push((item.value, labels));
    }
    let output = match output {
        Some(output) => {
            let ellipsis = sizes.keys().filter(|label| label.is_ascii_digit()).count();
            let letters = output.replace("...", "").len();
            let rank = letters + if output.contains("...") { ellipsis } else { 0 };
            label(output, rank).ok_or(malformed.clone())?
        }
        None => implicit_output(&operands, &sizes),
    };
    if output.iter().any(|label| !sizes.contains_key(label)) {
        return Err(malformed);
    }
    Ok(vec![Item::float(contract(g, operands, &output, &sizes))])
}

/// The labels of a term over `rank` axes; `None` if it does not fit, or names an axis twice.
fn label(term: &str, rank: usize) -> Option<Labels> {
    let (before, after, dots) = match term.split_once("...") {
        Some((before, after)) => (before, after, true),
        None => (term, "", false),
    };
    let hidden = rank
        .checked_sub(before.len() + after.len())
        .filter(|&n| n <= if dots { 10 } else { 0 })?;
    let ellipsis = (0..hidden).rev().map(|i| char::from(b'0' + i as u8));
    let labels: Labels = before
        .chars()
        .chain(ellipsis)
        .chain(after.chars())
        .collect();
    let letters = before
        .chars()
        .chain(after.chars())
        .all(|l| l.is_ascii_alphabetic());
    let distinct = labels
        .iter()
        .enumerate()
        .all(|(i, l)| !labels[..i].contains(l));
    (letters && distinct).then_some(labels)
}

/// Without an arrow: the ellipsis, then the labels that occur once, in alphabetical order.
fn implicit_output(operands: &[(Value, Labels)], sizes: &BTreeMap<char, usize>) -> Labels {
    let once = |l: &&char| {
        operands
            .iter()
            .filter(|(_, labels)| labels.contains(l))
            .count()
            == 1
    };
    let ellipsis = sizes.keys().rev().filter(|l| l.is_ascii_digit());
    ellipsis
        .chain(
            sizes
                .keys()
                .filter(|l| l.is_ascii_alphabetic())
                .filter(once),
        )
        .copied()
        .collect()
}

/// Sums the labels that only one operand has and the output lacks, then multiplies.
fn contract(
    g: &mut Graph,
    operands: Vec<(Value, Labels)>,
    output: &Labels,
    sizes: &BTreeMap<char, usize>,
) -> Value {
    let labels: Vec<Labels> = operands.iter().map(|(_, labels)| labels.clone()).collect();
    let mut operands: Vec<(Value, Labels)> = operands
        .into_iter()
        .enumerate()
        .map(|(i, (value, own))| {
            let elsewhere = |l: &char| (0..labels.len()).any(|j| j != i && labels[j].contains(l));
            let (kept, lost): (Labels, Labels) =
                own.iter().partition(|l| output.contains(l) || elsewhere(l));
            let axes: Vec<usize> = (0..own.len())
                .filter(|&axis| lost.contains(&own[axis]))
                .collect();
            (g.reduce_sum(value, &axes, false), kept)
        })
        .collect();
    let (mut value, mut labels) = operands.remove(0);
    if let Some((other, others)) = operands.pop() {
        let pick = |from: &Labels, keep: &dyn Fn(&char) -> bool| -> Labels {
            from.iter().copied().filter(|l| keep(l)).collect()
        };
        let batch = pick(output, &|l| labels.contains(l) && others.contains(l));
        let inner = pick(&labels, &|l| others.contains(l) && !output.contains(l));
        let left = pick(&labels, &|l| !others.contains(l));
        let right = pick(&others, &|l| !labels.contains(l));
        let a = matrix(g, value, &labels, [&batch, &left, &inner], sizes);
        let b = matrix(g, other, &others, [&batch, &inner, &right], sizes);
        let product = g.mm(a, b, false, false);
        labels = [batch, left, right].concat();
        let shape: Vec<usize> = labels.iter().map(|l| sizes[l]).collect();
        value = g.reshape(product, &shape);
    }
    permute(g, value, &labels, output)
}

/// The operand as a batch of matrices: batch axes, then one axis for the rows' labels and one for the columns'.
fn matrix(
    g: &mut Graph,
    value: Value,
    labels: &Labels,
    [batch, rows, columns]: [&Labels; 3],
    sizes: &BTreeMap<char, usize>,
) -> Value {
    let permuted = permute(
        g,
        value,
        labels,
        &[batch.as_slice(), rows, columns].concat(),
    );
    let size = |group: &Labels| group.iter().map(|l| sizes[l]).product::<usize>();
    let mut shape: Vec<usize> = batch.iter().map(|l| sizes[l]).collect();
    shape.extend([size(rows), size(columns)]);
    g.reshape(permuted, &shape)
}

fn permute(g: &mut Graph, value: Value, from: &Labels, to: &Labels) -> Value {
    let perm: Vec<usize> = to
        .iter()
        .filter_map(|l| from.iter().position(|f| f == l))
        .collect();
    g.transpose(value, &perm)
}
