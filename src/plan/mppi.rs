//! Model predictive path integral control (Williams et al., 2017).

use super::{Proposal, best};

/// The mean of the candidates, each weighted by `exp(-(cost - least cost) / lambda)`. `lambda` is a fraction of the costs'
/// standard deviation, so that it needs no tuning when a cost's weights change.
#[derive(Debug, Clone)]
pub struct Mppi {
    temperature: f32,
    sums: Vec<f64>,
}

impl Mppi {
    /// `temperature` is the fraction; smaller follows the best candidates more closely.
    pub fn new(temperature: f32) -> Self {
        Self {
            temperature,
            sums: Vec::new(),
        }
    }
}

impl Proposal for Mppi {
    fn propose(&mut self, costs: &[f32], candidates: &[f32], plan: &mut [f32]) -> bool {
        let Some((_, least)) = best(costs) else {
            return false;
        };
        let finite = || {
            costs
                .iter()
                .copied()
                .filter(|cost| cost.is_finite())
                .map(f64::from)
        };
        let count = finite().count() as f64;
        let mean = finite().sum::<f64>() / count;
        let deviation = (finite().map(|cost| (cost - mean).powi(2)).sum::<f64>() / count).sqrt();
        let lambda = f64::from(self.temperature) * deviation;

        self.sums.clear();
        self.sums.resize(plan.len(), 0.0);
        let mut total = 0.0;
        for (cost, candidate) in costs.iter().zip(candidates.chunks_exact(plan.len())) {
            let above = f64::from(cost - least);
            let weight = if above == 0.0 {
                1.0
            } else {
                (-above / lambda).exp()
            };
            // Weights below the rounding of the sum change nothing.
            if !cost.is_finite() || weight < 1e-12 {
                continue;
            }
            total += weight;
            for (sum, action) in self.sums.iter_mut().zip(candidate) {
                *sum += weight * f64::from(*action);
            }
        }
        for (action, sum) in plan.iter_mut().zip(&self.sums) {
            *action = (sum / total) as f32;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_by_the_exponential_of_the_cost() {
        let mut plan = [0.0];
        let costs = [1.0, 2.0, f32::NAN];
        assert!(Mppi::new(2.0).propose(&costs, &[0.0, 1.0, 100.0], &mut plan));
        // The costs' standard deviation is 0.5, so lambda is 1.
        let expected = (-1.0f32).exp() / (1.0 + (-1.0f32).exp());
        assert!((plan[0] - expected).abs() < 1e-6, "{}", plan[0]);
    }

    #[test]
    fn equal_costs_give_the_mean_and_a_cold_temperature_the_best() {
        let mut plan = [0.0];
        assert!(Mppi::new(0.1).propose(&[3.0, 3.0], &[0.0, 1.0], &mut plan));
        assert_eq!(plan, [0.5]);
        assert!(Mppi::new(1e-3).propose(&[3.0, 2.0, 4.0], &[0.0, 1.0, 7.0], &mut plan));
        assert_eq!(plan, [1.0]);
        assert!(!Mppi::new(0.1).propose(&[f32::INFINITY], &[0.0], &mut plan));
    }
}
