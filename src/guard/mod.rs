//! Limits, fallback, and the only place that makes a safe command.
