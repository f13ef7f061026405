//! Adam (Kingma and Ba, 2015).

use serde::{Deserialize, Serialize};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Adam's state for a list of tensors. Moments are kept in f64, so that long runs do not drift with rounding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    updates: u64,
    first: Vec<Vec<f64>>,
    second: Vec<Vec<f64>>,
}

impl Adam {
    /// For tensors of these sizes.
    pub fn new(sizes: impl Iterator<Item = usize>) -> Self {
        let first: Vec<_> = sizes.map(|size| vec![0.0; size]).collect();
        Self {
            updates: 0,
            second: first.clone(),
            first,
        }
    }

    /// One update of every tensor with its gradient and its own step size.
    ///
    /// # Panics
    /// If the tensors are not those that it was made for.
    pub fn update<'a>(&mut self, tensors: impl Iterator<Item = (&'a mut [f32], &'a [f32], f64)>) {
        self.updates += 1;
        let correct1 = 1.0 - BETA1.powf(self.updates as f64);
        let correct2 = 1.0 - BETA2.powf(self.updates as f64);
        for (index, (values, gradient, step)) in tensors.enumerate() {
            let (first, second) = (&mut self.first[index], &mut self.second[index]);
            assert_eq!(
                (values.len(), gradient.len()),
                (first.len(), first.len()),
                "tensor {index}"
            );
            for (i, value) in values.iter_mut().enumerate() {
                let g = f64::from(gradient[i]);
                first[i] = BETA1 * first[i] + (1.0 - BETA1) * g;
                second[i] = BETA2 * second[i] + (1.0 - BETA2) * g * g;
                let change = first[i] / correct1 / ((second[i] / correct2).sqrt() + EPSILON);
                *value = (f64::from(*value) - step * change) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_update_is_the_step_size_and_a_quadratic_is_solved() {
        let (mut x, mut adam) = ([3.0f32, -2.0], Adam::new([2].into_iter()));
        let gradient = |x: &[f32; 2]| [2.0 * (x[0] - 1.0), 20.0 * (x[1] - 1.0)];
        let g = gradient(&x);
        adam.update([(&mut x[..], &g[..], 0.1)].into_iter());
        assert!(
            (x[0] - 2.9).abs() < 1e-6 && (x[1] + 1.9).abs() < 1e-6,
            "{x:?}"
        );
        for _ in 0..2000 {
            let g = gradient(&x);
            adam.update([(&mut x[..], &g[..], 0.01)].into_iter());
        }
        assert!(x.iter().all(|x| (x - 1.0).abs() < 1e-3), "{x:?}");
    }
}
