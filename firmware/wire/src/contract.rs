//! What robot and host must agree on: the channels, their order and units, and the tick period.

use heapless::String;
use postcard_schema::{Schema, key::hash::Fnv1a64Hasher};
use serde::{Deserialize, Serialize};

/// The longest name of a robot or channel, bytes of UTF-8.
pub const MAX_NAME: usize = 32;

/// The longest unit of a channel, bytes of UTF-8.
pub const MAX_UNIT: usize = 16;

/// A robot's or channel's name.
pub type Name = String<MAX_NAME>;

/// A channel's unit, such as `rad/s`.
pub type Unit = String<MAX_UNIT>;

/// A name or unit that does not fit on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name has at most {MAX_NAME} bytes and a unit at most {MAX_UNIT}: shorten it")]
pub struct TooLong;

/// Which of a robot's two lists a channel is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub enum ChannelKind {
    /// What the robot measures.
    Observation,
    /// What the robot can be told to do.
    Action,
}

impl core::fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Observation => "observation",
            Self::Action => "action",
        })
    }
}

/// One scalar of an observation or an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Channel {
    /// What it is, such as `left_motor_speed`.
    pub name: Name,
    /// Its unit, SI, such as `rad/s`; empty for a pure number.
    pub unit: Unit,
}

impl Channel {
    /// A channel of this name and unit.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if either does not fit on the wire.
    pub fn new(name: &str, unit: &str) -> Result<Self, TooLong> {
        Ok(Self {
            name: Name::try_from(name).map_err(|_| TooLong)?,
            unit: Unit::try_from(unit).map_err(|_| TooLong)?,
        })
    }
}

/// The hash by which a robot and a host know that they mean the same numbers: FNV-1a, 64 bits, over the tick period (four
/// bytes, little endian), then the observation channels and the action channels in their order. A channel adds its name, 0xFF,
/// its unit, 0xFF; a list ends with 0xFE. Neither byte occurs in UTF-8, so no two contracts give the same bytes.
pub fn contract_hash<'a>(
    period_us: u32,
    observation: impl IntoIterator<Item = (&'a str, &'a str)>,
    action: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> u64 {
    let mut hasher = Fnv1a64Hasher::new();
    hasher.update(&period_us.to_le_bytes());
    add_list(&mut hasher, observation);
    add_list(&mut hasher, action);
    hasher.digest()
}

fn add_list<'a>(
    hasher: &mut Fnv1a64Hasher,
    channels: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for (name, unit) in channels {
        for text in [name, unit] {
            hasher.update(text.as_bytes());
            hasher.update(&[0xff]);
        }
    }
    hasher.update(&[0xfe]);
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn kinds_are_named_as_in_messages_for_people() {
        assert_eq!(ChannelKind::Observation.to_string(), "observation");
        assert_eq!(ChannelKind::Action.to_string(), "action");
    }

    #[test]
    fn hash_is_stable_over_releases() {
        let hash = contract_hash(
            100_000,
            [("roll", "rad"), ("speed", "m/s")],
            [("left", "rad/s")],
        );
        assert_eq!(hash, 0xc537_fb02_118f_725c);
    }

    #[test]
    fn hash_sees_every_part() {
        let base = contract_hash(10, [("ab", "c"), ("d", "")], [("e", "")]);
        let others = [
            contract_hash(11, [("ab", "c"), ("d", "")], [("e", "")]),
            contract_hash(10, [("a", "bc"), ("d", "")], [("e", "")]),
            contract_hash(10, [("d", ""), ("ab", "c")], [("e", "")]),
            contract_hash(10, [("ab", "c")], [("d", ""), ("e", "")]),
            contract_hash(10, [("ab", "c"), ("d", ""), ("e", "")], []),
        ];
        for other in others {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn names_that_do_not_fit_are_refused() {
        let text = |length: usize| -> String<64> { core::iter::repeat_n('x', length).collect() };
        let channel = |name, unit| Channel::new(&text(name), &text(unit));
        assert!(channel(MAX_NAME, MAX_UNIT).is_ok());
        assert_eq!(channel(MAX_NAME + 1, 0), Err(TooLong));
        assert_eq!(channel(0, MAX_UNIT + 1), Err(TooLong));
    }
}
