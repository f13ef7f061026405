//! Rules of the elementwise operators. Masks have no gradient.

use crate::graph::Graph;
use crate::ir::{Binary, Unary, Value};

/// Rules of one operand: `y = f(x)`, with `d` the gradient with respect to `y`.
pub(super) fn unary(g: &mut Graph, f: Unary, x: Value, y: Value, d: Value) -> Option<Value> {
    let slope = match f {
        Unary::Neg => return Some(g.neg(d)),
        Unary::Log => return Some(g.div(d, x)),
        Unary::Sqrt => {
            let quotient = g.div(d, y);
            return Some(g.scale(quotient, 0.5));
        }
        Unary::Exp => y,
        Unary::Tanh => {
            let square = g.mul(y, y);
            one_minus(g, square)
        }
        Unary::Sigmoid => {
            let rest = one_minus(g, y);
            g.mul(y, rest)
        }
        Unary::Softplus => g.sigmoid(x),
        Unary::Relu => {
            let zero = g.scalar(0.0);
            g.greater(x, zero)
        }
        Unary::Sin => g.cos(x),
        Unary::Cos => {
            let sine = g.sin(x);
            g.neg(sine)
        }
        Unary::Abs => g.sign(x),
        Unary::Sign | Unary::Floor | Unary::Round => return None,
        Unary::Atan => {
            let square = g.mul(x, x);
            let one = g.scalar(1.0);
            let denominator = g.add(square, one);
            return Some(g.div(d, denominator));
        }
        Unary::Erf => {
            let square = g.mul(x, x);
            let exponent = g.neg(square);
            let bell = g.exp(exponent);
            g.scale(bell, std::f64::consts::FRAC_2_SQRT_PI)
        }
    };
    Some(g.mul(d, slope))
}

/// Rules of two operands: `y = f(a, b)`.
pub(super) fn binary(
    g: &mut Graph,
    f: Binary,
    a: Value,
    b: Value,
    y: Value,
    d: Value,
) -> Vec<Option<Value>> {
    let (da, db) = match f {
        Binary::Add => (d, d),
        Binary::Sub => (d, g.neg(d)),
        Binary::Mul => (g.mul(d, b), g.mul(d, a)),
        Binary::Div => {
            let da = g.div(d, b);
            let back = g.mul(da, y);
            (da, g.neg(back))
        }
        Binary::Pow => {
            let one = g.scalar(1.0);
            let lowered = g.sub(b, one);
            let power = g.pow(a, lowered);
            let slope = g.mul(b, power);
            // log(a) y tends to 0 with a for positive exponents: read it as 0 where a is not positive.
            let zero = g.scalar(0.0);
            let positive = g.greater(a, zero);
            let base = g.select(positive, a, one);
            let log = g.log(base);
            let growth = g.mul(y, log);
            (g.mul(d, slope), g.mul(d, growth))
        }
        Binary::Max => {
            let first = preference(g, a, b);
            let second = one_minus(g, first);
            (g.mul(d, first), g.mul(d, second))
        }
        Binary::Min => {
            let first = preference(g, b, a);
            let second = one_minus(g, first);
            (g.mul(d, first), g.mul(d, second))
        }
        Binary::Greater => return vec![None, None],
    };
    [(da, a), (db, b)]
        .map(|(d, operand)| {
            let shape = g.shape(operand).to_vec();
            Some(g.unbroadcast(d, &shape))
        })
        .to_vec()
}

/// Rule of `mask ? a : b`.
pub(super) fn select(
    g: &mut Graph,
    mask: Value,
    a: Value,
    b: Value,
    d: Value,
) -> Vec<Option<Value>> {
    let zero = g.scalar(0.0);
    let da = g.select(mask, d, zero);
    let db = g.select(mask, zero, d);
    let [da, db] = [(da, a), (db, b)].map(|(d, operand)| {
        let shape = g.shape(operand).to_vec();
        Some(g.unbroadcast(d, &shape))
    });
    vec![None, da, db]
}

/// 1 where `a > b`, 0 where `a < b`, one half where they are equal.
fn preference(g: &mut Graph, a: Value, b: Value) -> Value {
    let above = g.greater(a, b);
    let below = g.greater(b, a);
    let sign = g.sub(above, below);
    let half = g.scale(sign, 0.5);
    let shift = g.scalar(0.5);
    g.add(half, shift)
}

fn one_minus(g: &mut Graph, x: Value) -> Value {
    let one = g.scalar(1.0);
    g.sub(one, x)
}
