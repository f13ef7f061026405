//! The command that a robot is executing.

use heapless::Vec;
use surefoot_wire::{MAX_ACTION, MAX_FUTURE, Refusal, Sequence};

use crate::limits::Limiter;

/// One accepted command: whole and finite, with one to [`MAX_FUTURE`] rows.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) sequence: Sequence,
    received_us: u64,
    lifetime_us: u64,
    actions: Vec<f32, { MAX_FUTURE * MAX_ACTION }>,
}

impl Command {
    /// Checks everything that the command alone can tell: its shape, its values, its lifetime.
    pub(crate) fn new(
        received_us: u64,
        sequence: Sequence,
        lifetime_ms: u16,
        actions: Vec<f32, { MAX_FUTURE * MAX_ACTION }>,
        n_action: usize,
        max_lifetime_ms: u16,
    ) -> Result<Self, Refusal> {
        if actions.is_empty()
            || !actions.len().is_multiple_of(n_action)
            || actions.len() > n_action * MAX_FUTURE
        {
            return Err(Refusal::Shape);
        }
        if !actions.iter().all(|value| value.is_finite()) {
            return Err(Refusal::NotFinite);
        }
        if lifetime_ms == 0 || lifetime_ms > max_lifetime_ms {
            return Err(Refusal::Lifetime);
        }
        Ok(Self {
            sequence,
            received_us,
            lifetime_us: u64::from(lifetime_ms) * 1000,
            actions,
        })
    }

    /// The instant from which on it must not be acted on, us.
    pub(crate) fn ends_us(&self) -> u64 {
        self.received_us.saturating_add(self.lifetime_us)
    }

    /// The action for now: the first one at once, then one more a tick period for as long as no newer command comes, then
    /// the last one.
    pub(crate) fn action(&self, now_us: u64, period_us: u32, n_action: usize) -> &[f32] {
        let rows = self.actions.len() / n_action;
        let elapsed = now_us.saturating_sub(self.received_us) / u64::from(period_us);
        let row = usize::try_from(elapsed).unwrap_or(rows).min(rows - 1);
        self.actions.chunks_exact(n_action).nth(row).unwrap_or(&[])
    }

    /// Whether any of its values is outside of its channel's bounds.
    pub(crate) fn leaves(&self, limiters: &[Limiter]) -> bool {
        let limiters = limiters.iter().cycle();
        self.actions
            .iter()
            .zip(limiters)
            .any(|(value, limiter)| !limiter.allows(*value))
    }
}
