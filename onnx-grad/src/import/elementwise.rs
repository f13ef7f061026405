//! Elementwise operators, comparisons and logic.

use super::call::{Call, Item, Kind};
use super::{Rule, constant};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Op, Unary, Value};
use crate::proto::tensor_proto::DataType;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Abs", |g, c| unary(g, c, Unary::Abs)),
    ("Add", |g, c| binary(g, c, Binary::Add)),
    ("And", |g, c| logic(g, c, Graph::mul)),
    ("Cast", |g, c| cast(g, c, c.int("to", 0))),
    ("CastLike", cast_like),
    ("Celu", |g, c| {
        let alpha = c.float("alpha", 1.0);
        activation(g, c, |g, x| exponential_unit(g, x, alpha, 1.0 / alpha, 1.0))
    }),
    ("Clip", clip),
    ("Cos", |g, c| unary(g, c, Unary::Cos)),
    ("Div", div),
    ("Dropout", dropout),
    ("Elu", |g, c| {
        let alpha = c.float("alpha", 1.0);
        activation(g, c, |g, x| exponential_unit(g, x, alpha, 1.0, 1.0))
    }),
    ("Equal", equal),
    ("Erf", |g, c| unary(g, c, Unary::Erf)),
    ("Exp", |g, c| unary(g, c, Unary::Exp)),
    ("Gelu", gelu),
    ("Greater", |g, c| compare(g, c, false, false)),
    ("GreaterOrEqual", |g, c| compare(g, c, true, true)),
    ("HardSigmoid", |g, c| {
        let (alpha, beta) = (c.float("alpha", 0.2), c.float("beta", 0.5));
        activation(g, c, |g, x| hard_sigmoid(g, x, alpha, beta))
    }),
    ("HardSwish", |g, c| {
        activation(g, c, |g, x| {
            let gate = hard_sigmoid(g, x, 1.0 / 6.0, 0.5);
            g.mul(x, gate)
        })
    }),
    ("Identity", |_, c| Ok(vec![c.item(0)?])),
    ("IsNaN", is_nan),
    ("LeakyRelu", |g, c| {
        let alpha = c.float("alpha", 0.01);
        activation(g, c, |g, x| {
            let low = g.scale(x, alpha);
            where_positive(g, x, x, low)
        })
    }),
    ("Less", |g, c| compare(g, c, true, false)),
    ("LessOrEqual", |g, c| compare(g, c, false, true)),
    ("Log", |g, c| unary(g, c, Unary::Log)),
    ("Max", |g, c| variadic(g, c, Binary::Max)),
    ("Mean", |g, c| {
        let sum = variadic(g, c, Binary::Add)?[0].value;
        Ok(vec![Item::float(
            g.scale(sum, 1.0 / c.operands.len() as f64),
        )])
    }),
    ("Min", |g, c| variadic(g, c, Binary::Min)),
    ("Mish", |g, c| {
        activation(g, c, |g, x| {
            let soft = g.softplus(x);
            let gate = g.tanh(soft);
            g.mul(x, gate)
        })
    }),
    ("Mul", |g, c| binary(g, c, Binary::Mul)),
    ("Neg", |g, c| unary(g, c, Unary::Neg)),
    ("Not", |g, c| {
        let one = g.scalar(1.0);
        let x = c.value(0)?;
        Ok(vec![Item::bool(g.sub(one, x))])
    }),
    ("Or", |g, c| logic(g, c, Graph::max)),
    ("PRelu", prelu),
    ("Pow", |g, c| binary(g, c, Binary::Pow)),
    ("Reciprocal", |g, c| {
        activation(g, c, |g, x| {
            let one = g.scalar(1.0);
            g.div(one, x)
        })
    }),
    ("Relu", |g, c| unary(g, c, Unary::Relu)),
    ("Selu", |g, c| {
        let (alpha, gamma) = (c.float("alpha", 1.673_263_2), c.float("gamma", 1.050_701));
        activation(g, c, |g, x| exponential_unit(g, x, alpha, 1.0, gamma))
    }),
    ("Sigmoid", |g, c| unary(g, c, Unary::Sigmoid)),
    ("Sign", |g, c| unary(g, c, Unary::Sign)),
    ("Sin", |g, c| unary(g, c, Unary::Sin)),
    ("Softplus", |g, c| unary(g, c, Unary::Softplus)),
    ("Softsign", |g, c| {
        activation(g, c, |g, x| {
            let one = g.scalar(1.0);
            let size = g.abs(x);
            let denominator = g.add(size, one);
            g.div(x, denominator)
        })
    }),
    ("Sqrt", |g, c| unary(g, c, Unary::Sqrt)),
    ("Sub", |g, c| binary(g, c, Binary::Sub)),
    ("Sum", |g, c| variadic(g, c, Binary::Add)),
    ("Swish", |g, c| {
        let alpha = c.float("alpha", 1.0);
        activation(g, c, |g, x| {
            let scaled = g.scale(x, alpha);
            let gate = g.sigmoid(scaled);
            g.mul(x, gate)
        })
    }),
    ("Tanh", |g, c| unary(g, c, Unary::Tanh)),
    ("ThresholdedRelu", |g, c| {
        let alpha = c.float("alpha", 1.0);
        activation(g, c, |g, x| {
            let (threshold, zero) = (g.scalar(alpha), g.scalar(0.0));
            let above = g.greater(x, threshold);
            g.select(above, x, zero)
        })
    }),
    ("Where", |g, c| {
        let inputs = [c.value(0)?, c.value(1)?, c.value(2)?];
        let value = g.checked(Op::Select, &inputs)?;
        Ok(vec![Item {
            value,
            kind: c.item(1)?.kind,
        }])
    }),
    ("Xor", |g, c| {
        logic(g, c, |g, a, b| {
            let difference = g.sub(a, b);
            g.abs(difference)
        })
    }),
];

