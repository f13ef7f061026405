//! Functions of angles, and rounding, with which angles are wrapped.

use super::Rule;
use super::call::{Call, Item, Kind};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Value};
use std::f64::consts::FRAC_PI_2;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Acos", |g, c| {
        of_one(g, c, |g, x| {
            let asin = arc_sine(g, x);
            let right = g.scalar(FRAC_PI_2);
            g.sub(right, asin)
        })
    }),
    ("Asin", |g, c| of_one(g, c, arc_sine)),
    ("Atan", |g, c| of_one(g, c, Graph::atan)),
    ("Ceil", |g, c| {
        of_one(g, c, |g, x| {
            let negative = g.neg(x);
            let floor = g.floor(negative);
            g.neg(floor)
        })
    }),
    ("Cosh", |g, c| {
        of_one(g, c, |g, x| hyperbolic(g, x, Graph::add))
    }),
    ("Floor", |g, c| of_one(g, c, Graph::floor)),
    ("Mod", modulo),
    ("Round", |g, c| of_one(g, c, Graph::round)),
    ("Sinh", |g, c| {
        of_one(g, c, |g, x| hyperbolic(g, x, Graph::sub))
    }),
    ("Tan", |g, c| {
        of_one(g, c, |g, x| {
            let (sine, cosine) = (g.sin(x), g.cos(x));
            g.div(sine, cosine)
        })
    }),
];

fn of_one(
    g: &mut Graph,
    c: &Call<'_>,
    f: impl Fn(&mut Graph, Value) -> Value,
) -> Result<Vec<Item>, Fault> {
    let x = c.item(0)?;
    Ok(vec![Item {
        value: f(g, x.value),
        ..x
    }])
}

/// `atan(x / sqrt(1 - x^2))`
fn arc_sine(g: &mut Graph, x: Value) -> Value {
    let (one, square) = (g.scalar(1.0), g.mul(x, x));
    let rest = g.sub(one, square);
    let cosine = g.sqrt(rest);
    let tangent = g.div(x, cosine);
    g.atan(tangent)
}

/// `(exp(x) ± exp(-x)) / 2`
fn hyperbolic(g: &mut Graph, x: Value, join: fn(&mut Graph, Value, Value) -> Value) -> Value {
    let negative = g.neg(x);
    let (up, down) = (g.exp(x), g.exp(negative));
    let sum = join(g, up, down);
    g.scale(sum, 0.5)
}

/// `a - b floor(a / b)`, of the sign of `b`; with `fmod`, or between floats, rounded towards zero and of the sign of `a`.
fn modulo(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    let (a, b) = (c.item(0)?, c.value(1)?);
    if a.kind == Kind::Int && c.numbers(g, 1)?.contains(&0.0) {
        return Err(Fault::Operand(1, "divides integers by zero"));
    }
    let quotient = g.try_binary(Binary::Div, a.value, b)?;
    let whole = if c.int("fmod", 0) != 0 {
        let (sign, size) = (g.sign(quotient), g.abs(quotient));
        let floor = g.floor(size);
        g.mul(sign, floor)
    } else {
        g.floor(quotient)
    };
    let multiple = g.mul(b, whole);
    Ok(vec![Item {
        value: g.sub(a.value, multiple),
        ..a
    }])
}
