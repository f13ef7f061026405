//! Meta-training from logs or simulated rollouts.
