//! Reverse-mode differentiation of ONNX graphs, closed under itself.
//!
//! A [`Model`] is read from ONNX bytes and gives a [`Function`]: a tensor program whose parameters are inputs. A [`Graph`]
//! composes functions ([`Graph::inline`], [`Graph::vmap`]), differentiates them ([`Graph::gradient`]) and gives a function
//! again, which [`Function::to_onnx`] writes as a plain ONNX model of the default operator set.

mod error;
mod eval;
mod export;
mod function;
mod gradient;
mod graph;
mod import;
mod inverse;
mod ir;
mod lowrank;
mod model;
pub mod proto;
mod replay;
mod shape;
mod simplify;

pub use error::Error;
pub use function::{Function, Port};
pub use graph::Graph;
pub use ir::Value;
pub use model::{Dim, Io, Model, Parameter};
pub use replay::Argument::{self, Batched, Shared};
