//! Sequence numbers that wrap.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// A 16-bit sequence number, ordered as serial numbers are (RFC 1982): of two numbers the newer one is at most 32,767 ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Sequence(pub u16);

impl Sequence {
    /// The number that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this number comes after `other`.
    #[must_use]
    pub fn is_newer_than(self, other: Self) -> bool {
        (1..0x8000).contains(&self.since(other))
    }

    /// How many numbers this one is ahead of `other`, modulo 65,536.
    #[must_use]
    pub fn since(self, other: Self) -> u16 {
        self.0.wrapping_sub(other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        for start in [0u16, 1, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            let number = Sequence(start);
            assert!(!number.is_newer_than(number));
            assert!(number.next().is_newer_than(number));
            assert!(!number.is_newer_than(number.next()));
            assert!(Sequence(start.wrapping_add(0x7fff)).is_newer_than(number));
            assert!(!Sequence(start.wrapping_add(0x8000)).is_newer_than(number));
            assert!(!Sequence(start.wrapping_sub(1)).is_newer_than(number));
        }
    }
}
