//! Convolutions: windows are gathered side by side, then multiplied by the kernel as one matrix.

use super::Rule;
use super::call::{Call, Item};
use crate::error::Fault;
use crate::graph::Graph;
use crate::ir::{Binary, Op, Value};

pub(super) const RULES: &[(&str, Rule)] = &[("Conv", conv)];

/// How a kernel moves along one axis.
struct Axis {
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

/// `x [n, channels, spatial…]`, `w [filters, channels / groups, kernel…]`, `b [filters]`.
fn conv(g: &mut Graph, c: &Call<'_>) -> Result<Vec<Item>, Fault> {
    let (x, w) = (c.value(0)?, c.value(1)?);
    let (input, kernel) = (g.shape(x).to_vec(), g.shape(w).to_vec());
    let misfit = Fault::Shapes(vec![input.clone(), kernel.clone()]);
    let groups = usize::try_from(c.int("group", 1)).unwrap_or(0);
    let fits = input.len() >= 3
        && kernel.len() == input.len()
        && groups > 0
        && kernel[0].is_multiple_of(groups)
        && kernel[1].checked_mul(groups) == Some(input[1])
        && !kernel.contains(&0);
    if !fits {
        return Err(misfit);
    }
    let axes = axes(c, &input[2..], &kernel[2..])?;
    let (windows, spatial) = unfold(g, x, &axes)?;
    // Rows: one for each channel of a group and place in the kernel; columns: places of the kernel.
    let (rows, columns) = (kernel[1..].iter().product(), spatial.iter().product());
    let windows = g.try_reshape(windows, &[input[0], groups, rows, columns])?;
    let weights = g.try_reshape(w, &[groups, kernel[0] / groups, rows])?;
    let product = g.checked(
        Op::MatMul {
            ta: false,
            tb: false,
        },
        &[weights, windows],
    )?;
    let mut shape = vec![input[0], kernel[0]];
    shape.extend_from_slice(&spatial);
    let mut y = g.try_reshape(product, &shape)?;
    if let Some(bias) = c.optional(2) {
        let mut per_filter = vec![1; shape.len() - 1];
        per_filter[0] = kernel[0];
        let bias = g.try_reshape(bias.value, &per_filter)?;
        y = g.try_binary(Binary::Add, y, bias)?;
    }
    Ok(vec![Item::float(y)])
}

/// Reads the attributes, one entry a spatial axis.
fn axes(c: &Call<'_>, sizes: &[usize], kernel: &[usize]) -> Result<Vec<Axis>, Fault> {
    let count = sizes.len();
    let list = |name: &'static str, length: usize, default: usize| match c.ints(name) {
        None => Ok(vec![default; length]),
        Some(list) if list.len() == length => list
            .iter()
            .map(|&x| usize::try_from(x).map_err(|_| Fault::Attribute(name, "is negative")))
            .collect::<Result<Vec<_>, _>>(),
        Some(_) => Err(Fault::Attribute(
            name,
            "has another number of axes than the input",
        )),
    };
    let (strides, dilations) = (list("strides", count, 1)?, list("dilations", count, 1)?);
    let pads = list("pads", 2 * count, 0)?;
    if strides.contains(&0) || dilations.contains(&0) {
        return Err(Fault::Attribute("strides", "a stride or dilation is 0"));
    }
    let mode = c.string("auto_pad").unwrap_or("NOTSET");
    (0..count)
        .map(|i| {
            let (stride, dilation) = (strides[i], dilations[i]);
            let reach = (kernel[i] - 1).saturating_mul(dilation).saturating_add(1);
            let (before, after) = match mode {
                "NOTSET" => (pads[i], pads[i + count]),
                "VALID" => (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let steps = sizes[i].div_ceil(stride).saturating_sub(1);
                    let total = steps
                        .saturating_mul(stride)
                        .saturating_add(reach)
                        .saturating_sub(sizes[i]);
                    let (half, rest) = (total / 2, total - total / 2);
                    if mode == "SAME_UPPER" {
                        (half, rest)
                    } else {
                        (rest, half)
                    }
                }
                _ => return Err(Fault::Attribute("auto_pad", "is of an unknown kind")),
            };
            Ok(Axis {
                kernel: kernel[i],
                stride,
                dilation,
                before,
                after,
            })
        })
        .collect()
}

/// Turns `[n, channels, spatial…]` into `[n, channels, kernel…, places…]`: what the kernel sees at each of its places. Also
/// returns the numbers of places.
fn unfold(g: &mut Graph, x: Value, axes: &[Axis]) -> Result<(Value, Vec<usize>), Fault> {
    const MOST: usize = 1 << 20;
    let mut value = x;
    let mut places = vec![];
    for (i, axis) in axes.iter().enumerate() {
        value = g.checked(
            Op::Pad {
                axis: i + 2,
                before: axis.before,
                after: axis.after,
            },
            &[value],
        )?;
        let size = g.shape(value)[i + 2];
        let last = size.checked_sub(
            (axis.kernel - 1)
                .saturating_mul(axis.dilation)
                .saturating_add(1),
        );
        let count = last.map(|last| last / axis.stride + 1);
        let Some(count) = count.filter(|count| count.saturating_mul(axis.kernel) <= MOST) else {
            return Err(Fault::Operand(
                1,
                "the kernel is larger than the padded input, or the input too long",
            ));
        };
        let indices: Vec<usize> = (0..axis.kernel)
            .flat_map(|k| (0..count).map(move |place| k * axis.dilation + place * axis.stride))
            .collect();
        value = g.checked(
            Op::Gather {
                axis: i + 2,
                indices: indices.into(),
            },
            &[value],
        )?;
        places.push(count);
    }
    // Split each spatial axis in kernel and place, and bring the kernel's axes together.
    let mut shape = g.shape(x)[..2].to_vec();
    shape.extend(
        axes.iter()
            .zip(&places)
            .flat_map(|(axis, &count)| [axis.kernel, count]),
    );
    let split = g.try_reshape(value, &shape)?;
    let kernel = (0..axes.len()).map(|i| 2 + 2 * i);
    let perm: Vec<usize> = [0, 1]
        .into_iter()
        .chain(kernel.clone())
        .chain(kernel.map(|i| i + 1))
        .collect();
    Ok((g.transpose(split, &perm), places))
}
