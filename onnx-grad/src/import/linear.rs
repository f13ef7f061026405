//! Matrix products.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Op};

pub(super) const RULES: &[(&str, Rule)] = &[("Gemm", gemm), ("MatMul", matmul)];

/// `alpha op(a) op(b) + beta c`.
fn gemm(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    let (ta, tb) = (c.int("transA", 0) != 0, c.int("transB", 0) != 0);
    let (a, b) = (c.value(0)?, c.value(1)?);
    if g.shape(a).len() != 2 || g.shape(b).len() != 2 {
        return Err(Fault::Shapes(vec![
            g.shape(a).to_vec(),
            g.shape(b).to_vec(),
        ]));
    }
    let product = g.checked(Op::MatMul { ta, tb }, &[a, b])?;
    let product = g.scale(product, c.float("alpha", 1.0));
    let Some(bias) = c.optional(2) else {
        return Ok(vec![Item::float(product)]);
    };
    let bias = g.scale(bias.value, c.float("beta", 1.0));
    let sum = g.try_binary(Binary::Add, product, bias)?;
    match g.shape(sum) == g.shape(product) {
        true => Ok(vec![Item::float(sum)]),
        false => Err(Fault::Operand(2, "must broadcast to the product")),
    }
}

/// The numpy matrix product: a vector on the left is a row, on the right a column, and its axis vanishes.
fn matmul(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    let (mut a, mut b) = (c.value(0)?, c.value(1)?);
    let (row, column) = (g.shape(a).len() == 1, g.shape(b).len() == 1);
    if row {
        let shape = [1, g.shape(a)[0]];
        a = g.reshape(a, &shape);
    }
    if column {
        let shape = [g.shape(b)[0], 1];
        b = g.reshape(b, &shape);
    }
    let product = g.checked(
        Op::MatMul {
            ta: false,
            tb: false,
        },
        &[a, b],
    )?;
    let mut shape = g.shape(product).to_vec();
    if column {
        shape.pop();
    }
    if row {
        shape.remove(shape.len() - if column { 1 } else { 2 });
    }
    Ok(vec![Item::float(g.reshape(product, &shape))])
}

/// `alpha op(a) op(b)` with batch axes.
pub(super) fn fused_matmul(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    if c.int("transBatchA", 0) != 0 || c.int("transBatchB", 0) != 0 {
        return Err(Fault::Attribute(
            "transBatchA",
            "transposed batch axes are not supported",
        ));
    }
    let (ta, tb) = (c.int("transA", 0) != 0, c.int("transB", 0) != 0);
    let product = g.checked(Op::MatMul { ta, tb }, &[c.value(0)?, c.value(1)?])?;
    Ok(vec![Item::float(g.scale(product, c.float("alpha", 1.0)))])
}
