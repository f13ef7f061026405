//! Limits on one action channel. The host's guard and the robot use this same code, each with its own figures.

use surefoot_wire::Limit;

/// A limit that no robot can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The bounds are not finite, or the lower one is above the upper one.
    #[error("the bounds must be finite, and min not above max")]
    Bounds,
    /// The rate is not a positive finite number.
    #[error("the rate must be positive and finite")]
    Rate,
}

/// Keeps one action channel within its bounds and its rate of change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limiter {
    limit: Limit,
}

impl Limiter {
    /// A limiter with these bounds and this rate.
    ///
    /// # Errors
    ///
    /// [`LimitError`] if the bounds are not finite or in the wrong order, or the rate is not positive and finite.
    pub fn new(limit: Limit) -> Result<Self, LimitError> {
        if !(limit.min.is_finite() && limit.max.is_finite() && limit.min <= limit.max) {
            return Err(LimitError::Bounds);
        }
        if !(limit.rate.is_finite() && limit.rate > 0.0) {
            return Err(LimitError::Rate);
        }
        Ok(Self { limit })
    }

    /// The limit that it keeps.
    #[inline]
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// Whether `value` is within the bounds. NaN is not.
    #[must_use]
    pub fn allows(&self, value: f32) -> bool {
        (self.limit.min..=self.limit.max).contains(&value)
    }

    /// The value nearest to `wanted` that can follow `last` after `elapsed_us`.
    ///
    /// It is always within the bounds, whatever the arguments are. It is within the rate if `last` is within the bounds. A
    /// `wanted` that is NaN asks for no change.
    #[inline]
    #[must_use]
    pub fn limit_step(&self, last: f32, wanted: f32, elapsed_us: u64) -> f32 {
        let reach = self.limit.rate * (elapsed_us as f32 * 1e-6);
        let wanted = if wanted.is_nan() { last } else { wanted };
        // `max` and `min` return the other argument for a NaN, so none can come out of the last two.
        wanted
            .max(last - reach)
            .min(last + reach)
            .max(self.limit.min)
            .min(self.limit.max)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::{prelude::*, test_runner::RngSeed};

    use super::*;

    fn limiter() -> impl Strategy<Value = Limiter> {
        (-1e3f32..1e3, 0f32..1e3, 1e-3f32..1e4).prop_map(|(min, span, rate)| {
            let max = min + span;
            Limiter::new(Limit { min, max, rate }).unwrap()
        })
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let limit = Limit {
            min: -1.0,
            max: 1.0,
            rate: 1.0,
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                Limiter::new(Limit { min: bad, ..limit }),
                Err(LimitError::Bounds)
            );
            assert_eq!(
                Limiter::new(Limit { max: bad, ..limit }),
                Err(LimitError::Bounds)
            );
            assert_eq!(
                Limiter::new(Limit { rate: bad, ..limit }),
                Err(LimitError::Rate)
            );
        }
        assert_eq!(
            Limiter::new(Limit { min: 1.1, ..limit }),
            Err(LimitError::Bounds)
        );
        assert_eq!(
            Limiter::new(Limit { rate: 0.0, ..limit }),
            Err(LimitError::Rate)
        );
        assert!(Limiter::new(Limit { min: 1.0, ..limit }).is_ok());
    }

    #[test]
    fn a_step_goes_as_far_as_the_rate_lets_it() {
        let limiter = Limiter::new(Limit {
            min: -4.0,
            max: 4.0,
            rate: 1000.0,
        })
        .unwrap();
        assert_eq!(limiter.limit_step(0.0, 0.5, 1_000), 0.5);
        assert_eq!(limiter.limit_step(0.0, 3.0, 1_000), 1.0);
        assert_eq!(limiter.limit_step(0.0, -3.0, 2_000), -2.0);
        assert_eq!(limiter.limit_step(3.5, 9.0, 1_000), 4.0);
        assert_eq!(limiter.limit_step(1.0, 9.0, 0), 1.0);
        assert_eq!(limiter.limit_step(1.0, f32::NAN, 1_000), 1.0);
    }

    proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

            #[test]
            fn nothing_passes_the_bounds(
                limiter in limiter(),
                last in any::<u32>().prop_map(f32::from_bits),
                wanted in any::<u32>().prop_map(f32::from_bits),
                elapsed_us in any::<u64>(),
            ) {
                let value = limiter.limit_step(last, wanted, elapsed_us);
                prop_assert!(limiter.allows(value), "{value}");
            }

            #[test]
            fn nothing_passes_the_rate(
                limiter in limiter(),
                place in 0f32..=1.0,
                wanted in any::<u32>().prop_map(f32::from_bits),
                elapsed_us in 0u64..100_000,
            ) {
                let Limit { min, max, rate } = limiter.limit();
                let last = (min + place * (max - min)).min(max);
                let value = limiter.limit_step(last, wanted, elapsed_us);
                let reach = rate * (elapsed_us as f32 * 1e-6);
                prop_assert!((last - reach..=last + reach).contains(&value), "{last} to {value}");
            }

            #[test]
            fn what_is_allowed_is_reached(limiter in limiter(), place in 0f32..=1.0) {
                let Limit { min, max, .. } = limiter.limit();
                let wanted = (min + place * (max - min)).min(max);
                prop_assert_eq!(limiter.limit_step(min, wanted, u64::MAX), wanted);
            }
        }
}
