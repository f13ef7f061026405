//! Proof that a log can be computed again from its inputs, bit for bit.

pub mod compare;

pub use compare::{Comparison, Difference};
