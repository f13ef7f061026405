//! Which matrix products swallow the scaling and the addition around them: `alpha op(a) op(b) + beta c` is one Gemm, be it a
//! layer's bias or a gradient step on its weights.

use crate::function::Function;
use crate::ir::{Binary, Op, Unary, Value};
use crate::shape::broadcasts_to;

/// What becomes of a value when the function is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fusion {
    /// Written by its own operator.
    None,
    /// Written as this product.
    Root(Product),
    /// Part of a product; nothing else reads it.
    Absorbed,
}

/// `alpha op(a) op(b) + beta c`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    pub a: Value,
    pub b: Value,
    pub ta: bool,
    pub tb: bool,
    pub alpha: f64,
    /// `c` and `beta`; only where the product is of matrices.
    pub addend: Option<(Value, f64)>,
}

impl Product {
    pub(super) fn plain(a: Value, b: Value, ta: bool, tb: bool) -> Self {
        Product {
            a,
            b,
            ta,
            tb,
            alpha: 1.0,
            addend: None,
        }
    }
}

/// Decides for each value. Readers come before what they read, so that the largest pattern wins.
pub(super) fn plan(f: &Function) -> Vec<Fusion> {
    let uses = count_uses(f);
    let mut fusions = vec![Fusion::None; f.nodes.len()];
    for i in (0..f.nodes.len()).rev() {
        if fusions[i] != Fusion::None {
            continue;
        }
        if let Some((product, absorbed)) = (Matcher { f, uses: &uses }).root(Value(i as u32)) {
            fusions[i] = Fusion::Root(product);
            for v in absorbed {
                fusions[v.index()] = Fusion::Absorbed;
            }
        }
    }
    fusions
}

fn count_uses(f: &Function) -> Vec<usize> {
    let mut uses = vec![0; f.nodes.len()];
    for v in f
        .nodes
        .iter()
        .flat_map(|node| &node.inputs)
        .chain(&f.results)
    {
        uses[v.index()] += 1;
    }
    uses
}

struct Matcher<'a> {
    f: &'a Function,
    uses: &'a [usize],
}

impl Matcher<'_> {
    /// The product that computes `v`, if it is more than a plain one, and the values that it swallows.
    fn root(&self, v: Value) -> Option<(Product, Vec<Value>)> {
        let node = &self.f.nodes[v.index()];
        match node.op {
            Op::Binary(Binary::Add) => self
                .sum(v, node.inputs[0], node.inputs[1], 1.0)
                .or_else(|| self.sum(v, node.inputs[1], node.inputs[0], 1.0)),
            Op::Binary(Binary::Sub) => {
                self.sum(v, node.inputs[1], node.inputs[0], -1.0)
                    .or_else(|| {
                        let (mut product, absorbed) =
                            self.sum(v, node.inputs[0], node.inputs[1], 1.0)?;
                        product.addend = product.addend.map(|(c, beta)| (c, -beta));
                        Some((product, absorbed))
                    })
            }
            _ => {
                let (inner, factor) = self.scaled(v)?;
                let (product, absorbed) = self.scaled_product(inner, factor)?;
                Some((product, absorbed))
            }
        }
    }

    /// `term * sign + other`, where `term` is a scaled product of matrices and `other` broadcasts to it.
    fn sum(&self, v: Value, term: Value, other: Value, sign: f64) -> Option<(Product, Vec<Value>)> {
        let shape = &self.f.nodes[v.index()].shape;
        let fits = shape.len() == 2
            && self.f.nodes[term.index()].shape == *shape
            && broadcasts_to(&self.f.nodes[other.index()].shape, shape);
        if !fits || term == other {
            return None;
        }
        let (mut product, mut absorbed) =
            match self.scaled(term).filter(|_| self.uses[term.index()] == 1) {
                Some((inner, factor)) => {
                    let (product, mut absorbed) = self.scaled_product(inner, factor * sign)?;
                    absorbed.push(term);
                    (product, absorbed)
                }
                None => self.scaled_product(term, sign)?,
            };
        let mut addend = (other, 1.0);
        if let Some((inner, factor)) = self.scaled(other).filter(|_| self.uses[other.index()] == 1)
        {
            addend = (inner, factor);
            absorbed.push(other);
        }
        product.addend = Some(addend);
        Some((product, absorbed))
    }

    /// A product that nothing else reads, times a number.
    fn scaled_product(&self, v: Value, factor: f64) -> Option<(Product, Vec<Value>)> {
        let node = &self.f.nodes[v.index()];
        let Op::MatMul { ta, tb } = node.op else {
            return None;
        };
        let product = Product {
            alpha: factor,
            ..Product::plain(node.inputs[0], node.inputs[1], ta, tb)
        };
        (self.uses[v.index()] == 1).then(|| (product, vec![v]))
    }

    /// `v` as a value times a number.
    fn scaled(&self, v: Value) -> Option<(Value, f64)> {
        let node = &self.f.nodes[v.index()];
        match node.op {
            Op::Unary(Unary::Neg) => Some((node.inputs[0], -1.0)),
            Op::Binary(Binary::Mul) => match &self.f.nodes[node.inputs[1].index()].op {
                Op::Constant(data) if data.0.len() == 1 => Some((node.inputs[0], data.0[0])),
                _ => None,
            },
            _ => None,
        }
    }
}
