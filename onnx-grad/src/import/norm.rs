//! Normalisations and softmax, composed of simpler operators.

use super::Rule;
use super::call::{Call, Item};
use super::reduce::log_sum_exp;
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Value};
use crate::shape::broadcasts_to;

type Built = Result<Vec<Item>, Fault>;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", batch_norm),
    ("GroupNormalization", group_norm),
    ("InstanceNormalization", instance_norm),
    ("LayerNormalization", layer_norm),
    ("LogSoftmax", |g, c| softmax(g, c, true)),
    ("RMSNormalization", rms_norm),
    ("Softmax", |g, c| softmax(g, c, false)),
];

fn softmax(g: &mut Graph, c: &Call<'_>, log: bool) -> Built {
    let x = c.value(0)?;
    let axis = c.axis("axis", -1, g.shape(x).len())?;
    if g.shape(x)[axis] == 0 {
        return Err(Fault::Operand(0, "softmax over an axis without elements"));
    }
    if log {
        let total = log_sum_exp(g, x, &[axis], true);
        return Ok(vec![Item::float(g.sub(x, total))]);
    }
    let top = g.reduce_max(x, &[axis], true);
    let below = g.sub(x, top);
    let exp = g.exp(below);
    let sum = g.reduce_sum(exp, &[axis], true);
    Ok(vec![Item::float(g.div(exp, sum))])
}

/// `x / sqrt(mean(x^2) + epsilon)` over the axes.
fn unit_variance(g: &mut Graph, x: Value, axes: &[usize], epsilon: f64) -> Value {
    let squares = g.mul(x, x);
    let variance = g.mean(squares, axes, true);
    let epsilon = g.scalar(epsilon);
    let variance = g.add(variance, epsilon);
    let deviation = g.sqrt(variance);
    g.div(x, deviation)
}

fn zero_mean(g: &mut Graph, x: Value, axes: &[usize]) -> Value {
    let mean = g.mean(x, axes, true);
    g.sub(x, mean)
}

/// `x * scale + bias`; both must broadcast to `x`.
fn affine(g: &mut Graph, x: Value, scale: Value, bias: Option<Value>) -> Result<Value, Fault> {
    for v in [Some(scale), bias].into_iter().flatten() {
        if !broadcasts_to(g.shape(v), g.shape(x)) {
            return Err(Fault::Shapes(vec![
                g.shape(x).to_vec(),
                g.shape(v).to_vec(),
            ]));
        }
    }
    let y = g.mul(x, scale);
    match bias {
        Some(bias) => g.try_binary(Binary::Add, y, bias),
        None => Ok(y),
    }
}

/// Axes from the attribute to the last, none without elements.
fn trailing_axes(g: &Graph, c: &Call<'_>, x: Value) -> Result<Vec<usize>, Fault> {
    let rank = g.shape(x).len();
    let axes: Vec<usize> = (c.axis("axis", -1, rank)?..rank).collect();
    match axes.iter().all(|&axis| g.shape(x)[axis] > 0) {
        true => Ok(axes),
        false => Err(Fault::Operand(0, "normalises an axis without elements")),
    }
}

fn layer_norm(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let axes = trailing_axes(g, c, x)?;
    let centred = zero_mean(g, x, &axes);
    let unit = unit_variance(g, centred, &axes, c.float("epsilon", 1e-5));
    let bias = c.optional(2).map(|item| item.value);
    Ok(vec![Item::float(affine(g, unit, c.value(1)?, bias)?)])
}

fn rms_norm(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let axes = trailing_axes(g, c, x)?;
    let unit = unit_variance(g, x, &axes, c.float("epsilon", 1e-5));
    Ok(vec![Item::float(affine(g, unit, c.value(1)?, None)?)])
}

/// A vector with one entry a channel (axis 1), shaped so that it broadcasts over a tensor of `rank` axes.
fn per_channel(g: &mut Graph, v: Value, rank: usize) -> Result<Value, Fault> {
    let mut shape = vec![1; rank.saturating_sub(1)];
    match (g.shape(v), shape.first_mut()) {
        (&[channels], Some(first)) => *first = channels,
        (other, _) => return Err(Fault::Shapes(vec![other.to_vec()])),
    }
    Ok(g.reshape(v, &shape))
}

/// With the stored statistics, as at inference.
fn batch_norm(g: &mut Graph, c: &Call<'_>) -> Built {
    if c.int("training_mode", 0) != 0 {
        return Err(Fault::Attribute(
            "training_mode",
            "export in evaluation mode",
        ));
    }
    let x = c.value(0)?;
    let rank = g.shape(x).len();
    let mut operand = |i: usize| per_channel(g, c.value(i)?, rank);
    let (scale, bias, mean, variance) = (operand(1)?, operand(2)?, operand(3)?, operand(4)?);
    let centred = g.try_binary(Binary::Sub, x, mean)?;
    let epsilon = g.scalar(c.float("epsilon", 1e-5));
    let variance = g.add(variance, epsilon);
    let deviation = g.sqrt(variance);
    let unit = g.try_binary(Binary::Div, centred, deviation)?;
    Ok(vec![Item::float(affine(g, unit, scale, Some(bias))?)])
}

fn instance_norm(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let rank = g.shape(x).len();
    let axes: Vec<usize> = (2..rank).collect();
    if axes.is_empty() || g.shape(x).contains(&0) {
        return Err(Fault::Shapes(vec![g.shape(x).to_vec()]));
    }
    let centred = zero_mean(g, x, &axes);
    let unit = unit_variance(g, centred, &axes, c.float("epsilon", 1e-5));
    let scale = per_channel(g, c.value(1)?, rank)?;
    let bias = per_channel(g, c.value(2)?, rank)?;
    Ok(vec![Item::float(affine(g, unit, scale, Some(bias))?)])
}

/// Before opset 21 scale and bias have one entry a group, since then one a channel.
fn group_norm(g: &mut Graph, c: &Call<'_>) -> Built {
    let x = c.value(0)?;
    let shape = g.shape(x).to_vec();
    let groups = usize::try_from(c.int("num_groups", 0)).unwrap_or(0);
    let (Some(&channels), false) = (shape.get(1), shape.contains(&0)) else {
        return Err(Fault::Shapes(vec![shape]));
    };
    if groups == 0 || !channels.is_multiple_of(groups) {
        return Err(Fault::Attribute("num_groups", "must divide the channels"));
    }
    let mut grouped = vec![shape[0], groups, channels / groups];
    grouped.extend_from_slice(&shape[2..]);
    let axes: Vec<usize> = (2..grouped.len()).collect();
    let x = g.reshape(x, &grouped);
    let centred = zero_mean(g, x, &axes);
    let mut unit = unit_variance(g, centred, &axes, c.float("epsilon", 1e-5));
    let by_channel = c.opset >= 21;
    if by_channel {
        unit = g.reshape(unit, &shape);
    }
    let rank = g.shape(unit).len();
    let scale = per_channel(g, c.value(1)?, rank)?;
    let bias = per_channel(g, c.value(2)?, rank)?;
    let y = affine(g, unit, scale, Some(bias))?;
    Ok(vec![Item::float(g.reshape(y, &shape))])
}
