//! Cost terms, rollouts, planners.
