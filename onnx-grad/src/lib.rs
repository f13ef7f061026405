#![doc = include_str!("../README.md")]

mod error;
mod eval;
mod export;
mod function;
mod gradient;
mod graph;
mod half;
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
