//! Measurements that take strength away before they stop the robot: current, temperature, battery voltage.

use crate::config::Derate;

/// How much strength one measurement leaves, with hysteresis: lost strength comes back only when the measurement is back at
/// `resume`, and then all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Derating {
    limit: Derate,
    strength: f32,
}

/// What a measurement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It began to take strength away.
    Weakened,
    /// It gave all strength back.
    Recovered,
}

impl Derating {
    pub(crate) fn new(limit: Derate) -> Self {
        Self {
            limit,
            strength: 1.0,
        }
    }

    /// The channel's place in the observation.
    pub(crate) fn channel(&self) -> u8 {
        self.limit.channel
    }

    /// From 1, all, to 0, none: the robot must sit.
    pub(crate) fn strength(&self) -> f32 {
        self.strength
    }

    /// Takes a measurement. One that is missing or NaN leaves no strength.
    pub(crate) fn measure(&mut self, value: Option<&f32>) -> Option<Change> {
        let Derate {
            start,
            stop,
            resume,
            ..
        } = self.limit;
        let before = self.strength;
        // Both directions are one: 0 at `start`, 1 at `stop`, `resume` at 0 or below.
        let towards_stop = |value: f32| (value - start) / (stop - start);
        self.strength = match value {
            Some(value) if towards_stop(*value) <= towards_stop(resume) => 1.0,
            Some(value) if !value.is_nan() => {
                before.min(1.0 - towards_stop(*value).clamp(0.0, 1.0))
            }
            _ => 0.0,
        };
        match (before < 1.0, self.strength < 1.0) {
            (false, true) => Some(Change::Weakened),
            (true, false) => Some(Change::Recovered),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A motor's temperature, degrees: weaker from 60 on, none at 80, recovered at 50.
    fn hot() -> Derating {
        Derating::new(Derate {
            channel: 0,
            start: 60.0,
            stop: 80.0,
            resume: 50.0,
        })
    }

    /// A battery's voltage: weaker from 7 down, none at 6, recovered at 7.2.
    fn low() -> Derating {
        Derating::new(Derate {
            channel: 0,
            start: 7.0,
            stop: 6.0,
            resume: 7.2,
        })
    }

    #[test]
    fn strength_falls_in_a_line_from_start_to_stop() {
        for (value, strength) in [
            (20.0, 1.0),
            (60.0, 1.0),
            (65.0, 0.75),
            (75.0, 0.25),
            (80.0, 0.0),
            (1e9, 0.0),
        ] {
            let mut derating = hot();
            derating.measure(Some(&value));
            assert_eq!(derating.strength(), strength, "{value}");
        }
        let mut derating = low();
        derating.measure(Some(&6.5));
        assert_eq!(derating.strength(), 0.5);
        derating.measure(Some(&5.0));
        assert_eq!(derating.strength(), 0.0);
    }

    #[test]
    fn strength_comes_back_only_at_resume() {
        let mut derating = hot();
        assert_eq!(derating.measure(Some(&55.0)), None);
        assert_eq!(derating.measure(Some(&70.0)), Some(Change::Weakened));
        assert_eq!(derating.measure(Some(&55.0)), None);
        assert_eq!(derating.strength(), 0.5);
        assert_eq!(derating.measure(Some(&50.0)), Some(Change::Recovered));
        assert_eq!(derating.strength(), 1.0);
        let mut derating = low();
        derating.measure(Some(&6.5));
        derating.measure(Some(&7.1));
        assert_eq!(derating.strength(), 0.5);
        assert_eq!(derating.measure(Some(&7.2)), Some(Change::Recovered));
    }

    #[test]
    fn a_measurement_that_is_none_leaves_no_strength() {
        for value in [None, Some(&f32::NAN)] {
            let mut derating = hot();
            assert_eq!(derating.measure(value), Some(Change::Weakened));
            assert_eq!(derating.strength(), 0.0);
        }
        let mut derating = hot();
        derating.measure(Some(&f32::NEG_INFINITY));
        assert_eq!(derating.strength(), 1.0);
        derating.measure(Some(&f32::INFINITY));
        assert_eq!(derating.strength(), 0.0);
    }
}
