//! The ring of the last M transitions and its gap rule.

use std::collections::VecDeque;

/// What happened over one tick.
#[derive(Debug, Clone, PartialEq)]
pub struct Transition {
    /// State before (S).
    pub state: Vec<f32>,
    /// Action that the robot applied (A).
    pub action: Vec<f32>,
    /// State one tick later (S).
    pub next_state: Vec<f32>,
}

/// The last M transitions, oldest first. They are all one tick long, but need not follow each other without a gap.
#[derive(Debug, Clone)]
pub struct Window {
    ring: VecDeque<Transition>,
    spare: Vec<Transition>,
    period_us: u64,
    /// The last state that was known, NaN before the first.
    last: Vec<f32>,
    /// Its time, unless there was a gap since.
    last_us: Option<u64>,
}

impl Window {
    /// An empty window for `m` transitions of `states` and `actions` numbers, a tick being `period_us` long.
    pub fn new(m: usize, states: usize, actions: usize, period_us: u32) -> Self {
        let empty = Transition {
            state: vec![0.0; states],
            action: vec![0.0; actions],
            next_state: vec![0.0; states],
        };
        Self {
            ring: VecDeque::with_capacity(m),
            spare: vec![empty; m],
            period_us: period_us.into(),
            last: vec![f32::NAN; states],
            last_us: None,
        }
    }

    /// Adds the transition that ends in `state` at the robot's time `time_us`, `applied` being the action that the robot
    /// executed over it. Returns whether one was added: not for the first state, nor over a gap, that is when the two
    /// states are not one tick apart to within a quarter of it, nor if a value is not finite. A state that repeats the one
    /// before to the bit is an old one, sent again by sensors that stand still: it counts as unknown.
    pub fn push(&mut self, time_us: u64, applied: &[f32], state: &[f32]) -> bool {
        if !state.iter().all(|v| v.is_finite()) || state == self.last {
            self.gap();
            return false;
        }
        let one_tick = self.last_us.is_some_and(|last_us| {
            let elapsed = time_us.wrapping_sub(last_us);
            elapsed.abs_diff(self.period_us) <= self.period_us / 4
        });
        let added = one_tick && applied.iter().all(|v| v.is_finite());
        if added && let Some(mut transition) = self.spare.pop().or_else(|| self.ring.pop_front()) {
            transition.state.copy_from_slice(&self.last);
            transition.action.copy_from_slice(applied);
            transition.next_state.copy_from_slice(state);
            self.ring.push_back(transition);
        }
        self.last.copy_from_slice(state);
        self.last_us = Some(time_us);
        added
    }

    /// The state is unknown at this tick: the next one starts anew, and the transitions so far are kept.
    pub fn gap(&mut self) {
        self.last_us = None;
    }

    /// Forgets everything, as after a reset of the robot.
    pub fn clear(&mut self) {
        self.gap();
        self.spare.extend(self.ring.drain(..));
    }

    /// The transitions, oldest first.
    pub fn transitions(&self) -> impl ExactSizeIterator<Item = &Transition> {
        self.ring.iter()
    }

    /// How many transitions it holds.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD_US: u32 = 100_000;

    fn window() -> Window {
        Window::new(3, 1, 1, PERIOD_US)
    }

    #[test]
    fn keeps_the_newest_m_and_uses_the_last_one() {
        let mut window = window();
        for tick in 0..6u64 {
            let added = window.push(tick * 100_000, &[tick as f32], &[10.0 * tick as f32]);
            assert_eq!(added, tick > 0);
        }
        let ends: Vec<_> = window
            .transitions()
            .map(|t| (t.state[0], t.action[0], t.next_state[0]))
            .collect();
        assert_eq!(
            ends,
            [(20.0, 3.0, 30.0), (30.0, 4.0, 40.0), (40.0, 5.0, 50.0)]
        );
    }

    #[test]
    fn refuses_a_step_that_is_not_one_tick_long() {
        let mut window = window();
        for (time, added) in [
            (0, false),
            (200_000, false),
            (300_000, true),
            (330_000, false),
            (410_000, true),
            (5, false),
        ] {
            let state = [time as f32];
            assert_eq!(window.push(time, &[0.0], &state), added, "at {time}");
        }
        assert_eq!(window.len(), 2);
    }

    #[test]
    fn refuses_values_that_are_not_finite_and_starts_anew_after_a_gap() {
        let mut window = window();
        window.push(0, &[0.0], &[0.0]);
        assert!(!window.push(100_000, &[f32::NAN], &[1.0]));
        assert!(window.push(200_000, &[0.0], &[2.0]));
        assert!(!window.push(300_000, &[0.0], &[f32::INFINITY]));
        assert!(!window.push(400_000, &[0.0], &[4.0]));
        assert!(window.push(500_000, &[0.0], &[5.0]));
        assert_eq!(window.len(), 2);
        window.clear();
        assert!(window.is_empty());
        assert!(!window.push(600_000, &[0.0], &[6.0]));
    }

    #[test]
    fn refuses_an_old_state_that_is_sent_again_and_the_jump_behind_it() {
        let mut window = window();
        let states = [0.0, 1.0, 1.0, 1.0, 4.0, 5.0];
        let added = (0..)
            .zip(states)
            .map(|(tick, state)| window.push(tick * 100_000, &[0.0], &[state]));
        let added: Vec<bool> = added.collect();
        assert_eq!(added, [false, true, false, false, false, true]);
    }
}
