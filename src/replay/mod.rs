//! Proof that a log repeats byte for byte.
