//! What a robot refused, and why.

use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// Why a robot did not do what some bytes asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Schema, thiserror::Error)]
pub enum Refusal {
    /// A frame whose CRC, stuffing or content is wrong.
    #[error("a damaged frame")]
    BadFrame,
    /// More bytes without a zero than any frame has.
    #[error("a frame longer than any message")]
    OverlongFrame,
    /// A hello of another protocol or another message layout.
    #[error("another protocol version or message layout: update the older side")]
    Version,
    /// A request for a channel that the robot does not have.
    #[error("no channel of this index")]
    NoSuchChannel,
    /// Arming with another contract.
    #[error("arming with another contract")]
    Contract,
    /// Arming with a session that is not on offer, or a command of a session that is not the running one.
    #[error("a session that is not on offer or not the running one: shake hands again")]
    Session,
    /// Arming while armed or still on the way to the safe state.
    #[error("arming while armed or not yet at rest")]
    NotAtRest,
    /// A command while not armed.
    #[error("a command while not armed")]
    NotArmed,
    /// A command that is not newer than the last one.
    #[error("a stale or duplicate command")]
    Stale,
    /// A command whose actions are not one to eight rows of the robot's action channels.
    #[error("a command of the wrong shape")]
    Shape,
    /// A command with a NaN or an infinity in it.
    #[error("a command that is not finite")]
    NotFinite,
    /// A command whose lifetime is zero or longer than the robot allows.
    #[error("a lifetime that is zero or longer than the robot allows")]
    Lifetime,
    /// Arming while a measurement that stopped the robot has not recovered.
    #[error(
        "arming before the current, temperature or battery that stopped the robot has recovered"
    )]
    NotRecovered,
    /// Arming a robot that was latched off because it reset again and again.
    #[error("arming a robot that reset again and again: find out why, then switch it off and on")]
    LatchedOff,
    /// In keyed mode, a frame without proof that the host sent it, now and for the first time.
    #[error("a forged or repeated frame")]
    Forged,
}

impl Refusal {
    /// Every reason, in the order of [`Counters`].
    pub const ALL: [Self; 15] = [
        Self::BadFrame,
        Self::OverlongFrame,
        Self::Version,
        Self::NoSuchChannel,
        Self::Contract,
        Self::Session,
        Self::NotAtRest,
        Self::NotArmed,
        Self::Stale,
        Self::Shape,
        Self::NotFinite,
        Self::Lifetime,
        Self::NotRecovered,
        Self::LatchedOff,
        Self::Forged,
    ];
}

/// How often a robot accepted and refused what it was asked since it started. Counts stop at their maximum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Schema)]
pub struct Counters {
    /// Commands that were accepted.
    pub accepted: u32,
    /// Accepted commands with an action outside of its limits, which were executed at the limit.
    pub clamped: u32,
    /// Messages that were dropped because the host did not read fast enough.
    pub unsent: u32,
    refused: [u32; Refusal::ALL.len()],
}

impl Counters {
    /// Counts one refusal.
    pub fn count(&mut self, reason: Refusal) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// How often something was refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refusal) -> u32 {
        self.refused.get(reason as usize).copied().unwrap_or(0)
    }

    /// How often anything was refused.
    #[must_use]
    pub fn refused_in_all(&self) -> u32 {
        self.refused
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let mut counters = Counters::default();
        for (index, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            for _ in 0..=index {
                counters.count(reason);
            }
        }
        for (index, reason) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(counters.refused(reason), index as u32 + 1);
        }
        assert_eq!(counters.refused_in_all(), (1..=15).sum::<u32>());
    }
}
