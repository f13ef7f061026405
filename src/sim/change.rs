//! A change of the simulated robot or its terrain at a simulated time.

use std::str::FromStr;

use super::Error;

/// A change of the scene that happens while the robot runs, written `NAME@TIME`: `slow-left@2500ms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedChange {
    /// The change's name in the scene's description.
    pub name: String,
    /// When it happens, in simulated microseconds from the start.
    pub at_us: u64,
}

impl TimedChange {
    /// The loss of a leg, written `LEG@TIME`: `middle-left@4s` is the change `lose-middle-left` at 4 s.
    ///
    /// # Errors
    ///
    /// [`Error::TimedChange`].
    pub fn lose(leg_at_time: &str) -> Result<Self, Error> {
        let change: Self = leg_at_time.parse()?;
        Ok(Self {
            name: format!("lose-{}", change.name),
            ..change
        })
    }
}

impl FromStr for TimedChange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (name, time) = text.split_once('@')?;
            let (number, unit_us) = match time.strip_suffix("ms") {
                Some(number) => (number, 1e3),
                None => (time.strip_suffix('s')?, 1e6),
            };
            let us = number.parse::<f64>().ok()? * unit_us;
            let in_range = (0.0..=MAX_US).contains(&us) && !name.is_empty();
            in_range.then(|| Self {
                name: name.into(),
                at_us: us.round() as u64,
            })
        };
        parse().ok_or_else(|| Error::TimedChange(text.into()))
    }
}

/// The latest time of a change, in microseconds: the last whole number that an `f64` holds exactly, 285 years.
const MAX_US: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let change = |name: &str, at_us| TimedChange {
            name: name.into(),
            at_us,
        };
        assert_eq!(
            "slow-left@2500ms".parse::<TimedChange>().unwrap(),
            change("slow-left", 2_500_000)
        );
        assert_eq!(
            "ice@0.25s".parse::<TimedChange>().unwrap(),
            change("ice", 250_000)
        );
        assert_eq!(
            TimedChange::lose("middle-left@4s").unwrap(),
            change("lose-middle-left", 4_000_000)
        );
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in [
            "ice",
            "ice@",
            "ice@4",
            "@4s",
            "ice@-1s",
            "ice@NaNs",
            "ice@infs",
            "ice@1e300s",
            "ice@4m",
        ] {
            let message = text.parse::<TimedChange>().unwrap_err().to_string();
            assert!(
                message.contains(text) && message.contains("lose-middle-left@4s"),
                "{message}"
            );
        }
    }
}
