//! Rules of the matrix product and the inverse.

use crate::graph::Graph;
use crate::ir::Value;

/// For `y = op(a) op(b)`: `op(a)` gets `d op(b)^T`, `op(b)` gets `op(a)^T d`; an operand that is read transposed gets the
/// transpose of that, which is another product, never a transpose of its own.
pub(super) fn matmul(
    g: &mut Graph,
    a: Value,
    b: Value,
    ta: bool,
    tb: bool,
    d: Value,
) -> Vec<Option<Value>> {
    let da = if ta {
        g.mm(b, d, tb, true)
    } else {
        g.mm(d, b, false, !tb)
    };
    let shape = g.shape(a).to_vec();
    let da = g.unbroadcast(da, &shape);
    // A matrix shared by a batch gets the sum over the batch: one tall product instead of a batch of them and a sum.
    let shared = g.shape(b).len() == 2 && g.shape(a).len() == g.shape(d).len() && !ta;
    let (a, d) = if shared {
        (stack_rows(g, a), stack_rows(g, d))
    } else {
        (a, d)
    };
    let db = if tb {
        g.mm(d, a, true, ta)
    } else {
        g.mm(a, d, !ta, false)
    };
    let shape = g.shape(b).to_vec();
    vec![Some(da), Some(g.unbroadcast(db, &shape))]
}

/// For `y = a^-1`: `-y^T d y^T`.
pub(super) fn inverse(g: &mut Graph, y: Value, d: Value) -> Value {
    let left = g.mm(y, d, true, false);
    let both = g.mm(left, y, false, true);
    g.neg(both)
}

/// All matrices of a batch on top of each other.
fn stack_rows(g: &mut Graph, v: Value) -> Value {
    let shape = g.shape(v);
    let (rows, columns) = shape.split_at(shape.len() - 1);
    let stacked = [rows.iter().product(), columns[0]];
    g.reshape(v, &stacked)
}
