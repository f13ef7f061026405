//! What is told to the host once a tick period, and when.

use heapless::Vec;
use surefoot_wire::{MAX_ACTION, Sequence};

/// The schedule of telemetry, and the mean of what was applied since the last one.
#[derive(Debug)]
pub(crate) struct Telemeter {
    period_us: u64,
    next: Option<u64>,
    sequence: Sequence,
    sums: Vec<f64, MAX_ACTION>,
    summed_us: u64,
}

impl Telemeter {
    pub(crate) fn new(period_us: u32, n_action: usize) -> Self {
        Self {
            period_us: u64::from(period_us),
            next: None,
            sequence: Sequence(0),
            sums: core::iter::repeat_n(0.0, n_action).collect(),
            summed_us: 0,
        }
    }

    /// Notes that `action` was applied for `elapsed_us`.
    pub(crate) fn applied(&mut self, action: &[f32], elapsed_us: u64) {
        // In f64 the sum of equal f32 values is exact, so a constant action's mean is that action, bit for bit.
        for (sum, value) in self.sums.iter_mut().zip(action) {
            *sum += f64::from(*value) * elapsed_us as f64;
        }
        self.summed_us += elapsed_us;
    }

    /// If a period has ended: its sequence number, and the mean of what was applied in it. Periods that went by unseen are
    /// left out, and the schedule stays on its grid, which starts at the first call.
    pub(crate) fn poll(&mut self, now_us: u64) -> Option<(Sequence, Vec<f32, MAX_ACTION>)> {
        let next = *self
            .next
            .get_or_insert(now_us.saturating_add(self.period_us));
        if now_us < next {
            return None;
        }
        let late = (now_us - next) / self.period_us;
        self.next =
            Some(next.saturating_add(late.saturating_add(1).saturating_mul(self.period_us)));
        let duration = self.summed_us as f64;
        let mean = self
            .sums
            .iter()
            .map(|sum| (sum / duration) as f32)
            .collect();
        self.sums.fill(0.0);
        self.summed_us = 0;
        let sequence = self.sequence;
        self.sequence = sequence.next();
        Some((sequence, mean))
    }
}
