//! Rules of the reductions.

use crate::graph::Graph;
use crate::ir::{Reduce, Value};

/// A sum hands its gradient to every element; a maximum to the elements that reach it, in equal shares.
pub(super) fn reduce(
    g: &mut Graph,
    kind: Reduce,
    axes: &[usize],
    x: Value,
    y: Value,
    d: Value,
) -> Value {
    let shape = g.shape(x).to_vec();
    let kept = crate::shape::reduce(&shape, axes, true);
    let d = g.reshape(d, &kept);
    match kind {
        Reduce::Sum => g.expand(d, &shape),
        Reduce::Max => {
            let top = g.reshape(y, &kept);
            let below = g.greater(top, x);
            let one = g.scalar(1.0);
            let reached = g.sub(one, below);
            let ties = g.reduce_sum(reached, axes, true);
            let share = g.div(d, ties);
            g.mul(reached, share)
        }
    }
}
