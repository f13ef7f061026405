//! Observation -> model state: the channels that the model wants, in its order, angles unwrapped.

use std::f64::consts::TAU;

/// Picks the model's states out of an observation and unwraps angles, so that differences of states have no jumps.
#[derive(Debug, Clone)]
pub struct Encoder {
    channels: Vec<Channel>,
}

#[derive(Debug, Clone)]
struct Channel {
    index: usize,
    wraps: bool,
    last: Option<f64>,
    turns: f64,
}

impl Encoder {
    /// One state for each `(index in the observation, the channel wraps)`.
    pub fn new(channels: impl IntoIterator<Item = (usize, bool)>) -> Self {
        let channel = |(index, wraps)| Channel {
            index,
            wraps,
            last: None,
            turns: 0.0,
        };
        Self {
            channels: channels.into_iter().map(channel).collect(),
        }
    }

    /// Number of states, S.
    pub fn states(&self) -> usize {
        self.channels.len()
    }

    /// Writes the state (S) of an observation. An observation with a value among the states that is not finite, or an angle
    /// that should wrap but is beyond a turn, changes nothing: the state is then unknown for this tick.
    ///
    /// # Errors
    /// The index in the observation of the first such value.
    ///
    /// # Panics
    /// If `observation` or `state` are shorter than the channels given at the start.
    pub fn encode(&mut self, observation: &[f32], state: &mut [f32]) -> Result<(), usize> {
        let unknown = |channel: &&Channel| !channel.measures(observation[channel.index]);
        if let Some(channel) = self.channels.iter().find(unknown) {
            return Err(channel.index);
        }
        for (channel, state) in self.channels.iter_mut().zip(state) {
            *state = channel.unwrap(f64::from(observation[channel.index])) as f32;
        }
        Ok(())
    }
}

impl Channel {
    fn measures(&self, value: f32) -> bool {
        value.is_finite() && (!self.wraps || f64::from(value).abs() <= TAU)
    }

    fn unwrap(&mut self, value: f64) -> f64 {
        if self.wraps {
            if let Some(last) = self.last {
                self.turns -= ((value - last) / TAU).round();
            }
            self.last = Some(value);
        }
        value + self.turns * TAU
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::PI;

    #[test]
    fn picks_channels_and_unwraps_both_ways() {
        let mut encoder = Encoder::new([(2, true), (0, false)]);
        let mut state = [0.0; 2];
        let mut yaw = 0.0f32;
        for step in 0..100 {
            yaw += if step < 60 { 0.3 } else { -0.4 };
            let wrapped = (yaw + PI).rem_euclid(2.0 * PI) - PI;
            assert_eq!(
                encoder.encode(&[step as f32, f32::NAN, wrapped], &mut state),
                Ok(())
            );
            assert!(
                (state[0] - yaw).abs() < 1e-4,
                "step {step}: {} for {yaw}",
                state[0]
            );
            assert_eq!(state[1], step as f32);
        }
    }

    #[test]
    fn a_state_that_is_not_finite_changes_nothing() {
        let mut encoder = Encoder::new([(0, true)]);
        let mut state = [0.0];
        assert_eq!(encoder.encode(&[3.0], &mut state), Ok(()));
        assert_eq!(encoder.encode(&[f32::NAN], &mut state), Err(0));
        assert_eq!(encoder.encode(&[1e30], &mut state), Err(0));
        assert_eq!(state, [3.0]);
        assert_eq!(encoder.encode(&[-3.0], &mut state), Ok(()));
        assert!((state[0] - (2.0 * PI - 3.0)).abs() < 1e-6);
    }
}
