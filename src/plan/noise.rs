//! Seeded noise that depends on the run's seed and the tick alone.

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Gaussian noise, correlated along the horizon: a first-order autoregressive process of unit variance. Each tick has a
/// generator of its own, made from the run's seed and the tick, so that it can be recomputed without those before it.
#[derive(Debug, Clone)]
pub struct Noise {
    seed: u64,
    correlation: f32,
}

impl Noise {
    /// Noise of a run; `correlation` from one step of the horizon to the next is at least 0 and below 1.
    pub fn new(seed: u64, correlation: f32) -> Self {
        Self { seed, correlation }
    }

    /// Fills `noise` (K, H, A) for a tick.
    pub fn fill(&self, tick: u64, horizon: usize, actions: usize, noise: &mut [f32]) {
        // SplitMix64, with which the generator spreads its seed, tells neighbouring numbers apart; the odd factor keeps
        // the ticks of one seed away from those of the next.
        let number = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ tick;
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(number);
        let fresh = (1.0 - self.correlation * self.correlation).sqrt();
        for candidate in noise.chunks_exact_mut(horizon * actions) {
            for index in 0..candidate.len() {
                let sample: f32 = StandardNormal.sample(&mut generator);
                candidate[index] = match index.checked_sub(actions) {
                    None => sample,
                    Some(before) => self.correlation * candidate[before] + fresh * sample,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HORIZON: usize = 8;
    const ACTIONS: usize = 2;

    fn noise(seed: u64, tick: u64) -> Vec<f32> {
        let mut noise = vec![0.0; 4000 * HORIZON * ACTIONS];
        Noise::new(seed, 0.6).fill(tick, HORIZON, ACTIONS, &mut noise);
        noise
    }

    #[test]
    fn depends_on_seed_and_tick_alone() {
        assert_eq!(noise(1, 5), noise(1, 5));
        assert_ne!(noise(1, 5), noise(1, 6));
        assert_ne!(noise(1, 5), noise(2, 5));
    }

    #[test]
    fn has_unit_variance_and_the_wanted_correlation_at_every_step() {
        let noise = noise(7, 0);
        let moment = |a: usize, b: usize| {
            let rows = noise.chunks_exact(HORIZON * ACTIONS);
            rows.clone().map(|row| row[a] * row[b]).sum::<f32>() / rows.len() as f32
        };
        for step in 0..HORIZON {
            let here = step * ACTIONS;
            assert!(
                (moment(here, here) - 1.0).abs() < 0.08,
                "variance at {step}: {}",
                moment(here, here)
            );
            assert!(
                moment(here, here + 1).abs() < 0.06,
                "actions are independent"
            );
            if step > 0 {
                let lag = moment(here, here - ACTIONS);
                assert!((lag - 0.6).abs() < 0.06, "correlation at {step}: {lag}");
            }
        }
    }
}