fn unary(g: &mut Graph, c: &Call<'_>, f: Unary) -> Built {
    let x = c.item(0)?;
    Ok(vec![Item {
        value: g.checked(Op::Unary(f), &[x.value])?,
        kind: x.kind,
    }])
}

fn binary(g: &mut Graph, c: &Call<'_>, f: Binary) -> Built {
    let (a, b) = (c.item(0)?, c.item(1)?);
    Ok(vec![Item {
        value: g.try_binary(f, a.value, b.value)?,
        kind: a.kind,
    }])
}

fn variadic(g: &mut Graph, c: &Call<'_>, f: Binary) -> Built {
    let items = c.all()?;
    let mut result = items[0];
    for item in &items[1..] {
        result.value = g.try_binary(f, result.value, item.value)?;
    }
    Ok(vec![result])
}

/// A composition of one operand, whose shape it keeps.
fn activation(g: &mut Graph, c: &Call<'_>, f: impl Fn(&mut Graph, Value) -> Value) -> Built {
    let x = c.value(0)?;
    Ok(vec![Item::float(f(g, x))])
}

/// Float division, or that of integers, which rounds towards zero.
fn div(g: &mut Graph, c: &Call<'_>) -> Built {
    let result = binary(g, c, Binary::Div)?;
    if result[0].kind != Kind::Int {
        return Ok(result);
    }
    if c.numbers(g, 1)?.contains(&0.0) {
        return Err(Fault::Operand(1, "divides integers by zero"));
    }
    constant::map_integers(g, result[0].value, f64::trunc)
}

/// `beta * (x if x > 0 else alpha * (exp(x * inner) - 1))`; the exponential never sees a positive number.
fn exponential_unit(g: &mut Graph, x: Value, alpha: f64, inner: f64, beta: f64) -> Value {
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let negative = where_positive(g, x, zero, x);
    let scaled = g.scale(negative, inner);
    let exp = g.exp(scaled);
    let drop = g.sub(exp, one);
    let low = g.scale(drop, alpha);
    let unit = where_positive(g, x, x, low);
    g.scale(unit, beta)
}

fn where_positive(g: &mut Graph, x: Value, a: Value, b: Value) -> Value {
    let zero = g.scalar(0.0);
    let positive = g.greater(x, zero);
    g.select(positive, a, b)
}

fn hard_sigmoid(g: &mut Graph, x: Value, alpha: f64, beta: f64) -> Value {
    let (shift, low, high) = (g.scalar(beta), g.scalar(0.0), g.scalar(1.0));
    let line = g.scale(x, alpha);
    let line = g.add(line, shift);
    clamp(g, line, Some(low), Some(high))
}

/// Like torch's clamp, hands the gradient through at the bounds themselves.
fn clamp(g: &mut Graph, x: Value, low: Option<Value>, high: Option<Value>) -> Value {
    let mut y = x;
    if let Some(low) = low {
        let below = g.greater(low, y);
        y = g.select(below, low, y);
    }
    if let Some(high) = high {
        let above = g.greater(y, high);
        y = g.select(above, high, y);
    }
    y
}

fn clip(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.item(0)?;
    let bound = |i: usize, unbounded: f64| match c.optional(i) {
        Some(item) if !g.shape(item.value).iter().all(|&d| d == 1) => {
            Err(Fault::Operand(i, "a bound is one number"))
        }
        Some(item) if g.uniform(item.value) == Some(unbounded) => Ok(None),
        other => Ok(other.map(|item| item.value)),
    };
    let (low, high) = (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?);
    let [low, high] = [low, high].map(|bound| bound.map(|v| g.reshape(v, &[])));
    Ok(vec![Item {
        value: clamp(g, x.value, low, high),
        kind: x.kind,
    }])
}

