//! Random shooting: the best of K random candidates.

use super::{Proposal, best};

/// Takes the candidate with the least cost (Nagabandi et al., ICLR 2019, on the real robot).
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomShooting;

impl Proposal for RandomShooting {
    fn propose(&mut self, costs: &[f32], candidates: &[f32], plan: &mut [f32]) -> bool {
        let Some((index, _)) = best(costs) else {
            return false;
        };
        plan.copy_from_slice(&candidates[index * plan.len()..][..plan.len()]);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_least_finite_cost() {
        let candidates = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut plan = [0.0; 2];
        assert!(RandomShooting.propose(&[f32::NAN, 5.0, 2.0], &candidates, &mut plan));
        assert_eq!(plan, [5.0, 6.0]);
        assert!(!RandomShooting.propose(
            &[f32::NAN, f32::INFINITY, f32::NAN],
            &candidates,
            &mut plan
        ));
    }
}
