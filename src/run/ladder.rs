//! The deadline ladder: what to give up when ticks are late, and when to take it up again.

use crate::log::schema::Degradation;

/// Ticks in time on a rung after which the next better one is tried.
const RECOVERY_TICKS: u32 = 20;

/// Climbs a rung with every late tick in a row: first the last plan is reused for a tick, then adaptation is shed, then theta*
/// is used, and with the fourth the safe state is commanded. Ticks in time lead back, a rung at a time.
#[derive(Debug, Clone, Default)]
pub struct Ladder {
    rung: usize,
    in_time: u32,
    /// A tick was just late: the next one only reuses the last plan, so that the loop catches up.
    catch_up: bool,
}

const RUNGS: [Degradation; 4] = [
    Degradation::None,
    Degradation::None,
    Degradation::ShedAdaptation,
    Degradation::ThetaStar,
];

impl Ladder {
    /// What the next tick may do.
    pub fn wanted(&self) -> Degradation {
        match RUNGS.get(self.rung) {
            None => Degradation::Safe,
            Some(_) if self.catch_up => Degradation::ReusedPlan,
            Some(rung) => *rung,
        }
    }

    /// Tells whether the tick that was done as [`wanted`](Self::wanted) was late.
    pub fn done(&mut self, late: bool) {
        if late {
            self.rung += 1;
            self.in_time = 0;
            self.catch_up = true;
        } else if self.catch_up {
            // Reusing a plan is fast: being in time with it says nothing about the rung.
            self.catch_up = false;
        } else {
            self.in_time += 1;
            if self.in_time >= RECOVERY_TICKS {
                self.rung = self.rung.saturating_sub(1);
                self.in_time = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_late_ticks_in_a_row_command_the_safe_state() {
        let mut ladder = Ladder::default();
        let mut seen = vec![];
        while ladder.wanted() != Degradation::Safe {
            seen.push(ladder.wanted());
            ladder.done(ladder.wanted() != Degradation::ReusedPlan);
        }
        use Degradation::{None, ReusedPlan, ShedAdaptation, ThetaStar};
        assert_eq!(
            seen,
            [
                None,
                ReusedPlan,
                None,
                ReusedPlan,
                ShedAdaptation,
                ReusedPlan,
                ThetaStar
            ]
        );
    }

    #[test]
    fn a_loop_in_time_climbs_back_to_full_ticks() {
        let mut ladder = Ladder::default();
        for late in [true, false, true, false] {
            ladder.done(late);
        }
        assert_eq!(ladder.wanted(), Degradation::ShedAdaptation);
        let mut ticks = 0;
        while ladder.wanted() != Degradation::None {
            ladder.done(false);
            ticks += 1;
        }
        assert_eq!(ticks, RECOVERY_TICKS);
        (0..RECOVERY_TICKS).for_each(|_| ladder.done(false));
        ladder.done(true);
        assert_eq!(
            ladder.wanted(),
            Degradation::ReusedPlan,
            "the rungs that were left must not count again"
        );
        ladder.done(false);
        assert_eq!(ladder.wanted(), Degradation::None);
    }
}
