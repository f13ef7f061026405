//! Cost terms, batched rollouts, planners, seeded noise.
//!
//! Every tick, [`Planner::plan`] perturbs the last plan, shifted by a tick, into K candidates as the robot would execute them
//! (within its limits), rolls them out with the parameters in use, and lets a [`Proposal`] turn their costs into one
//! plan. The shifted plan itself is the base: it is kept when the proposal is not better.

mod mppi;
mod noise;
mod path;
mod planner;
mod random_shooting;

pub use mppi::Mppi;
pub use noise::Noise;
pub use path::{Path, PathPoint, PathShape, Tracker};
pub use planner::{Planned, Planner, Task};
pub use random_shooting::RandomShooting;

/// How costs of candidates become one plan.
pub trait Proposal: Send {
    /// Writes a plan (H, A) from the candidates (K, H, A) and their costs (K); a cost that is not finite is never chosen.
    /// Returns `false`, leaving the plan undefined, when no cost is finite.
    fn propose(&mut self, costs: &[f32], candidates: &[f32], plan: &mut [f32]) -> bool;
}

/// The least finite cost and its index.
fn best(costs: &[f32]) -> Option<(usize, f32)> {
    let finite = costs
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, cost)| cost.is_finite());
    finite.min_by(|a, b| a.1.total_cmp(&b.1))
}