fn gelu(g: &mut Graph, c: &Call<'_>) -> Built {
    let tanh = match c.string("approximate").unwrap_or("none") {
        "none" => false,
        "tanh" => true,
        _ => return Err(Fault::Attribute("approximate", "is 'none' or 'tanh'")),
    };
    activation(g, c, |g, x| {
        let bell = if tanh {
            let square = g.mul(x, x);
            let cube = g.mul(square, x);
            let bend = g.scale(cube, 0.044_715);
            let sum = g.add(x, bend);
            let scaled = g.scale(sum, (2.0 / std::f64::consts::PI).sqrt());
            g.tanh(scaled)
        } else {
            let scaled = g.scale(x, std::f64::consts::FRAC_1_SQRT_2);
            g.erf(scaled)
        };
        let one = g.scalar(1.0);
        let gate = g.add(bell, one);
        let gated = g.mul(x, gate);
        g.scale(gated, 0.5)
    })
}

fn prelu(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let low = g.try_binary(Binary::Mul, x, c.value(1)?)?;
    if g.shape(low) != g.shape(x) {
        return Err(Fault::Operand(1, "the slope must broadcast to the input"));
    }
    Ok(vec![Item::float(where_positive(g, x, x, low))])
}

fn dropout(g: &mut Graph, c: &Call<'_>) -> Built {
    if c.optional(2).is_some() && c.number(g, 2)? != 0.0 {
        return Err(Fault::Operand(
            2,
            "dropout in training mode is random: export in evaluation mode",
        ));
    }
    let x = c.item(0)?;
    let shape = g.shape(x.value).to_vec();
    Ok(vec![x, Item::bool(g.full(&shape, 1.0))])
}

/// `a > b` (`b > a` if `swap`), or its negation.
fn compare(g: &mut Graph, c: &Call<'_>, swap: bool, negate: bool) -> Built {
    let (a, b) = (c.value(0)?, c.value(1)?);
    let (a, b) = if swap { (b, a) } else { (a, b) };
    let mask = g.try_binary(Binary::Greater, a, b)?;
    let one = g.scalar(1.0);
    Ok(vec![Item::bool(if negate {
        g.sub(one, mask)
    } else {
        mask
    })])
}

fn equal(g: &mut Graph, c: &Call<'_>) -> Built {
    let (a, b) = (c.value(0)?, c.value(1)?);
    let above = g.try_binary(Binary::Greater, a, b)?;
    let below = g.greater(b, a);
    let differs = g.add(above, below);
    let one = g.scalar(1.0);
    Ok(vec![Item::bool(g.sub(one, differs))])
}

/// Every number is above -1 or below 0.
fn is_nan(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let (low, zero, one) = (g.scalar(-1.0), g.scalar(0.0), g.scalar(1.0));
    let (above, below) = (g.greater(x, low), g.greater(zero, x));
    let number = g.max(above, below);
    Ok(vec![Item::bool(g.sub(one, number))])
}

fn logic(g: &mut Graph, c: &Call<'_>, f: fn(&mut Graph, Value, Value) -> Value) -> Built {
    let (a, b) = (c.value(0)?, c.value(1)?);
    g.try_binary(Binary::Add, a, b)?;
    Ok(vec![Item::bool(f(g, a, b))])
}

fn cast(g: &mut Graph, c: &Call<'_>, to: i64) -> Built {
    let to = i32::try_from(to)
        .ok()
        .and_then(|to| DataType::try_from(to).ok());
    let kind = match to {
        Some(DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16) => {
            Kind::Float
        }
        Some(DataType::Int64 | DataType::Int32) => Kind::Int,
        Some(DataType::Bool) => Kind::Bool,
        _ => {
            return Err(Fault::Attribute(
                "to",
                "is not float, double, int32, int64 or bool",
            ));
        }
    };
    cast_to(g, c, kind)
}

fn cast_like(g: &mut Graph, c: &Call<'_>) -> Built {
    let kind = c.item(1)?.kind;
    cast_to(g, c, kind)
}

fn cast_to(g: &mut Graph, c: &Call<'_>, kind: Kind) -> Built {
    let x = c.item(0)?;
    match (x.kind, kind) {
        (Kind::Float, Kind::Int) => {
            c.numbers(g, 0)?;
            constant::map_integers(g, x.value, f64::trunc)
        }
        (Kind::Float | Kind::Int, Kind::Bool) => {
            let zero = g.scalar(0.0);
            let size = g.abs(x.value);
            Ok(vec![Item::bool(g.greater(size, zero))])
        }
        _ => Ok(vec![Item {
            value: x.value,
            kind,
        }]),
    }
}
