//! Limits, fallback, and the only place that makes a [`SafeCommand`].

mod command;

pub use command::SafeCommand;

use surefoot_firmware::limits::Limiter;

use crate::log::schema;
use crate::robot::Robot;

/// Holds a robot's limits and turns planned actions into commands. It uses the microcontroller's own limiter; the
/// microcontroller applies its limits once more.
#[derive(Debug, Clone)]
pub struct Guard {
    limiters: Vec<Limiter>,
    safe: Vec<f32>,
    period_us: u64,
    lifetime_ms: u16,
}

impl Guard {
    /// The guard of a checked robot.
    pub fn new(robot: &Robot) -> Self {
        Self {
            limiters: robot.limiters.clone(),
            safe: robot.action.iter().map(|action| action.safe).collect(),
            period_us: robot.period_us().into(),
            lifetime_ms: robot.link.lifetime_ms,
        }
    }

    /// Brings planned actions (future, A), one a tick, within the limits that hold after `previous` (A). If one of them is
    /// not finite, the whole plan is refused and the safe action takes its place.
    pub fn check(&self, planned: &[f32], previous: &[f32]) -> (SafeCommand, schema::Guard) {
        if planned.iter().any(|value| !value.is_finite()) {
            let (command, did) = self.safe();
            return (
                command,
                schema::Guard {
                    non_finite: true,
                    ..did
                },
            );
        }
        let mut did = schema::Guard::default();
        let mut actions: Vec<f32> = Vec::with_capacity(planned.len());
        for (index, &wanted) in planned.iter().enumerate() {
            let channel = index % self.limiters.len();
            let limiter = &self.limiters[channel];
            let before = match index.checked_sub(self.limiters.len()) {
                None => previous[channel],
                Some(before) => actions[before],
            };
            let value = limiter.limit_step(before, wanted, self.period_us);
            did.clamped |= !limiter.allows(wanted);
            did.rate_limited |= limiter.allows(wanted) && value != wanted;
            actions.push(value);
        }
        (
            SafeCommand::new(actions, self.safe.len(), self.lifetime_ms),
            did,
        )
    }

    /// The robot's safe action (A).
    pub fn safe_action(&self) -> &[f32] {
        &self.safe
    }

    /// The robot's safe action, for one tick after another.
    pub fn safe(&self) -> (SafeCommand, schema::Guard) {
        let command = SafeCommand::new(self.safe.clone(), self.safe.len(), self.lifetime_ms);
        (
            command,
            schema::Guard {
                fallback: true,
                ..schema::Guard::default()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use surefoot_wire::Limit;

    fn guard() -> Guard {
        let limiter = |min, max, rate| Limiter::new(Limit { min, max, rate }).unwrap();
        Guard {
            limiters: vec![limiter(-1.0, 1.0, 5.0), limiter(0.0, 60.0, 600.0)],
            safe: vec![0.5, 0.0],
            period_us: 100_000,
            lifetime_ms: 250,
        }
    }

    #[test]
    fn each_action_is_limited_from_the_one_before() {
        let (command, did) = guard().check(&[3.0, 30.0, 0.9, 30.0, 0.9, 70.0], &[0.0, 0.0]);
        assert_eq!(command.actions(), [0.5, 30.0, 0.9, 30.0, 0.9, 60.0]);
        assert_eq!(command.first(), [0.5, 30.0]);
        assert!(did.clamped && !did.rate_limited && !did.fallback);
        let (command, did) = guard().check(&[0.9, 30.0], &[0.0, 0.0]);
        assert_eq!(command.first(), [0.5, 30.0]);
        assert!(did.rate_limited && !did.clamped);
    }

    #[test]
    fn one_value_that_is_not_finite_refuses_the_whole_plan() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (command, did) = guard().check(&[0.1, 5.0, 0.1, bad], &[0.0, 0.0]);
            assert_eq!(command.actions(), [0.5, 0.0]);
            assert!(did.non_finite && did.fallback);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]
        #[test]
        fn no_command_leaves_its_limits(bits in prop::collection::vec(any::<u32>(), 8), before in -1f32..1.0) {
            let planned: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let guard = guard();
            let (command, _) = guard.check(&planned, &[before, 10.0]);
            for (index, value) in command.actions().iter().enumerate() {
                prop_assert!(guard.limiters[index % 2].allows(*value), "{value}");
            }
        }
    }
}
